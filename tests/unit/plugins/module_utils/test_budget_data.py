# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The profiles: documented.yml has the requirement's numbers, exactly; hardened.yml answers its warnings."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.engine_rules import RULES
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB, parse_size, to_unit
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.budget_profiles import (
    DOCUMENTED,
    HARDENED,
    TWO_GB,
    check,
    merged,
    rules,
)

SERVICES = DOCUMENTED["services"]
# The requirement's "Memory Budget Breakdown", in MB, as it stands there.
BREAKDOWN = {
    "nginx": (128, 100, 108),
    "api": (384, 320, 326),
    "redis": (64, 56, 54),
    "postgres": (512, 400, 435),
    "prometheus": (128, 100, 108),
    "grafana": (128, 100, 108),
}
SETTINGS = [
    ("api", "max_old_space_size", "384M"),
    ("api", "pool_max", 5),
    ("api", "cache_entries", 50),
    ("redis", "maxmemory", "64M"),
    ("redis", "maxmemory_policy", "allkeys-lru"),
    ("redis", "save", "900 1 300 10 60 1000"),
    ("postgres", "shared_buffers", "96M"),
    ("postgres", "effective_cache_size", "256M"),
    ("postgres", "work_mem", "2M"),
    ("postgres", "maintenance_work_mem", "32M"),
    ("nginx", "worker_connections", 2048),
]


@pytest.mark.parametrize("name", BREAKDOWN)
def test_breakdown_of_the_requirement(name):
    entry = SERVICES[name]
    assert tuple(parse_size(entry[key]) / MIB for key in ("limit", "usage_target", "alert")) == BREAKDOWN[name]
    assert BREAKDOWN[name][2] == BREAKDOWN[name][0] * 85 // 100


@pytest.mark.parametrize(("name", "limit"), [("loki", "128M"), ("memory_monitor", "32M")])
def test_limits_of_the_monitoring_stack(name, limit):
    assert SERVICES[name]["limit"] == limit


@pytest.mark.parametrize(("name", "setting", "value"), SETTINGS)
def test_settings_of_the_requirement(name, setting, value):
    assert SERVICES[name]["settings"][setting] == value


def test_the_rest_of_the_requirement():
    assert DOCUMENTED["budget"] == {"total": "2048M"}
    assert SERVICES["api"]["reservation"] == "192M"
    assert (SERVICES["api"]["cpus"], SERVICES["api"]["cpus_reservation"]) == (0.75, 0.5)
    thresholds = DOCUMENTED["thresholds"]
    assert [thresholds[f"{name}_percent"] for name in ("warning", "critical", "container")] == [80, 90, 85]
    assert DOCUMENTED["documented_totals"] == {
        "services": list(BREAKDOWN),
        "limit": "1.34G",
        "usage_target": "1.1G",
        "alert": "1.2G",
    }


def test_the_last_row_is_the_sum_of_the_table():
    limits, targets, alerts = (sum(column) for column in zip(*BREAKDOWN.values()))
    assert (limits, targets, alerts) == (1344, 1076, 1139)
    # The table's GB are 1,000 MB: 1.344 is written as 1.34, and 1.076 and 1.139 are below 1.1 and 1.2.
    assert f"{limits / 1000:.2f}" == "1.34"
    assert targets < 1100
    assert alerts < 1200


def test_shares_of_the_total_and_of_limits():
    total = parse_size(DOCUMENTED["budget"]["total"]) // MIB
    thresholds = DOCUMENTED["thresholds"]
    assert parse_size(thresholds["total_alert"]) // MIB == total * thresholds["warning_percent"] // 100
    assert parse_size(thresholds["total_critical"]) // MIB == total * thresholds["critical_percent"] // 100
    for profile in ("documented", "hardened"):
        for name, entry in merged(profile)["services"].items():
            limit = parse_size(entry["limit"])
            assert parse_size(entry["alert"]) // MIB == limit * thresholds["container_percent"] // 100 // MIB, name
            if "gomemlimit" in entry.get("settings", {}):
                assert parse_size(entry["settings"]["gomemlimit"]) // MIB == limit * 80 // 100 // MIB, name


@pytest.mark.parametrize("profile", ["documented", "hardened"])
def test_the_peak_fits_with_a_margin(profile):
    verdict = check(profile=profile)
    assert verdict.peak.guaranteed + 8 * MIB <= verdict.budget.total == 2048 * MIB
    assert verdict.of("error") == []


def test_documented_warnings_are_the_known_ones():
    assert rules(check()) == [
        ("alert/below-target", "redis"),
        ("grafana/below-floor", "grafana"),
        ("node/old-space-at-limit", "api"),
        ("redis/full-cache-alerts", "redis"),
        ("redis/maxmemory-at-limit", "redis"),
        ("redis/save-copy-on-write", "redis"),
    ]


def test_hardened_has_no_finding_but_the_host():
    assert rules(check(profile="hardened")) == []
    assert rules(check(profile="hardened", host=TWO_GB)) == [("host/guaranteed", "")]


def test_hardened_holds_only_what_differs():
    def leaves(node, path=()):
        for key, value in node.items():
            yield from leaves(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]

    documented = dict(leaves(DOCUMENTED))
    for path, value in leaves(HARDENED):
        assert documented[path] != value, path


def test_postgres_is_killed_last():
    """The kernel's score: thousandths of the memory in use, plus the adjustment."""
    total = parse_size(DOCUMENTED["budget"]["total"])
    scores = {
        name: 1000 * parse_size(entry["limit"]) / total + entry["oom_score_adj"] for name, entry in SERVICES.items()
    }
    assert min(scores, key=scores.__getitem__) == "postgres"
    assert all(entry["oom_score_adj"] >= 0 for entry in SERVICES.values())


def test_every_service_is_complete():
    keys = {"reservation", "usage_target", "alert", "cpus", "cpus_reservation", "pids_limit", "oom_score_adj", "tmpfs"}
    for name, entry in SERVICES.items():
        assert keys <= set(entry), name
    assert set(RULES) == set(SERVICES) - {"memory_monitor"}


def test_sizes_of_programs_are_whole_megabytes():
    """Their configuration files are written in MB or KB."""
    for entry in merged("hardened")["services"].values():
        for name, value in entry.get("settings", {}).items():
            if isinstance(value, str) and value[-1:] in "KMG" and value[:-1].isdigit():
                assert to_unit(value, "K"), name
