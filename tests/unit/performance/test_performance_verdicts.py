# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of make test-performance: settings, calibration, medians, verdicts."""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "performance"))

import verdicts  # noqa: E402
from verdicts import Refused, Row  # noqa: E402

finite = st.floats(min_value=0, max_value=1e6, allow_nan=False)


def test_settings_that_nobody_made():
    wanted = verdicts.options({})
    assert (wanted.url, wanted.runs, wanted.duration, wanted.rate) == ("http://localhost", 5, 60, 15)
    assert (wanted.api_p95, wanted.api_p99) == (250, 500)
    assert wanted.cpu_slowdown is None and not wanted.strict_goals


def test_empty_is_not_set():
    assert verdicts.options({"RUNS": " ", "URL": "", "STRICT_GOALS": ""}) == verdicts.options({})


def test_quick_is_a_default_that_gives_way():
    assert (verdicts.options({"QUICK": "1"}).runs, verdicts.options({"QUICK": "1"}).duration) == (2, 15)
    assert verdicts.options({"QUICK": "1", "RUNS": "3"}).runs == 3


def test_the_path_of_an_address_loses_its_last_slash():
    assert verdicts.options({"URL": "https://sales.example.com/app/"}).url == "https://sales.example.com/app"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNS", "0"),
        ("RUNS", "2.5"),
        ("RUNS", "26"),
        ("DURATION", "a minute"),
        ("DURATION", "4"),
        ("PERFORMANCE_API_RATE", "1000"),
        ("PERFORMANCE_CPU_SLOWDOWN", "nan"),
        ("PERFORMANCE_THRESHOLD_API_P95", "inf"),
        ("PERFORMANCE_THRESHOLD_API_P99", "-1"),
        ("QUICK", "yes"),
        ("STRICT_GOALS", "2"),
        ("URL", "localhost"),
        ("URL", "ftp://localhost"),
        ("URL", "http://localhost/?x=1"),
        ("MEMORY_MONITOR_URL", "http://"),
    ],
)
def test_bad_settings_are_refused_by_name_and_value(name, value):
    with pytest.raises(Refused, match="Nothing was measured") as refusal:
        verdicts.options({name: value})
    assert f"{name} is '{value.rstrip('/')}'" in str(refusal.value)


def test_all_bad_settings_are_told_at_once():
    with pytest.raises(Refused) as refusal:
        verdicts.options({"RUNS": "x", "DURATION": "y", "URL": "z"})
    assert len(str(refusal.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("index", "slowdown"),
    [(150, 1), (475, 1.5), (800, 2), (1050, 2.5), (1300, 3), (1533, 4), (2000, 6), (2466, 8), (5000, 10)],
)
def test_calibration(index, slowdown):
    assert verdicts.slowdown(index) == pytest.approx(slowdown, abs=0.05)


@given(st.floats(min_value=150, max_value=20_000), st.floats(min_value=0, max_value=5_000))
def test_a_faster_machine_is_never_slowed_down_less(index, more):
    assert 1 <= verdicts.slowdown(index) <= verdicts.slowdown(index + more) <= verdicts.MOST_SLOWDOWN


@pytest.mark.parametrize("index", [149, 0, -1, math.nan])
def test_a_machine_that_is_slower_than_the_phone_is_refused(index):
    with pytest.raises(Refused, match=r"(?s)benchmarkIndex of this machine is .*PERFORMANCE_CPU_SLOWDOWN=1"):
        verdicts.slowdown(index)


@pytest.mark.parametrize(("measured", "busy"), [(749, True), (750, False), (4000, False), (0, True), (math.nan, True)])
def test_a_run_on_a_busy_machine_does_not_count(measured, busy):
    assert verdicts.disturbed(measured, 1000) is busy


@given(st.lists(finite, min_size=1, max_size=25))
def test_median(values):
    assert verdicts.median(values) == statistics.median(values)


def test_medians_of_each_figure():
    runs = [{"lcp": 3, "cls": 0.1}, {"lcp": 1, "cls": 0.3}, {"lcp": 2, "cls": 0.2}]
    assert verdicts.medians(runs) == {"lcp": 2, "cls": 0.2}


def test_a_figure_that_one_run_lacks_is_an_error():
    with pytest.raises(ValueError, match="inp"):
        verdicts.medians([{"lcp": 1, "inp": 2}, {"lcp": 1}])


def test_nothing_has_no_median_and_no_percentile():
    with pytest.raises(ValueError):
        verdicts.median([])
    with pytest.raises(ValueError):
        verdicts.percentile([], 50)


@given(st.lists(finite, min_size=1, max_size=200), st.sampled_from([0, 50, 95, 99, 100]))
def test_a_percentile_is_a_value_with_that_many_at_or_below_it(values, percent):
    value = verdicts.percentile(values, percent)
    assert value in values
    assert sum(v <= value for v in values) >= percent / 100 * len(values) - 1e-9
    assert sum(v < value for v in values) <= percent / 100 * len(values)


@pytest.mark.parametrize(
    ("measured", "test", "threshold", "goal", "verdict"),
    [
        (2000, "<=", 2000, None, "ok"),
        (2000.1, "<=", 2000, None, "MISSED"),
        (2000, "<", 2000, None, "MISSED"),
        (1999.9, "<", 2000, None, "ok"),
        (85, ">", 85, 95, "MISSED"),
        (86, ">", 85, 95, "goal missed"),
        (95, ">", 85, 95, "ok"),
        (1500, "<=", 2000, 1500, "ok"),
        (1501, "<=", 2000, 1500, "goal missed"),
        # A goal may be met exactly, even where the threshold may not.
        (1500, "<", 2000, 1500, "ok"),
        (120, "<=", None, 100, "goal missed"),
        (120, "<=", None, None, "reported"),
        (0, "<=", 0, None, "ok"),
        (1, "<=", 0, None, "MISSED"),
        (math.nan, "<=", 2000, None, "MISSED"),
        (math.nan, ">", 85, None, "MISSED"),
    ],
)
def test_verdict(measured, test, threshold, goal, verdict):
    assert Row("x", measured, "ms", test, threshold, goal).verdict == verdict


def test_goals_decide_only_when_they_are_asked_to():
    good, short, bad = Row("a", 1, "", "<=", 2), Row("b", 3, "", "<=", 4, 2), Row("c", 5, "", "<=", 4, 2)
    assert verdicts.missed([good, short, bad]) == [bad]
    assert verdicts.missed([good, short, bad], strict_goals=True) == [short, bad]


def test_rows_of_the_page_keep_the_order_and_the_form():
    metrics = {
        "lcp": {"name": "LCP", "unit": "ms", "test": "<=", "threshold": 2000, "goal": 1500},
        "score": {"name": "score", "unit": "", "test": ">", "threshold": 85, "goal": None},
    }
    rows = verdicts.page_rows("mobile", metrics, {"score": 90, "lcp": 1700})
    assert [(row.metric, row.measured, row.verdict) for row in rows] == [
        ("mobile: LCP", 1700, "goal missed"),
        ("mobile: score", 90, "ok"),
    ]
    with pytest.raises(KeyError):
        verdicts.page_rows("mobile", metrics, {"lcp": 1700})


def test_share_of_the_threshold_is_over_100_on_the_bad_side():
    rows = [
        Row("fast", 500, "ms", "<=", 2000),
        Row("slow", 3000, "ms", "<=", 2000),
        Row("poor", 50, "", ">", 85),
        Row("only reported", 7),
        Row("none", 0, "", "<=", 0),
    ]
    assert verdicts.share_of_threshold(rows) == {"fast": 25, "slow": 150, "poor": 170}


ROWS = [Row("LCP", 1834.4, "ms", "<=", 2000, 1500), Row("CLS", 0.0161, "", "<=", 0.05), Row("p50", 2.53, "ms")]


def test_table():
    assert verdicts.table(ROWS) == (
        "metric  measured    threshold         goal  verdict\n"
        "LCP     1,834 ms  <= 2,000 ms  <= 1,500 ms  goal missed\n"
        "CLS        0.016     <= 0.050            -  ok\n"
        "p50       2.5 ms            -            -  reported"
    )


def test_markdown():
    lines = verdicts.markdown(ROWS).splitlines()
    assert lines[2] == "| LCP | 1,834 ms | <= 2,000 ms | <= 1,500 ms | goal missed |"
    assert {line.count("|") for line in lines} == {6}


def test_facts_are_the_figures_and_the_verdict():
    assert ROWS[1].facts() == {
        "metric": "CLS",
        "measured": 0.0161,
        "unit": "",
        "test": "<=",
        "threshold": 0.05,
        "goal": None,
        "verdict": "ok",
    }
