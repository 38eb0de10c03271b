# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Memory Monitor as it runs: its figures are the kernel's, and it only reads."""

from __future__ import annotations

import json
import re

import pytest


@pytest.fixture
def metric(asks, stack):
    """Value of a metric of its own container, whatever the order of its labels."""

    def value(name):
        series = re.findall(rf"^{name}{{(.*)}} (\S+)$", asks("8080/metrics"), re.MULTILINE)
        own = {f'stack="{stack}"', 'service="memory_monitor"'}
        [found] = [number for labels, number in series if own <= set(re.split(",(?=[a-z]+=)", labels))]
        return float(found)

    return value


def test_its_limit_is_the_kernels(metric, container):
    assert metric("container_spec_memory_limit_bytes") == container.kernel.memory == 32 << 20


def test_its_usage_is_the_kernels(metric, container, eventually):
    """Of the same second: what is run in it, such as a probe, counts while it lasts."""
    kernel = container.kernel
    usage = lambda: int(kernel.read("memory", "memory.usage_in_bytes", "memory.current"))  # noqa: E731
    eventually(lambda: metric("container_memory_usage_bytes") == pytest.approx(usage(), rel=0.1))
    eventually(lambda: metric("container_memory_unreclaimable_bytes") == pytest.approx(kernel.unreclaimable, rel=0.1))
    assert 0 < metric("container_memory_unreclaimable_bytes") <= 24 << 20


def test_the_machines_memory_is_proc_meminfos(asks, host):
    total = int(host.check_output("awk '/^MemTotal/ { print $2 }' /proc/meminfo")) * 1024
    [found] = re.findall(r"^host_memory_total_bytes (\S+)$", asks("8080/metrics"), re.MULTILINE)
    assert float(found) == total


def test_a_container_is_seen_when_it_comes_and_gone_when_it_goes(asks, host, container, eventually):
    """By its cgroup alone: nobody tells the monitor."""

    def limits():
        found = re.findall(r"^container_spec_memory_limit_bytes{.*} (\S+)$", asks("8080/metrics"), re.MULTILINE)
        return [float(limit) for limit in found]

    assert limits() == [32 << 20]
    options = "--detach --name molecule-guest --memory 40m --entrypoint sleep"
    parent, image = container.host_config["CgroupParent"], container.now("{{.Config.Image}}")
    host.check_output(f"docker run {options} --cgroup-parent %s %s 300", parent, image)
    try:
        eventually(lambda: 40 << 20 in limits())
    finally:
        host.check_output("docker rm --force molecule-guest")
    eventually(lambda: limits() == [32 << 20])


def test_the_engine_is_out_of_its_reach(container):
    assert container.run("test", "-e", "/var/run/docker.sock").rc == 1
    assert container.run("test", "-e", "/host/cgroup").rc == 0
    assert "Read-only file system" in container.run("sh", "-c", "mkdir /host/cgroup/x").stderr


def test_only_the_host_itself_reaches_it(reachable, asks):
    assert json.loads(asks("8080/api/v1/status"))
    assert not reachable(8080)


def test_check_mode_shows_a_change_and_touches_nothing(play, container):
    before = container.now("{{.Id}} {{.State.StartedAt}}")
    recap = play("--check", "--diff", memory_monitor_leak_least_growth="3M")
    assert recap.changed > 0
    assert container.now("{{.Id}} {{.State.StartedAt}}") == before


def test_a_change_of_its_configuration_needs_no_restart(play, container, asks):
    before = container.now("{{.Id}} {{.State.StartedAt}}")
    play(memory_monitor_leak_least_growth="3M")
    assert container.now("{{.Id}} {{.State.StartedAt}}") == before
    assert asks("8080/healthz")
