# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget import (
    Host,
    as_result,
    host_memory,
    judge,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import read_service
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB, parse_size
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.budget_profiles import (
    BIG,
    DOCUMENTED,
    TWO_GB,
    check,
    merged,
    rules,
    service,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def only(verdict, rule):
    """The one finding with a rule."""
    found = [finding for finding in verdict.findings if finding.rule == rule]
    assert len(found) == 1, rules(verdict)
    return found[0]


# overrides, the rule, the place in the message, a word of the arithmetic, a word of the mend
REFUSED = [
    # One service takes too much; the peak of the switch is not needed for it.
    (service("postgres", limit="1G"), "budget/sum", "all services", "postgres 1,024 + ", "postgres by 512 MB"),
    ({"budget": {"total": "1G"}}, "budget/sum", "all services", "1,616 MB > 1,024 MB, 592 MB too much", "raise budget"),
    # Only while both APIs are up.
    (service("loki", limit="200M"), "budget/peak", "both APIs", "api 2 x 384 + ", "loki by 72 MB"),
    (service("redis", limit="512Q"), "size/unit", "services.redis.limit", "", "64M"),
    (service("redis", limit="-64M"), "size/negative", "services.redis.limit", "", "64M"),
    (service("redis", limit=0), "size/zero", "services.redis.limit", "", "64M"),
    (service("redis", limit=None), "limit/missing", "no memory limit", "", "documented value is 64M"),
    (service("redis", limit=["64M"]), "size/type", "['64M'] is no size", "", "64M"),
    (service("redis", limit=True), "size/type", "True is no size", "", "64M"),
    (service("redis", limit=1.5), "size/type", "1.5 is no size", "", "64M"),
    (service("redis", limit=64), "limit/below-minimum", "unit missing", "64 B < 6 MB", "bytes"),
    (service("nginx_exporter", limit="5M"), "limit/below-minimum", "Docker", "5 MB < 6 MB", "6M"),
    (service("redis", reservation="65M"), "reservation/above-limit", "refuses", "65 MB > 64 MB", "by 1 MB"),
    (service("redis", usage_target="80M"), "target/above-limit", "OOM-killed", "80 MB > 64 MB", "by 16 MB"),
    (service("redis", alert="65M"), "alert/above-limit", "never fire", "65 MB > 64 MB", "by 1 MB"),
    (service("redis", settings={"maxmemory": "65M"}), "redis/maxmemory-above-limit", "kills", "65 MB > 64 MB", "49M"),
    (
        service("redis", tmpfs={"/tmp": "16M"}),
        "tmpfs/does-not-fit",
        "counts against",
        "56 MB expected + /tmp 16 MB = 72 MB > 64 MB",
        "Take 8 MB",
    ),
    (
        service("postgres", shm_size="128M"),
        "tmpfs/does-not-fit",
        "counts against",
        "/dev/shm 128 MB = 545 MB > 512 MB",
        "Take 33 MB",
    ),
    (service("redis", tmpfs={"tmp": "1M"}), "tmpfs/path", "services.redis.tmpfs.tmp", "", "/"),
    (service("redis", tmpfs=["/tmp"]), "value/type", "services.redis.tmpfs", "", "mapping"),
    (
        service("api", settings={"pool_max": 6}),
        "postgres/connections",
        "refuse",
        "api 6 x 2 colours + 2 exporter + 1 migration + 3 reserved = 18 > max_connections 16",
        "max_connections of 18",
    ),
    (service("rediss", limit="1M"), "override/unknown-service", "services.rediss", "", "Did you mean redis?"),
    (service("mysql", limit="1M"), "override/unknown-service", "services.mysql", "", "Known here: alertmanager, api"),
    (
        service("redis", settings={"max_memory": "1M"}),
        "override/unknown-setting",
        "services.redis.settings.max_memory",
        "",
        "Did you mean maxmemory?",
    ),
    (service("redis", limits="1M"), "override/unknown-key", "services.redis.limits", "", "Did you mean limit?"),
    (service("redis", setting={}), "override/unknown-key", "services.redis.setting", "", "Did you mean settings?"),
    ({"treshold": {}}, "override/unknown-key", "memory_budget_overrides.treshold", "", "Did you mean thresholds?"),
    ({"thresholds": {"warn": 1}}, "override/unknown-key", "thresholds.warn", "", "warning_percent"),
    ({"thresholds": {"warning_percent": 101}}, "value/type", "from 1 to 100", "", "documented kind"),
    ({"budget": {"total": None}}, "budget/total", "is missing", "", "2048M"),
    ({"budget": []}, "value/type", "mapping", "", "mapping"),
    ({"documented_totals": {"services": "redis"}}, "value/type", "no list of service names", "", "kind"),
    ({"documented_totals": {"services": ["rediss"]}}, "override/unknown-service", "names rediss", "", "nginx"),
    ({"services": {"redis": "64M"}}, "value/type", "services.redis is '64M'", "", "mapping"),
    ({"services": {"redis": None}}, "value/type", "services.redis is None", "", "mapping"),
    ({"services": []}, "value/type", "services is []", "", "mapping"),
    (service("redis", settings=None), "value/type", "services.redis.settings", "", "mapping"),
    (service("redis", settings={"maxmemory": None}), "value/missing", "services.redis.settings.maxmemory", "", "Give"),
    (service("redis", settings={"maxmemory": 0}), "size/zero", "unlimited", "", "64M"),
    (service("redis", settings={"save": []}), "value/type", "no text", "", "kind"),
    (service("nginx", settings={"worker_processes": "auto"}), "value/type", "'auto' is no whole number", "", "kind"),
    (service("nginx", settings={"worker_processes": -1}), "value/type", "0 or more", "", "kind"),
    (service("redis", pids_limit=0), "value/type", "1 or more", "", "kind"),
    (service("redis", oom_score_adj=1001), "value/type", "from -1000 to 1000", "", "kind"),
    (service("redis", cpus="many"), "value/type", "'many' is no number", "", "kind"),
    (service("redis", cpus=float("nan")), "value/type", "not above zero", "", "kind"),
    (service("redis", cpus=0), "value/type", "not above zero", "", "kind"),
    (service("redis", cpus_reservation=0.6), "cpu/reservation-above-limit", "above the CPU limit", "0.6 > 0.5", "cpus"),
]


@pytest.mark.parametrize(("overrides", "rule", "message", "arithmetic", "mend"), REFUSED)
def test_refuses(overrides, rule, message, arithmetic, mend):
    finding = only(check(overrides), rule)
    assert finding.severity == "error"
    assert message in finding.message
    assert arithmetic in finding.arithmetic
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("overrides", "rule", "arithmetic"),
    [
        (service("redis", alert="55M"), "alert/below-target", "55 MB < 56 MB"),
        (service("api", cpus=17), "cpu/above-host", "17 > 16 CPUs"),
        ({"thresholds": {"warning_percent": 90}}, "thresholds/order", "90 % >= 90 %"),
        ({"thresholds": {"total_alert": "1900M"}}, "thresholds/order", "1,900 MB >= 1,843 MB"),
        ({"thresholds": {"total_critical": "2G"}}, "thresholds/order", "2,048 MB >= 2,048 MB"),
        (service("nginx", limit="160M"), "totals/limit", "1,376 MB > 1,372.2 MB"),
        (service("postgres", usage_target="455M"), "totals/usage-target", "1,131 MB > 1,126.4 MB"),
        (service("postgres", limit="541M"), "totals/limit", "postgres 541 + prometheus 128 + "),
        ({"documented_totals": {"alert": "1.1G"}}, "totals/alert", "1,139 MB > 1,126.4 MB"),
    ],
)
def test_warns(overrides, rule, arithmetic):
    finding = only(check(overrides), rule)
    assert finding.severity == "warning"
    assert arithmetic in finding.arithmetic
    assert finding.message and finding.mend


def test_one_run_names_everything_that_is_wrong():
    overrides = {
        "services": {
            "redis": {"limit": "512Q", "reservation": []},
            "nginx": {"limit": "-1M"},
            "rediss": {},
            "loki": {"limit": None},
        }
    }
    assert rules(check(overrides), "error") == [
        ("limit/missing", "loki"),
        ("override/unknown-service", "rediss"),
        ("size/negative", "nginx"),
        ("size/type", "redis"),
        ("size/unit", "redis"),
    ]


def test_names_the_override_or_the_budget_as_the_place_to_mend():
    assert only(check(service("redis", limit="1Q")), "size/unit").message.startswith("memory_budget_overrides.services")
    data = merged(overrides=service("redis", limit="1Q"))
    assert only(judge(data, DOCUMENTED), "size/unit").message.startswith("services.redis.limit")


def test_strict_refuses_the_documented_profile():
    verdict = check(strict=True)
    assert verdict.of("warning") == []
    assert ("redis/maxmemory-at-limit", "redis") in rules(verdict, "error")
    assert ("node/old-space-at-limit", "api") in rules(verdict, "error")
    assert check(profile="hardened", strict=True).of("error") == []


def test_timeline_of_the_documented_profile():
    phases = [(p.name, p.containers, p.guaranteed // MIB, p.expected // MIB) for p in check().timeline]
    assert phases == [
        ("steady", 13, 1616, 1284),
        ("overlap", 14, 2000, 1476),
        ("drain", 14, 2000, 1476),
        ("promoted", 13, 1616, 1284),
    ]


@pytest.mark.parametrize("profile", ["documented", "hardened"])
def test_a_host_of_two_gigabytes_fits_by_expectation_only(profile):
    verdict = check(profile=profile, host=TWO_GB)
    finding = only(verdict, "host/guaranteed")
    assert finding.severity == "warning"
    assert "1,978 MB - 300 MB system - 14 containers x 11 MB = 1,524 MB < " in finding.arithmetic
    assert verdict.parent_limit == parse_size("1678M")
    assert [phase["fits_host_expected"] for phase in as_result(verdict)["timeline"]] == [True] * 4
    assert [phase["fits_host_guaranteed"] for phase in as_result(verdict)["timeline"]] == [False] * 4


def test_a_host_below_expectation_is_refused():
    verdict = check(host=Host(parse_size("1900M"), 2))
    finding = only(verdict, "host/expected")
    assert finding.severity == "error"
    assert "1,446 MB < 1,476 MB expected" in finding.arithmetic
    assert finding.mend == "A host with 1,930 MB or more, or 30 MB less for services."
    assert "host/expected" not in [found.rule for found in check(host=Host(parse_size("1930M"), 2)).findings]


def test_a_host_below_its_own_needs_is_refused():
    verdict = check(host=Host(parse_size("256M"), 2))
    assert only(verdict, "host/reserve").arithmetic == "256 MB - 300 MB = -44 MB"
    assert verdict.parent_limit == 0


def test_parent_limit_is_the_smaller_of_budget_and_host():
    assert check(host=BIG).parent_limit == check(host=Host()).parent_limit == parse_size("2G")
    assert check(host=Host(parse_size("2348M"))).parent_limit == parse_size("2G")
    assert check(host=Host(parse_size("2347M"))).parent_limit == parse_size("2047M")


def test_the_second_colour_is_expected_at_its_reservation():
    api = {"limit": "100M", "usage_target": "80M", "colours": 3}
    young = judge({"budget": {"total": "1G"}, "services": {"api": {**api, "reservation": "30M"}}}).timeline
    assert [phase.expected // MIB for phase in young] == [80, 140, 140, 80]
    bare = judge({"budget": {"total": "1G"}, "services": {"api": {"limit": "100M", "colours": 2}}}).timeline
    assert [phase.expected // MIB for phase in bare] == [100, 200, 200, 100]


def test_memory_of_the_host():
    assert host_memory("MemTotal:        2025472 kB\nMemFree:  1 kB\n") == parse_size("1978M")
    with pytest.raises(ValueError, match="no MemTotal"):
        host_memory("MemFree: 1 kB\n")


def test_nothing_is_changed_by_judging():
    data, overrides = merged(), service("redis", limit="1Q")
    before = copy.deepcopy((data, DOCUMENTED, overrides))
    judge(data, DOCUMENTED, overrides)
    assert (data, DOCUMENTED, overrides) == before


def test_a_service_by_itself():
    assert read_service({"limit": "1M", "settings": {"any": 1}}).limit == MIB
    with pytest.raises(ValueError, match="limit cannot be read: '1Q'"):
        read_service({"limit": "1Q"})
    with pytest.raises(ValueError, match="mapping"):
        read_service([])


NAMES = st.sampled_from(sorted(DOCUMENTED["services"]))
LIMITS = st.dictionaries(NAMES, st.integers(min_value=6, max_value=700))


def over_budget(limits):
    overrides = {"services": {name: {"limit": f"{size}M"} for name, size in limits.items()}}
    verdict = check(overrides)
    return verdict, any(finding.rule.startswith("budget/") for finding in verdict.findings)


@settings(max_examples=60, deadline=None)
@given(LIMITS, NAMES, st.integers(min_value=0, max_value=700))
def test_more_memory_never_makes_an_exceeded_budget_fit(limits, name, more):
    verdict, over = over_budget(limits)
    assert over == (verdict.peak.guaranteed > verdict.budget.total)
    base = limits.get(name, parse_size(DOCUMENTED["services"][name]["limit"]) // MIB)
    larger, still_over = over_budget({**limits, name: base + more})
    assert larger.peak.guaranteed >= verdict.peak.guaranteed
    assert still_over or not over


@settings(max_examples=60, deadline=None)
@given(LIMITS)
def test_the_peak_is_never_below_the_steady_state(limits):
    verdict, _over = over_budget(limits)
    steady = verdict.timeline[0]
    assert all(
        phase.guaranteed >= steady.guaranteed and phase.expected >= steady.expected for phase in verdict.timeline
    )
    assert steady.guaranteed == sum(row["limit"] for row in as_result(verdict)["rows"])


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["64M", "-1M"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
# Known names with any value, so that every reader meets what it does not expect.
KNOWN = st.dictionaries(
    NAMES,
    st.one_of(
        JSON,
        st.dictionaries(
            st.sampled_from([*DOCUMENTED["services"]["postgres"], "colours", "x"]),
            st.one_of(
                JSON,
                st.dictionaries(st.sampled_from(["/tmp", *DOCUMENTED["services"]["postgres"]["settings"]]), JSON),
            ),
            max_size=4,
        ),
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(KNOWN.map(lambda services: {"services": services}), st.dictionaries(st.sampled_from([*DOCUMENTED]), JSON))
)
def test_nothing_that_a_user_writes_is_a_traceback(overrides):
    verdict = check(overrides)
    assert all(finding.message and finding.mend for finding in verdict.findings)
    assert as_result(verdict)["totals"]["peak"] >= 0
