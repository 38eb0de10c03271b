# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack stands on, as plans."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import stack_host
from hypothesis import given
from hypothesis import strategies as st

LIMIT_V1, MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
NONE_V1 = 0x7FFFFFFFFFFFF000
PAGE = 4096


@pytest.mark.parametrize(
    ("driver", "version", "parent", "directory"),
    [
        ("systemd", 2, "sixty-redis.slice", "/sys/fs/cgroup/sixty.slice"),
        ("systemd", 1, "sixty-redis.slice", "/sys/fs/cgroup/memory/sixty.slice"),
        ("cgroupfs", 2, "/sixty/redis", "/sys/fs/cgroup/sixty"),
        ("cgroupfs", 1, "/sixty/redis", "/sys/fs/cgroup/memory/sixty"),
    ],
)
def test_names(driver, version, parent, directory):
    assert stack_host.cgroup_parent("sixty", "redis", driver) == parent
    assert stack_host.parent_directory("sixty", driver, version) == directory


@pytest.mark.parametrize(
    ("name", "driver", "good"),
    [
        ("sixty", "systemd", True),
        ("sixty_staging.2", "systemd", True),
        ("sixty-staging", "cgroupfs", True),
        ("sixty-staging", "systemd", False),
        ("", "cgroupfs", False),
        ("..", "cgroupfs", False),
        ("a/b", "cgroupfs", False),
        ("sixty\n", "systemd", False),
    ],
)
def test_stack_name(name, driver, good):
    message = stack_host.check_name(name, driver)
    assert message is None if good else "Nothing was changed" in message


def test_units():
    units = stack_host.desired_units("sixty", 2 * PAGE + 1, {"redis": 100, "nginx": 50, "loki": 0})
    assert list(units) == ["sixty.slice", "sixty-loki.slice", "sixty-nginx.slice", "sixty-redis.slice"]
    assert units["sixty.slice"] == (
        "[Unit]\nDescription=Memory budget of the sixty stack\nBefore=slices.target\n\n"
        "[Slice]\nMemoryAccounting=yes\nMemoryMax=8192\nMemorySwapMax=0\nMemoryLow=150\n\n"
        "[Install]\nWantedBy=slices.target\n"
    )
    assert "MemoryLow=100\n" in units["sixty-redis.slice"]
    assert "MemoryMax" not in units["sixty-redis.slice"]
    assert "MemoryLow" not in units["sixty-loki.slice"]


def kernel_v1(steps, files):
    """Takes the steps as cgroup v1 does: memory may never exceed memory plus swap."""
    files = dict(files)
    for step in steps:
        name = step["target"].rsplit("/", 1)[1]
        files[name] = step["after"]
        assert files[LIMIT_V1] <= files.get(MEMSW, NONE_V1), f"EINVAL at {step}"
    return files


@pytest.mark.parametrize(
    ("observed", "order"),
    [
        # Raised: memory plus swap first. Lowered, and taken from "no limit": memory first.
        ({LIMIT_V1: 4 * PAGE, MEMSW: 4 * PAGE}, [MEMSW, LIMIT_V1]),
        ({LIMIT_V1: 9 * PAGE, MEMSW: 9 * PAGE}, [LIMIT_V1, MEMSW]),
        ({LIMIT_V1: NONE_V1, MEMSW: NONE_V1}, [LIMIT_V1, MEMSW]),
        # Yet to be made; without swap accounting; a run that stopped half-way.
        ({LIMIT_V1: None, MEMSW: None}, [LIMIT_V1, MEMSW]),
        ({LIMIT_V1: NONE_V1}, [LIMIT_V1]),
        ({LIMIT_V1: 8 * PAGE, MEMSW: NONE_V1}, [MEMSW]),
        ({LIMIT_V1: 8 * PAGE, MEMSW: 8 * PAGE}, []),
        # No memory controller at all: the step is planned, and the read-back says so.
        ({}, [LIMIT_V1]),
    ],
)
def test_limits_v1(observed, order):
    steps = stack_host.plan_limits("/cg/sixty", 1, 8 * PAGE + 7, observed)
    assert [step["target"] for step in steps] == [f"/cg/sixty/{name}" for name in order]
    assert all(step["after"] == 8 * PAGE for step in steps)
    fresh = {name: NONE_V1 if value is None else value for name, value in observed.items()} or {LIMIT_V1: NONE_V1}
    after = kernel_v1(steps, fresh)
    assert stack_host.plan_limits("/cg/sixty", 1, 8 * PAGE + 7, after) == []


@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 50), st.booleans())
def test_limits_v1_are_always_accepted(wanted, now, swap, accounting):
    observed = {LIMIT_V1: now * PAGE, **({MEMSW: (now + swap) * PAGE} if accounting else {})}
    after = kernel_v1(stack_host.plan_limits("/c", 1, wanted * PAGE, observed), observed)
    assert set(after.values()) == {wanted * PAGE}


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ({"memory.max": None, "memory.swap.max": None}, {"memory.max": PAGE, "memory.swap.max": 0}),
        # "max" reads as -1, which is not the 0 of "no swap".
        ({"memory.max": PAGE, "memory.swap.max": -1}, {"memory.swap.max": 0}),
        ({"memory.max": -1, "memory.swap.max": 0}, {"memory.max": PAGE}),
        ({"memory.max": PAGE}, {}),
        ({"memory.max": PAGE, "memory.swap.max": 0}, {}),
    ],
)
def test_limits_v2(observed, expected):
    steps = stack_host.plan_limits("/cg/sixty", 2, PAGE, observed)
    assert {step["target"].rsplit("/", 1)[1]: step["after"] for step in steps} == expected


WISH = {"path": "/srv/x", "uid": 0, "gid": 5, "mode": 0o2750}


@pytest.mark.parametrize(
    ("have", "before"),
    [
        (None, None),
        ({"uid": 1, "gid": 5, "mode": 0o2750, "directory": True}, {"uid": 1, "gid": 5, "mode": 0o2750}),
        ({"uid": 0, "gid": 5, "mode": 0o750, "directory": True}, {"uid": 0, "gid": 5, "mode": 0o750}),
    ],
)
def test_directories(have, before):
    steps, errors = stack_host.plan_directories([WISH], {"/srv/x": have})
    after = {"uid": 0, "gid": 5, "mode": 0o2750}
    assert (steps, errors) == ([{"kind": "directory", "target": "/srv/x", "before": before, "after": after}], [])
    assert stack_host.plan_directories([WISH], {"/srv/x": {**after, "directory": True}}) == ([], [])


def test_a_file_where_a_directory_belongs():
    steps, errors = stack_host.plan_directories(
        [WISH, {**WISH, "path": "/srv/y"}],
        {"/srv/x": {"uid": 0, "gid": 5, "mode": 0o2750, "directory": False}},
    )
    assert [step["target"] for step in steps] == ["/srv/y"]
    assert errors == ["/srv/x exists and is not a directory. Nothing was changed; move it away."]


def test_sysctls():
    desired, path = {"vm.overcommit_memory": 1, "net.core.somaxconn": "511"}, "/etc/sysctl.d/60-sixty.conf"
    text = "net.core.somaxconn = 511\nvm.overcommit_memory = 1\n"
    observed = {"values": {"vm.overcommit_memory": "0", "net.core.somaxconn": "511"}, "files": {path: None}}
    assert stack_host.plan_sysctls("sixty", desired, observed) == [
        {"kind": "sysctl", "target": "vm.overcommit_memory", "before": "0", "after": "1"},
        {"kind": "file", "target": path, "before": None, "after": text},
    ]
    settled = {"values": {"vm.overcommit_memory": "1", "net.core.somaxconn": "511"}, "files": {path: text}}
    assert stack_host.plan_sysctls("sixty", desired, settled) == []


def test_no_sysctls_need_no_file():
    path = stack_host.sysctl_file("sixty")
    assert stack_host.plan_sysctls("sixty", {}, {"values": {}, "files": {path: None}}) == []
    assert stack_host.plan_sysctls("sixty", {}, {"values": {}, "files": {path: ""}}) == []
    # Those of an earlier deploy are taken back.
    (step,) = stack_host.plan_sysctls("sixty", {}, {"values": {}, "files": {path: "vm.swappiness = 1\n"}})
    assert (step["target"], step["after"]) == (path, "")


def test_diff():
    owner = {"uid": 0, "gid": 5, "mode": 0o750}
    steps = [
        {"kind": "directory", "target": "/srv/x", "before": None, "after": owner},
        {"kind": "directory", "target": "/srv/y", "before": {**owner, "mode": 0o700}, "after": owner},
        {"kind": "cgroup_limit", "target": "/cg/memory.max", "before": -1, "after": 4096},
        {"kind": "file", "target": "/etc/f", "before": "a\n", "after": "a\nb\n"},
    ]
    assert stack_host.diff(steps) == {
        "before": "/srv/y: 0:5 0700\n/cg/memory.max: -1\n/etc/f: a\n",
        "after": "/srv/x: 0:5 0750\n/srv/y: 0:5 0750\n/cg/memory.max: 4096\n/etc/f: a\n/etc/f: b\n",
    }


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        (
            1,
            [
                "d /cg/sixty 0755 root root -",
                "w /cg/sixty/memory.limit_in_bytes - - - - 8192",
                "w /cg/sixty/memory.memsw.limit_in_bytes - - - - 8192",
            ],
        ),
        (
            2,
            [
                "d /cg/sixty 0755 root root -",
                "w /cg/sixty/memory.max - - - - 8192",
                "w /cg/sixty/memory.swap.max - - - - 0",
            ],
        ),
    ],
)
def test_a_boot_makes_the_parent_and_its_limit_again(version, lines):
    assert stack_host.boot_lines("/cg/sixty", version, 8192 + 5).splitlines() == lines
