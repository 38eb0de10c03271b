# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine, the release, the backup: what is read, and what a wrong file costs."""

from __future__ import annotations

import os

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB, CgroupTree, flat


@pytest.fixture
def tree(tmp_path):
    return CgroupTree(tmp_path / "cgroup", 1, "cgroupfs")


@pytest.fixture
def host(machine):
    return machine.sampler.host


def test_memory(host, machine):
    expected = {"memory_total": 2048, "memory_available": 1024, "swap_total": 512, "swap_free": 256}
    assert host.memory() == {**{name: mb * MB for name, mb in expected.items()}, "pressure_waiting": 2.5}
    assert host.oom_kills() == 40 and machine.errors == {}


def test_a_kernel_without_pressure(host, machine):
    (machine.proc / "pressure/memory").unlink()
    assert host.memory()["pressure_waiting"] is None and machine.errors == {}


def test_a_long_file_is_read_to_its_end(host, machine):
    others = {f"counter_{number}": number for number in range(2000)}
    (machine.proc / "vmstat").write_text(flat({**others, "oom_kill": 7}))
    assert host.oom_kills() == 7


@pytest.mark.parametrize("text", ["", "MemTotal: many kB\n", "MemTotal:\n", "\x00"])
def test_a_malformed_meminfo(host, machine, text):
    (machine.proc / "meminfo").write_text(text)
    assert host.memory() == {"pressure_waiting": 2.5} and machine.errors == {"host": 1}


def test_filesystems(host, machine):
    sizes = os.statvfs(machine.home)
    expected = (sizes.f_blocks * sizes.f_frsize, sizes.f_bavail * sizes.f_frsize)
    found = host.filesystems()
    assert set(found) == {"docker", "stack", "logs"}
    # The disk of a machine that works is never quite still.
    assert all(size == expected[0] and abs(left - expected[1]) < 256 * MB for size, left in found.values())


def route(machine, slot="blue", release="r1", identity="a" * 64):
    directory = machine.home / "route/slots" / slot / release
    directory.mkdir(parents=True)
    if identity:
        (directory / "container").write_text(identity)
    return directory


def test_a_release(host, machine):
    route(machine)
    route(machine, "green", "r2", "b" * 64)
    route(machine, "green", "r3", "")
    link = machine.home / "route/active"
    link.symlink_to("slots/blue/r1")
    os.utime(link, (1700000000, 1700000123), follow_symlinks=False)
    active, slots = host.release()
    assert active == {"slot": "blue", "release": "r1", "switched": 1700000123}
    assert slots == {"a" * 64: ("blue", "r1"), "b" * 64: ("green", "r2")} and machine.errors == {}


def test_no_release_yet(host, machine):
    (machine.home / "route/slots").rmdir()
    assert host.release() == (None, {}) and machine.errors == {}


@pytest.mark.parametrize("target", ["r1", "slots/bl\nue/r1", "slots//r1", f"slots/blue/{'x' * 200}"])
def test_a_hostile_route(host, machine, target):
    (machine.home / "route/active").symlink_to(target)
    assert host.release()[0] is None and machine.errors == {"release": 1}


def test_a_route_that_is_no_link(host, machine):
    (machine.home / "route/active").mkdir()
    assert host.release()[0] is None and machine.errors == {"release": 1}


def test_a_backup(host, machine):
    (machine.home / "status/backup.json").write_text('{"finished": 1700000000, "bytes": 4096, "path": "/x"}')
    assert host.backup() == {"finished": 1700000000, "bytes": 4096} and machine.errors == {}


def test_a_backup_that_failed_before_the_first(host, machine):
    (machine.home / "status/backup.json").write_text('{"failed": 1700000009, "error": "disk full"}')
    assert host.backup() == {"failed": 1700000009} and machine.errors == {}


def test_no_backup_yet(host, machine):
    assert host.backup() is None and machine.errors == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"finished": "x", "bytes": 1}', '{"finished": 1}', '{"failed": "x"}', "\u00e9"]
)
def test_a_malformed_backup(host, machine, text):
    (machine.home / "status/backup.json").write_text(text)
    assert host.backup() is None and machine.errors == {"backup": 1}
