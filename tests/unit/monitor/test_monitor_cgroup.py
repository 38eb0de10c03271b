# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One reading of cgroups: what it says beside memory, and that the image has the collection's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import cgroup as collections
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB, Figures
from memory_monitor import cgroup


def test_the_image_has_the_collections_own():
    assert Path(cgroup.__file__).read_bytes() == Path(collections.__file__).read_bytes(), (
        "Copy plugins/module_utils/cgroup.py to roles/image/files/memory_monitor/memory_monitor/."
    )


def activity(version, gone=(), **changes):
    figures = Figures(**changes)
    files = figures.v1() if version == 1 else figures.v2()
    member = {"": "/x"} if version == 2 else dict.fromkeys(("memory", "cpu", "cpuacct", "pids"), "/x")
    paths = {}
    for name, text in files.items():
        controller, _slash, file = name.rpartition("/")
        if file not in gone:
            paths[f"/cg/{controller}/x/{file}" if version == 1 else f"/cg/x/{file}"] = text
    return cgroup.read_activity(version, "/cg", member, paths.get)


@pytest.mark.parametrize("version", [1, 2])
def test_activity(version):
    found = activity(version)
    expected = {
        **{"tasks": 7, "periods": 100, "throttled_periods": 5, "mapped_file": 4 * MB, "swap_usage": 1 * MB},
        **{"cpu_seconds": 2.5, "throttled_seconds": 0.25, "cpu_shares": 256 if version == 1 else 264},
        "pressure_waiting": 1.5 if version == 2 else None,
        "pressure_stalled": 0.5 if version == 2 else None,
    }
    assert found == expected


@pytest.mark.parametrize(
    ("version", "gone", "unknown"),
    [
        (1, ["cpuacct.usage"], {"cpu_seconds"}),
        (1, ["cpu.stat"], {"periods", "throttled_periods", "throttled_seconds"}),
        (1, ["cpu.shares", "pids.current"], {"cpu_shares", "tasks"}),
        (2, ["cpu.stat"], {"cpu_seconds", "periods", "throttled_periods", "throttled_seconds"}),
        (2, ["cpu.weight", "pids.current"], {"cpu_shares", "tasks"}),
        # A kernel without swap accounting, one without PSI.
        (2, ["memory.swap.current"], {"swap_usage"}),
        (2, ["memory.pressure"], {"pressure_waiting", "pressure_stalled"}),
    ],
)
def test_what_a_kernel_does_not_tell(version, gone, unknown):
    whole, found = activity(version), activity(version, gone)
    assert {name for name, value in found.items() if value is None and whole[name] is not None} == unknown


@pytest.mark.parametrize(("weight", "shares"), [(1, 2), (39, 998), (100, 2597), (10000, 262144)])
def test_weights(weight, shares):
    assert cgroup.cpu_shares(weight) == shares
