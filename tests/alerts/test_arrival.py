# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a container that runs out of memory to a message about it, and to the message that it is over.

Each test fills real containers and waits for what the receivers get, within what the rule waits plus 30 seconds.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.alerts.chain import (
    ALLOWED,
    CRITICAL,
    LOOP,
    NAME,
    SETTLED,
    TEAM,
    TRIGGER,
    Ballast,
    ask,
    ballast,
    container,
    counted,
    kill,
    lasting,
    memory,
    query,
    run_loop,
    starts,
)
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import docker, eventually, inspect

# The requirement's own words ("Alert Configuration").
DOCUMENTED = "(container_memory_usage_bytes / container_spec_memory_limit_bytes) * 100 > 85"
FILE = "/var/lib/postgresql/data/large_file"


def counts_agree(chain, service: str, kills: int) -> bool:
    """The kernel, the monitor and Prometheus have the same count of kills."""
    return chain.log.kills()[service] == kills == counted("container_oom_events_total")[service]


# -- kills and restarts


@pytest.mark.quick
def test_a_killed_child_of_a_surviving_container_is_told(chain):
    eventually(lambda: query('container_oom_events_total{service="nginx"}'), "Prometheus scrapes the monitor")
    before = inspect(container("nginx"))["State"]
    began, victim = time.monotonic(), Ballast("nginx")
    assert not victim.take(2 * memory("nginx")["limit"])
    assert victim.close() == 137
    chain.arrives("ContainerOOMKilled", "nginx", CRITICAL, began)
    assert inspect(container("nginx"))["State"]["StartedAt"] == before["StartedAt"], "nginx itself goes on"
    eventually(lambda: counts_agree(chain, "nginx", 1), "it is counted", 10)


@pytest.mark.quick
def test_a_first_process_that_is_killed_again_and_again_is_told(chain):
    """Four kills within two seconds, in a container that is gone after each of them."""
    began = time.monotonic()
    try:
        run_loop("vec(my $held, 64 << 20, 8) = 1", restarts=3)
        chain.arrives("ContainerOOMKilled", "fluent_bit", CRITICAL, began)
        chain.arrives("ContainerRestartLoop", "fluent_bit", CRITICAL, began)
        ended = eventually(lambda: (it := inspect(LOOP))["State"]["Status"] == "exited" and it, "the engine gives up")
        assert (ended["State"]["ExitCode"], ended["RestartCount"]) == (137, 3)
        eventually(lambda: counts_agree(chain, "fluent_bit", 4), "all are counted", 10)
        assert counted("container_restarts_total")["fluent_bit"] == 3
    finally:
        docker("rm", "--force", LOOP)


def test_a_service_that_outgrows_its_limit_is_told(chain):
    """Redis takes in as much as the requirement's maxmemory allows, which is as much as its container may have."""
    before, began = starts("redis"), time.monotonic()
    password = chain.channels.variables["stack_secrets"]["redis_admin_password"]
    said = docker(
        *("exec", "--interactive", "--env", f"REDISCLI_AUTH={password}", container("redis")),
        *("redis-cli", "--user", "admin"),
        # Each fills a megabyte of the allocator's whole, so that Redis counts no more than the kernel does.
        text="".join(f"SETRANGE filler:{number} {(1 << 20) - 17} x\n" for number in range(80)),
        check=False,
    )
    eventually(lambda: starts("redis") == before + 1, f"the engine starts it again: {said}", 20)
    chain.arrives("ContainerOOMKilled", "redis", CRITICAL, began)
    eventually(lambda: counts_agree(chain, "redis", 1), "it is counted", 10)


def test_the_api_that_restarts_again_and_again_asks_for_a_rollback(chain):
    began = time.monotonic()
    for _ in range(3):
        before = starts("api")
        kill("api")
        eventually(lambda before=before: starts("api") == before + 1, "the engine starts it again", 20)
        eventually(lambda: inspect(container("api"))["State"]["Running"], "it runs", 20)
        time.sleep(1)
    chain.arrives("ContainerRestartLoop", "api", TRIGGER, began)
    [asked] = [n for n in chain.channels.notices() if (n.channel, n.alert) == ("webhook", "ContainerRestartLoop")]
    assert '"rollback_trigger": "restarts"' in asked.text
    assert counted("container_restarts_total")["api"] == 3 and not counted("container_oom_events_total")["api"]


# -- memory


@pytest.fixture(scope="module")
def cache(chain):
    """PostgreSQL's container is full of a file's pages, which are read again and again: a function that does so."""
    before = memory("postgres")
    size = before["limit"] * 95 // 100 - before["usage"]
    write = f"dd if=/dev/zero of={FILE} bs=1M count={size >> 20} conv=fsync"
    docker("exec", container("postgres"), *write.split())
    over = threading.Event()

    def read() -> None:
        docker("exec", container("postgres"), "sh", "-c", f"cat {FILE} >/dev/null")

    def read_on() -> None:
        # A host may take back pages that nobody reads for a while.
        while not over.wait(3):
            read()

    read()
    reader = threading.Thread(target=read_on)
    reader.start()
    yield read
    over.set()
    reader.join()
    docker("exec", container("postgres"), "rm", FILE)


def test_each_level_is_told_once_and_a_cache_is_not(chain, cache):
    """nginx above 80 %, Redis above 85 % and then above 90 %, the API above 90 %; PostgreSQL has page cache only."""
    with ballast("redis") as [redis]:
        with ballast("nginx", "api") as [nginx, api]:
            began = time.monotonic()
            nginx.fill(82)
            high = time.monotonic()
            redis.fill(86.5)
            critical = time.monotonic()
            # Its own part shrinks when it collects garbage.
            api.fill(94)
            chain.arrives("MemoryWarning", "nginx", TEAM, began)
            chain.arrives("HighMemoryUsage", "redis", TEAM, high)
            chain.arrives("MemoryCritical", "api", TRIGGER, critical)
            over = time.monotonic()
        chain.is_over("MemoryWarning", "nginx", TEAM, over)
        chain.is_over("MemoryCritical", "api", TRIGGER, over)

        critical = time.monotonic()
        redis.fill(91.5)
        chain.arrives("MemoryCritical", "redis", CRITICAL, critical)
        time.sleep(SETTLED)
        over = time.monotonic()
    for alert, channels in (("MemoryCritical", CRITICAL), ("HighMemoryUsage", TEAM)):
        chain.is_over(alert, "redis", channels, over)

    # The stronger one hushed the weaker, of the same container.
    time.sleep(SETTLED)
    for alert, service in (("MemoryWarning", "api"), ("HighMemoryUsage", "api"), ("MemoryWarning", "redis")):
        for firing in (True, False):
            assert not chain.told(alert, service, firing=firing), (alert, service, firing)
    assert chain.told("HighMemoryUsage", "redis") == {"slack": 1, "mail": 1}
    [asked] = [
        n for n in chain.channels.notices() if n.channel == "webhook" and n.alert == "MemoryCritical" and n.firing
    ]
    assert '"rollback_trigger": "memory"' in asked.text and asked.service == "api"

    # The documented expression held for PostgreSQL all the time, longer than its rule waits, and nobody was told.
    lasted = f"{round(time.monotonic() - began) - SETTLED}s"
    usage = f'container_memory_usage_bytes{{name="{NAME}-postgres"}} / container_spec_memory_limit_bytes * 100'
    [(_, least)] = query(f"min_over_time(({usage})[{lasted}:2s])")
    figures = memory("postgres")
    shares = {key: round(100 * figures[key] / figures["limit"], 1) for key in ("usage", "working_set", "unreclaimable")}
    print(f"page cache: for {lasted} usage was above {least:.1f} % of PostgreSQL's limit; now {shares}", flush=True)
    assert least > 85 and time.monotonic() - began > SETTLED + lasting("HighMemoryUsage") + ALLOWED
    assert "postgres" in {labels["service"] for labels, _ in query(DOCUMENTED)}
    assert not [notice for notice in chain.channels.notices() if notice.service == "postgres"]


def test_the_documented_expression_tells_of_a_cache(chain, cache):
    """Word for word, when it is asked for: so it fires for a file that was read, and why it is not the default."""
    figures = memory("postgres")
    # The database has let go of some, or taken more, since the file was written; a hole is read into the cache as well.
    more = figures["limit"] * 875 // 1000 - figures["usage"]
    docker("exec", container("postgres"), "truncate", "--size", f"{more:+d}", FILE)
    cache()
    began = time.monotonic()
    chain.apply("monitoring", prometheus_high_memory_signal="usage")
    try:
        deployed = time.monotonic() - began
        rules = eventually(lambda: used_rules("HighMemoryUsage"), "Prometheus has the rule", 20)
        assert DOCUMENTED in rules[0]
        within = deployed + lasting("HighMemoryUsage") + ALLOWED
        chain.arrives("HighMemoryUsage", "postgres", TEAM, began, " (usage, deployed first)", within=within)
        assert memory("postgres")["unreclaimable"] < memory("postgres")["limit"] / 2
        over = time.monotonic()
        docker("exec", container("postgres"), "truncate", "--size", "0", FILE)
        chain.is_over("HighMemoryUsage", "postgres", TEAM, over, " (usage)")
    finally:
        chain.apply("monitoring")


def used_rules(alert: str) -> list[str]:
    """Expressions of an alert's rules, as they are loaded, on one line each."""
    groups = ask("prometheus", "/api/v1/rules", type="alert")["data"]["groups"]
    found = [rule["query"] for group in groups for rule in group["rules"] if rule["name"] == alert]
    return [text for text in found if "container_memory_usage_bytes" in text]


# -- in the end


def test_all_is_over_in_the_end_and_nothing_was_told_twice(chain):
    """Kills and restarts are news for ten minutes."""

    def open_ones() -> set[tuple[str, str, str]]:
        state = {}
        for notice in chain.channels.notices():
            state[notice.channel, notice.alert, notice.service] = notice.firing
        return {key for key, firing in state.items() if firing and key[2]}

    assert chain.channels.notices(), "this test looks at what the others left"
    eventually(lambda: not open_ones(), "everything that was told is over", 13 * 60)
    time.sleep(SETTLED)
    # The machine's other programs are nobody's service, and may be killed as often as they like; the webhook is asked
    # again by design.
    notices = Counter(notice[1:5] for notice in chain.channels.notices() if notice.service)
    notices = Counter({key: number for key, number in notices.items() if key[0] != "webhook"})
    for (channel, firing, alert, service), number in sorted(notices.items()):
        print(f"{channel:10}{'firing' if firing else 'over':7}{alert} {service}: {number}")
    assert set(notices.values()) == {1}
    kills = chain.log.kills()
    elsewhere = kills.pop("", 0)
    # Prometheus has also what the monitor has forgotten since.
    highest = query(f'sum by (service) (max_over_time(container_oom_events_total{{stack="{NAME}"}}[1h]))')
    assert kills == Counter({labels["service"]: round(value) for labels, value in highest if value})
    assert elsewhere or not chain.told("HostOOMKill", "")


# -- with the role's defaults


@pytest.mark.slow
def test_arrival_with_the_default_values(chain):
    """Four containers at four moments between two scrapes."""
    chain.apply("monitoring", quick=False)
    try:
        began, over = {}, {}
        with ballast("redis", "nginx", "api", "postgres") as held:
            for each in held:
                began[each.service] = time.monotonic()
                # The API's own part shrinks when it collects garbage.
                each.fill(89)
                time.sleep(max(0.0, began[each.service] + 4 - time.monotonic()))
            for service, since in began.items():
                chain.arrives("HighMemoryUsage", service, TEAM, since, " (defaults)")
            # What luck is in it: a sample, a scrape, the evaluation after that, and group_wait.
            [(_, evaluated)] = query('prometheus_rule_group_last_evaluation_timestamp_seconds{rule_group=~".*;memory"}')
            [(_, scraped)] = query('timestamp(up{job="memory_monitor"})')
            [(_, every)] = query('prometheus_rule_group_interval_seconds{rule_group=~".*;memory"}')
            here, worst = (1 + 15 + late + 5 for late in ((evaluated - scraped) % every, every))
            print(f"here at most {here:.0f} s after its time, anywhere {worst:.0f}", flush=True)
            assert worst <= ALLOWED
            for each in held:
                over[each.service] = time.monotonic()
                each.close()
                time.sleep(3)
        for service, since in over.items():
            # A group is told of what happens to it once a minute.
            chain.is_over("HighMemoryUsage", service, TEAM, since, " (defaults)", within=30 + 60 + ALLOWED)
    finally:
        chain.apply("monitoring")
