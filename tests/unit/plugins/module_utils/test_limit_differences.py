# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a container against what engine and kernel have."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import limits

ARGUMENTS = {
    "memory": "64M",
    "memory_swap": "64M",
    "memory_reservation": "32M",
    "cpu_quota": 25000,
    "cpu_period": 100000,
    "cpu_shares": 256,
    "pids_limit": 64,
    "oom_score_adj": -100,
    "tmpfs": ["/tmp:size=16m"],
}
MB = 1024**2
ENGINE = {
    "Memory": 64 * MB,
    "MemorySwap": 64 * MB,
    "MemoryReservation": 32 * MB,
    "CpuQuota": 25000,
    "CpuPeriod": 100000,
    "CpuShares": 256,
    "PidsLimit": 64,
    "OomScoreAdj": -100,
}
KERNEL = {
    "limit": 64 * MB,
    "reservation": 32 * MB,
    "cpu_quota": 25000,
    "cpu_period": 100000,
    "pids_limit": 64,
    "swap": 0,
}


def differences(wanted=None, engine=None, kernel=None):
    kernel = None if kernel is False else {**KERNEL, **(kernel or {})}
    values = limits.engine_values({**ENGINE, **(engine or {})})
    found = limits.differences(limits.wanted_values({**ARGUMENTS, **(wanted or {})}), values, kernel)
    return [(gap["setting"], gap["wanted"], gap["found"], gap["by"]) for gap in found]


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ({}, []),
        ({"kernel": False}, []),
        ({"kernel": {"swap": None}}, []),
        ({"kernel": {"swap": -1}}, [("swap", 0, -1, "kernel")]),
        ({"kernel": {"swap": MB}}, [("swap", 0, MB, "kernel")]),
        ({"kernel": {"limit": 0}}, [("memory", 64 * MB, 0, "kernel")]),
        ({"kernel": {"pids_limit": 0}}, [("pids_limit", 64, 0, "kernel")]),
        ({"engine": {"PidsLimit": None}}, [("pids_limit", 64, None, "engine")]),
        ({"engine": {"MemorySwap": 128 * MB}}, [("memory_swap", 64 * MB, 128 * MB, "engine")]),
        ({"engine": {"OomScoreAdj": 0}}, [("oom_score_adj", -100, 0, "engine")]),
        (
            {"wanted": {"memory": "65M"}},
            [("memory", 65 * MB, 64 * MB, "engine"), ("memory", 65 * MB, 64 * MB, "kernel")],
        ),
        # The kernel takes whole pages; the engine remembers what it was told.
        ({"wanted": {"memory": 64 * MB + 1000}, "engine": {"Memory": 64 * MB + 1000}}, []),
    ],
)
def test_differences(case, found):
    assert differences(**case) == found


def test_only_limits_are_wanted():
    assert "tmpfs" not in limits.wanted_values(ARGUMENTS)
    assert limits.differences({}, limits.engine_values({}), None) == []


def test_a_size_without_a_meaning():
    with pytest.raises(ValueError, match="512Q"):
        limits.wanted_values({"memory": "512Q"})


def inspect(host=None, user="999:999"):
    hardened = {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "CapAdd": None,
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "Init": True,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "5m"}},
    }
    return {"Config": {"User": user}, "HostConfig": {**hardened, **(host or {})}}


@pytest.mark.parametrize(
    ("host", "user", "gaps"),
    [
        ({}, "999:999", []),
        ({"SecurityOpt": ["label=disable", "no-new-privileges:true"]}, "redis", []),
        ({}, "", ["runs as root"]),
        ({}, None, ["runs as root"]),
        ({}, "0:999", ["runs as root"]),
        ({}, "root", ["runs as root"]),
        ({"ReadonlyRootfs": False}, "1", ["root file system is writable"]),
        ({"CapDrop": None}, "1", ["capabilities are not dropped"]),
        ({"CapDrop": ["NET_RAW"]}, "1", ["capabilities are not dropped"]),
        ({"CapAdd": ["SYS_ADMIN"]}, "1", ["capabilities are not dropped"]),
        ({"SecurityOpt": None}, "1", ["privileges can be gained"]),
        ({"SecurityOpt": ["no-new-privileges:false"]}, "1", ["privileges can be gained"]),
        ({"Privileged": True}, "1", ["is privileged"]),
        ({"Init": None}, "1", ["has no init"]),
        ({"LogConfig": {"Type": "json-file", "Config": None}}, "1", ["log does not rotate"]),
        ({"LogConfig": {"Type": "json-file", "Config": {}}}, "1", ["log does not rotate"]),
    ],
)
def test_hardening(host, user, gaps):
    assert limits.hardening_gaps(inspect(host, user)) == gaps


def test_describe():
    gap = {"setting": "memory", "wanted": 5, "found": 0, "by": "kernel"}
    assert limits.describe("sixty-redis", gap) == "sixty-redis: memory should be 5, the kernel has 0"
    assert limits.describe("sixty-redis", "has no init") == "sixty-redis: has no init"
