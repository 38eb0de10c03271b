# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole stack on a host of its own: all of it fits, all of it is watched, and all of it comes back."""

from __future__ import annotations

import json
import subprocess

import pytest


@pytest.fixture
def query(asks):
    """Values of an instant query, which has nothing that a URL has to escape."""
    return lambda expression: json.loads(asks(f"9090/api/v1/query?query={expression}"))["data"]["result"]


@pytest.fixture
def down(asks):
    """Targets of Prometheus that do not answer, but for the slot that stands by."""

    def names():
        targets = json.loads(asks("9090/api/v1/targets"))["data"]["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] != "up"} - {"api"}

    return names


def test_the_sum_of_the_limits_is_below_the_kernels_own(containers, host):
    kernel = containers["redis"].kernel
    controller, name = ("", "memory.max") if kernel.v2 else ("memory", "memory.limit_in_bytes")
    # Its own cgroup is in that of the service, which is in that of the stack.
    stack = kernel.paths[controller].rsplit("/", 2)[0]
    total = int(host.file(f"/sys/fs/cgroup/{controller}{stack}/{name}").content_string)
    assert sum(container.kernel.memory for container in containers.values()) < total <= 2048 << 20


def test_every_service_is_below_its_usage_target(containers, budget):
    """Idle, a minute old; by what the kernel cannot take back, as the alerts."""
    over = {}
    for service, container in containers.items():
        used, target = container.kernel.unreclaimable, budget["services"][service]["usage_target"]
        if used > int(target.removesuffix("M")) << 20:
            over[service] = (used, target)
    assert not over


def test_all_of_it_is_scraped(down, eventually):
    eventually(lambda: not down(), 60)


def test_nothing_is_wrong_nor_about_to_be(asks, eventually, play):
    """An alert that waits is pending. The Watchdog always fires, and says that alerts arrive."""
    play(playbook="../../playbooks/backup.yml")
    # The disk, and the kernel's count of kills, are those of the machine that has this host for a container.
    machine = {"DiskSpaceLow", "HostOOMKill"}

    def wrong(alerts):
        return {alert["labels"]["alertname"] for alert in alerts} - machine ^ {"Watchdog"}

    pending = lambda: wrong(json.loads(asks("9090/api/v1/alerts"))["data"]["alerts"])  # noqa: E731
    eventually(lambda: not pending(), 90)
    arrived = lambda: wrong(json.loads(asks("9093/api/v2/alerts")))  # noqa: E731
    eventually(lambda: not arrived())


def test_the_release_that_nginx_serves_is_the_one_that_is_watched(ask, query, eventually):
    served = ask("/api/release").json["release"]
    eventually(lambda: [found["metric"]["release"] for found in query("release_active")] == [served], 45)


def test_people_reach_the_page_and_nothing_that_watches(ask, reachable):
    assert ask("/").status == 200
    assert not [port for port in (3000, 5432, 6379, 8080, 8081, 9090, 9093) if reachable(port)]
    assert b"container_memory" not in ask("/metrics").body


def test_all_of_it_comes_back_after_a_reboot(host, containers, eventually, down):
    subprocess.run(["docker", "restart", host.backend.host], check=True, capture_output=True, timeout=60)
    healthy = "docker ps --filter health=healthy --format '{{.Names}}'"
    wanted = {container.name for container in containers.values()}
    eventually(lambda: wanted <= set(host.run(healthy).stdout.split()), 120)
    assert host.check_output("curl --fail --silent --max-time 5 http://127.0.0.1/api/release")
    eventually(lambda: not down(), 60)
