# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the host: its engine is restarted or killed, its disk is full, it is rebooted or loses its power."""

from __future__ import annotations

import time

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.faults import conftest as machine
from ansible_collections.sixty_sales.memory_optimized.tests.faults.matrix import SERVICES
from ansible_collections.sixty_sales.memory_optimized.tests.faults.scene import STACK
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import eventually, run


def test_the_engine_is_restarted_and_killed(scene):
    before = scene.started()
    with scene.watched("engine restarted", "host") as fault:
        scene.ssh("systemctl restart docker")
        eventually(lambda: scene.started() == before, "the engine knows its containers", 60)
        scene.ssh("systemctl kill --signal=KILL docker.service")
        eventually(lambda: scene.started() == before, "systemd starts it again", 60)
        # An engine before 23.0 has forgotten to ask for their health (moby/moby#41871), which this reminds it of.
        scene.ssh("docker ps --quiet | xargs -I{} sh -c 'docker pause {} && docker unpause {}'")
        since = scene.ssh("date --utc +%FT%T")
        eventually(lambda: scene.is_healthy(len(SERVICES), since), "all containers were asked and are healthy", 180)
        assert scene.started() == before
        fault.say("systemd; the containers run on without it", "`journalctl -u docker`")
    code, said = scene.check_health("08-after-engine")
    assert code == 0, said[-2000:]


FILL = "/var/lib/docker/fill"


def test_the_disk_is_full(scene):
    """Where database, engine and stack are. Somebody has to make room; until then it is read, not written."""
    before = scene.started()
    try:
        with scene.watched("disk full", "host", writes=8) as fault:
            # All at once, and then what is left down to the last block.
            scene.ssh(f"fallocate --length $(df --output=avail -B1 {FILL[:15]} | tail -n 1) {FILL}")
            scene.ssh(f"dd if=/dev/zero of={FILL}.rest bs=4k 2>/dev/null; sync -f {FILL}.rest; df {FILL} | tail -n 1")
            eventually(lambda: fault.failures("write"), "writes fail", 120)
            full = time.monotonic()
            _, said = scene.check_health("09-full")
            time.sleep(max(0, 30 - (time.monotonic() - full)))
            reasons = sorted({one.partition(": ")[2] for one in fault.failures("write")})
            alerts = scene.alerts(fault.began)
            scene.ssh(f"rm {FILL} {FILL}.rest")
            fault.mended()
            restarted = sorted(name[1:] for name, since in scene.started().items() if before.get(name) != since)
            print("full:", reasons, alerts, restarted, said[-3000:])
            assert set(reasons) <= {"503 database_full", "503 database_unavailable", "503 outcome_unknown"}, reasons
            fault.say(
                "a person makes room; then everything by itself"
                + (f" (the engine started {', '.join(restarted)} again)" if restarted else ""),
                f"writes are answered {', '.join(reasons)}; DiskSpaceLow long before, at 15 and 5 %",
            )
        # Whoever only looks is served throughout.
        assert not fault.failures("page"), fault.witness.failed
    finally:
        scene.ssh(f"rm -f {FILL} {FILL}.rest")


@pytest.mark.parametrize(("service", "end"), [("in order", ("stop", "--time=120")), ("power cut", ("kill",))])
def test_the_host_is_rebooted(scene, service, end):
    """As a container, the machine keeps the kernel; what the kernel has written down in cgroups is taken away."""
    limit_file = f"/sys/fs/cgroup/memory/{STACK}/memory.limit_in_bytes"
    limit, routed, there = scene.ssh(f"cat {limit_file}"), scene.operator.routed(), scene.started()
    assert int(limit) <= 2**31
    with scene.watched("host rebooted", service) as fault:
        run("docker", *end, machine.MACHINE, timeout=180)
        machine.remove_cgroups()
        run("docker", "start", machine.MACHINE)
        eventually(lambda: scene.operator.routed() == routed, "the same release is served", 180)
        eventually(lambda: scene.is_healthy(len(SERVICES)), "all containers are healthy", 180)
        assert scene.started().keys() == there.keys()
        assert scene.ssh(f"cat {limit_file}") == limit, "the limit above all containers is not there again"
        fault.say(
            "systemd, the engine, and PostgreSQL's log",
            "nobody here while it is down: the check from outside and the heartbeat's receiver",
        )
    code, said = scene.check_health(f"10-after-{service.replace(' ', '-')}")
    assert code == 0, said[-2000:]
