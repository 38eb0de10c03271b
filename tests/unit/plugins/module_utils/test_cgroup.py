# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading cgroup files; the trees are those of a kernel 6.1 (version 1) and 6.8 (version 2), cut to what counts."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import cgroup

NO_LIMIT = "9223372036854771712\n"
V1 = {
    "memory": {
        "memory.usage_in_bytes": "60000000\n",
        "memory.limit_in_bytes": "67108864\n",
        "memory.memsw.limit_in_bytes": "67108864\n",
        "memory.soft_limit_in_bytes": "33554432\n",
        "memory.max_usage_in_bytes": "66000000\n",
        "memory.failcnt": "12\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        # The plain counters are the cgroup's own, without its children.
        "memory.stat": "cache 1\nrss 2\ninactive_file 3\ntotal_cache 30000000\ntotal_rss 25000000\n"
        "total_inactive_file 10000000\ntotal_active_file 15000000\n",
    },
    "cpu": {"cpu.cfs_quota_us": "75000\n", "cpu.cfs_period_us": "100000\n"},
    "pids": {"pids.max": "64\n"},
}
V2 = {
    "memory.current": "60000000\n",
    "memory.max": "67108864\n",
    "memory.swap.max": "0\n",
    "memory.low": "33554432\n",
    "memory.peak": "66000000\n",
    "memory.events": "low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 0\n",
    "memory.stat": "anon 25000000\nfile 30000000\ninactive_file 10000000\nactive_file 15000000\n",
    "cpu.max": "75000 100000\n",
    "pids.max": "64\n",
}
FIGURES = {
    "usage": 60000000,
    "working_set": 50000000,
    "unreclaimable": 35000000,
    "rss": 25000000,
    "cache": 30000000,
    "limit": 67108864,
    "peak": 66000000,
    "failcnt": 12,
    "oom_kills": 3,
    "reservation": 33554432,
    "swap": 0,
    "cpu_quota": 75000,
    "cpu_period": 100000,
    "pids_limit": 64,
}
MEMBER_V1 = (
    "12:pids:/sixty/redis/abc\n7:cpu,cpuacct:/sixty/redis/abc\n4:memory:/sixty/redis/abc\n1:name=systemd:/x:y\n0::/\n"
)
MEMBER_V2 = "0::/sixty.slice/sixty-redis.slice/docker-abc.scope\n"


def tree_v1(**changes):
    """Path -> text; a change of None takes a file away."""
    files = {}
    for controller, entries in V1.items():
        for name, text in entries.items():
            files[f"/cg/{controller}/sixty/redis/abc/{name}"] = changes.get(name.replace(".", "_"), text)
    return {path: text for path, text in files.items() if text is not None}


def tree_v2(**changes):
    base = "/cg/sixty.slice/sixty-redis.slice/docker-abc.scope/"
    files = {base + name: changes.get(name.replace(".", "_"), text) for name, text in V2.items()}
    return {path: text for path, text in files.items() if text is not None}


def read(version, files):
    member = cgroup.membership(MEMBER_V1 if version == 1 else MEMBER_V2)
    return cgroup.read(version, "/cg", member, files.get)


@pytest.mark.parametrize(("version", "files"), [(1, tree_v1()), (2, tree_v2())])
def test_both_versions_give_the_same_figures(version, files):
    assert read(version, files) == FIGURES


@pytest.mark.parametrize(
    ("changes", "figures"),
    [
        ({"memory_limit_in_bytes": NO_LIMIT, "memory_memsw_limit_in_bytes": NO_LIMIT}, {"limit": 0, "swap": -1}),
        ({"memory_memsw_limit_in_bytes": NO_LIMIT}, {"swap": -1}),
        ({"memory_memsw_limit_in_bytes": "134217728\n"}, {"swap": 67108864}),
        # A kernel without swap accounting.
        ({"memory_memsw_limit_in_bytes": None}, {"swap": None}),
        ({"memory_soft_limit_in_bytes": NO_LIMIT}, {"reservation": 0}),
        ({"cpu_cfs_quota_us": "-1\n"}, {"cpu_quota": -1}),
        ({"cpu_cfs_quota_us": None, "cpu_cfs_period_us": None}, {"cpu_quota": -1, "cpu_period": 100000}),
        ({"pids_max": "max\n"}, {"pids_limit": 0}),
        ({"pids_max": None}, {"pids_limit": 0}),
        # Before kernel 4.13 there was no oom_kill.
        ({"memory_oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, {"oom_kills": 0}),
        # A page cache that is counted with a delay may exceed usage.
        ({"memory_usage_in_bytes": "5000000\n"}, {"usage": 5000000, "working_set": 0, "unreclaimable": 0}),
    ],
)
def test_version_1(changes, figures):
    assert read(1, tree_v1(**changes)) == {**FIGURES, **figures}


@pytest.mark.parametrize(
    ("changes", "figures"),
    [
        ({"memory_max": "max\n", "memory_swap_max": "max\n"}, {"limit": 0, "swap": -1}),
        ({"memory_swap_max": "4096\n"}, {"swap": 4096}),
        ({"memory_swap_max": None}, {"swap": None}),
        ({"memory_peak": None}, {"peak": None}),
        ({"memory_low": "0\n"}, {"reservation": 0}),
        ({"cpu_max": "max 100000\n"}, {"cpu_quota": -1}),
        ({"cpu_max": "max\n"}, {"cpu_quota": -1}),
        ({"cpu_max": None}, {"cpu_quota": -1}),
        ({"pids_max": "max\n"}, {"pids_limit": 0}),
        ({"memory_events": "low 0\nmax 0\n"}, {"failcnt": 0, "oom_kills": 0}),
    ],
)
def test_version_2(changes, figures):
    assert read(2, tree_v2(**changes)) == {**FIGURES, **figures}


@pytest.mark.parametrize("version", [1, 2])
def test_a_cgroup_that_vanished(version):
    assert read(version, {}) is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max", 0),
        ("max\n", 0),
        (str(0x7FFFFFFFFFFFF000), 0),
        (str(0x7FFFFFFFFFFFFFFF), 0),
        (str(0x7FFFFFFFFFFFF000 - 4096), 0x7FFFFFFFFFFFF000 - 4096),
        ("0\n", 0),
        ("67108864\n", 67108864),
    ],
)
def test_limit(text, limit):
    assert cgroup.parse_limit(text) == limit


def test_membership():
    assert cgroup.membership(MEMBER_V1) == {
        "pids": "/sixty/redis/abc",
        "cpu": "/sixty/redis/abc",
        "cpuacct": "/sixty/redis/abc",
        "memory": "/sixty/redis/abc",
        "name=systemd": "/x:y",
        "": "/",
    }
    assert cgroup.membership("") == {}


def test_stat_passes_over_what_is_no_pair():
    assert cgroup.parse_stat("anon 5\n\nsome avg10=0.00 avg60=0.00\nfile 7\n") == {"anon": 5, "file": 7}
