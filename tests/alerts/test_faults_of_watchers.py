# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who watches is killed: it comes back by itself, the others go on, and what was to be told is told, once.

All the while Redis has more memory than it may have, which was told before.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.alerts.chain import (
    ALLOWED,
    CRITICAL,
    NAME,
    PORTS,
    QUICK,
    SETTLED,
    TEAM,
    Ballast,
    ask,
    ballast,
    container,
    kill,
    lasting,
    memory,
    query,
    starts,
)
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    containers,
    docker,
    eventually,
)

READY = {"memory_monitor": "/healthz", "prometheus": "/-/ready", "alertmanager": "/-/ready"}
# Prometheus sends what fires again after so many seconds, also what it could not send (--rules.alert.resend-delay).
RESENT = 60
# Alertmanager's memory of what it has told is saved so often (alertmanager_snapshot_interval).
SAVED = 15
ONCE = {"slack": 1, "mail": 1}


def answers(service: str) -> bool:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", PORTS[service], timeout=2)) as connection:
        connection.request("GET", READY[service])
        return connection.getresponse().status == 200


def running() -> dict[str, str]:
    """Container -> since when it runs."""
    return {entry["Name"]: entry["State"]["StartedAt"] for entry in containers(NAME) if entry["State"]["Running"]}


@contextlib.contextmanager
def killed(service: str) -> Iterator[None]:
    """Its process is killed; after the block it is back, and nobody else was started again."""
    before, count, began = running(), starts(service), time.monotonic()
    kill(service)
    eventually(lambda: starts(service) == count + 1 and answers(service), f"{service} comes back", 60)
    print(f"{service}: killed, answers again after {time.monotonic() - began:.1f} s", flush=True)
    yield
    after = running()
    assert {name for name in before if after.get(name) != before[name]} == {f"/{container(service)}"}


@pytest.fixture(scope="module")
def high(chain):
    """Redis is above 85 %, and that was told: the time since when."""
    with ballast("redis") as [redis]:
        began = time.monotonic()
        redis.fill(87)
        chain.arrives("HighMemoryUsage", "redis", TEAM, began)
        time.sleep(SAVED + SETTLED)
        yield began


def test_prometheus_killed(chain, high):
    """What fires is told no second time; what was about to fire goes on waiting where it was."""
    with ballast("nginx") as [nginx]:
        began = time.monotonic()
        nginx.fill(91.5)
        time.sleep(lasting("MemoryCritical") / 2)
        beats = len(chain.channels.heartbeats())
        down = time.monotonic()
        with killed("prometheus"):
            outage = time.monotonic() - down
            late = lasting("MemoryCritical") + outage + ALLOWED
            chain.arrives("MemoryCritical", "nginx", CRITICAL, began, " (Prometheus killed)", within=late)
        over = time.monotonic()
    chain.is_over("MemoryCritical", "nginx", CRITICAL, over)
    assert chain.told("MemoryCritical", "nginx", since=began) == {"slack": 1, "mail": 1, "pagerduty": 1}
    assert chain.told("HighMemoryUsage", "redis", since=high) == ONCE
    assert not chain.told("HighMemoryUsage", "redis", since=high, firing=False)
    assert len(chain.channels.heartbeats()) > beats


def test_alertmanager_killed(chain, high):
    """It remembers what it has told, and is told again of what fires."""
    with killed("alertmanager"):
        fires = eventually(
            lambda: [a for a in ask("alertmanager", "/api/v2/alerts") if a["labels"].get("service") == "redis"],
            "Prometheus tells it again",
            RESENT + 15,
        )
        assert fires
        time.sleep(SETTLED)
    assert chain.told("HighMemoryUsage", "redis", since=high) == ONCE
    assert not chain.told("HighMemoryUsage", "redis", since=high, firing=False)


def test_what_happens_while_alertmanager_is_away_is_told_when_it_is_back(chain, high):
    docker("stop", container("alertmanager"))
    try:
        began, victim = time.monotonic(), Ballast("nginx")
        assert not victim.take(2 * memory("nginx")["limit"])
        victim.close()
        eventually(lambda: firing("ContainerOOMKilled", "nginx"), "Prometheus knows", ALLOWED)
        time.sleep(SETTLED)
    finally:
        docker("start", container("alertmanager"))
    back = time.monotonic() - began
    chain.arrives(
        "ContainerOOMKilled", "nginx", CRITICAL, began, " (Alertmanager away)", within=back + RESENT + ALLOWED
    )
    assert chain.told("HighMemoryUsage", "redis", since=high) == ONCE


def firing(alert: str, service: str) -> bool:
    return bool(query(f'ALERTS{{alertname="{alert}", service="{service}", alertstate="firing"}}'))


def test_the_memory_monitor_killed(chain, high):
    """Nobody measures for a moment; at the longest the wait begins anew."""
    began = time.monotonic()
    for _ in range(3):
        with killed("memory_monitor"):
            time.sleep(2 * QUICK["prometheus_scrape_interval"] + SETTLED)
    eventually(lambda: firing("HighMemoryUsage", "redis"), "it fires", lasting("HighMemoryUsage") + ALLOWED)
    time.sleep(SETTLED)
    # Between two scrapes nobody notices; a scrape that was missed is an end and a new beginning, and no more.
    [(_, changes)] = query(f'changes(up{{job="memory_monitor"}}[{time.monotonic() - began:.0f}s])')
    again, over = (chain.told("HighMemoryUsage", "redis", began, fires) for fires in (True, False))
    print(f"memory_monitor killed: gaps {changes / 2}, told again {dict(again)}, over {dict(over)}", flush=True)
    assert again == over and max(again.values(), default=0) <= changes / 2
    assert not chain.told("MonitorDown", "memory_monitor")


def test_what_is_away_is_told(chain, high):
    """An exporter and the monitor; then all the rest of the host, and while nothing answers that is the only news."""
    first, rest = ("memory_monitor", "redis_exporter"), ("api", "nginx_exporter", "postgres_exporter")
    names = {service: container(service) for service in (*first, *rest)}
    try:
        began = time.monotonic()
        docker("stop", *(names[service] for service in first))
        chain.arrives("MonitorDown", "memory_monitor", CRITICAL, began)
        chain.arrives("TargetDown", "redis_exporter", TEAM, began)
        gone = time.monotonic()
        docker("stop", *(names[service] for service in rest))
        chain.arrives("HostDown", "", CRITICAL, gone)
        eventually(lambda: firing("TargetDown", "nginx_exporter"), "it would be told", lasting("TargetDown") + ALLOWED)
        time.sleep(SETTLED)
        assert not chain.told("TargetDown", "nginx_exporter"), "it is hushed"
    finally:
        over = time.monotonic()
        docker("start", *names.values())
    chain.is_over("HostDown", "", CRITICAL, over)
    chain.is_over("MonitorDown", "memory_monitor", CRITICAL, over)
    chain.is_over("TargetDown", "redis_exporter", TEAM, over)
    # What is high is told again when it is known again.
    missed = {fires: dict(chain.told("HighMemoryUsage", "redis", began, fires)) for fires in (True, False)}
    print(f"while nobody measured, of Redis was told that it fires {missed[True]}, is over {missed[False]}", flush=True)
    eventually(lambda: firing("HighMemoryUsage", "redis"), "it is known again", lasting("HighMemoryUsage") + ALLOWED)
