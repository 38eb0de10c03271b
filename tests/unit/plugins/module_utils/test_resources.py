# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import read_service
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.resources import container_resources
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.budget_profiles import merged


def resources(entry, **owner):
    return container_resources(read_service(entry), **owner)


def test_the_documented_api():
    assert resources(merged()["services"]["api"]) == {
        "memory": "384M",
        "memory_swap": "384M",
        "memory_reservation": "192M",
        "cpu_period": 100000,
        "cpu_quota": 75000,
        "cpu_shares": 512,
        "pids_limit": 128,
        "oom_score_adj": 300,
        "tmpfs": ["/tmp:size=16m,mode=1777,noexec,nosuid,nodev"],
    }


def test_what_the_budget_leaves_open_is_left_out():
    assert resources({"limit": "1.5M"}) == {"memory": "1536K", "memory_swap": "1536K"}


def test_an_adjustment_of_zero_is_said():
    postgres = resources(merged()["services"]["postgres"])
    assert postgres["oom_score_adj"] == 0
    assert postgres["shm_size"] == "32M"
    assert len(postgres["tmpfs"]) == 2


def test_owner_of_a_tmpfs():
    entry = {"limit": "8M", "tmpfs": {"/run/x": "512K"}}
    assert resources(entry, uid=0, gid=101)["tmpfs"] == ["/run/x:size=512k,mode=1777,noexec,nosuid,nodev,uid=0,gid=101"]


def test_what_the_kernel_refuses_is_raised_to_its_minimum():
    tiny = resources({"limit": "8M", "cpus": 0.001, "cpus_reservation": "0.0001"})
    assert (tiny["cpu_quota"], tiny["cpu_shares"]) == (1000, 2)


def test_no_container_without_a_limit():
    with pytest.raises(ValueError, match="no memory limit"):
        resources({"cpus": 1})


@pytest.mark.parametrize("profile", ["documented", "hardened"])
def test_every_service_is_limited_without_swap(profile):
    for entry in merged(profile)["services"].values():
        arguments = resources(entry)
        assert arguments["memory"] == arguments["memory_swap"] == entry["limit"]
        assert arguments["pids_limit"] > 0
        assert 0 < arguments["cpu_shares"] <= arguments["cpu_quota"] * 1024 / 100000
