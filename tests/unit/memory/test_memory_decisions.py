# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the memory tests decide, as tables."""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.memory import api, browser, pressure
from ansible_collections.sixty_sales.memory_optimized.tests.memory.decisions import (
    MB,
    PARTS,
    Options,
    Refused,
    Step,
    growth,
    lower,
    markdown,
    options,
    smallest,
    table,
)

# -- options


def test_the_defaults():
    assert options({}) == Options(1200, 120, PARTS)
    assert options({"DURATION": " ", "ROUNDS": "", "PARTS": ""}) == Options(1200, 120, PARTS)


def test_parts_come_in_their_own_order():
    chosen = options({"DURATION": "180", "ROUNDS": "24", "PARTS": "pressure, api"})
    assert chosen == Options(180, 24, ("api", "pressure"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("DURATION", value) for value in ("59", "86401", "-60", "1e3", "20m", "120.5", "٣٠٠")),
        *(("ROUNDS", value) for value in ("23", "10001", "many")),
        *(("PARTS", value) for value in ("apis", "api,,browser", "api;browser")),
    ],
)
def test_a_wrong_option_is_named_before_anything_starts(name, value):
    with pytest.raises(Refused) as refusal:
        options({name: value})
    assert name in str(refusal.value) and str(refusal.value).endswith("Nothing was started.")


def test_all_wrong_options_are_named_at_once():
    with pytest.raises(Refused) as refusal:
        options({"DURATION": "x", "ROUNDS": "y", "PARTS": "z"})
    assert all(name in str(refusal.value) for name in ("DURATION is 'x'", "ROUNDS is 'y'", "'z'"))


# -- growth


def samples(rise, noise=0.0, count=60, seed=1):
    """(seconds, bytes), one every 3 s: `rise` gives the value at a share of the time."""
    made = random.Random(seed)
    return [(45 + 3 * n, 22 * MB + rise(n / (count - 1)) + made.uniform(0, noise)) for n in range(count)]


LEAST = MB
CASES = {
    "flat": (lambda share: 0, 0, False),
    "noisy": (lambda share: 0, 0.9 * MB, False),
    "a leak": (lambda share: 3 * MB * share, 0, True),
    "a leak in noise": (lambda share: 3 * MB * share, 0.5 * MB, True),
    "too little": (lambda share: 0.5 * MB * share, 0, False),
    "one step": (lambda share: 3 * MB * (share > 0.5), 0, False),
    "a cache that fills": (lambda share: 3 * MB * min(1, 3 * share), 0, False),
    "it falls": (lambda share: -3 * MB * share, 0, False),
}


@pytest.mark.parametrize("name", CASES)
def test_growth(name):
    rise, noise, leak = CASES[name]
    for seed in range(20):
        assert growth(samples(rise, noise, seed=seed), LEAST).leak == leak, seed


def test_the_slope_is_per_unit_of_the_samples():
    found = growth(samples(lambda share: 3 * MB * share), LEAST)
    assert found.slope == pytest.approx(3 * MB / (59 * 3), rel=0.01)
    assert (found.first, found.last, found.confidence > 0.99) == (22 * MB, 25 * MB, True)


def test_counts_are_judged_as_bytes_are():
    rounds = [(5 * n, 900 + 4 * n) for n in range(25)]
    found = growth(rounds, 60)
    assert (found.leak, found.slope) == (True, pytest.approx(0.8))
    assert not growth(rounds, 200).leak


def test_few_samples_say_nothing():
    with pytest.raises(ValueError, match="11 samples"):
        growth(samples(lambda share: 0, count=11), LEAST)


# -- the API


def run_of_api(heap=lambda share: 0, rss=lambda share: 0, **changes):
    heaps, residents = samples(heap), samples(rss)
    made = [
        {"seconds": seconds, "requests": 29 * seconds, "heap": value, "rss": 70 * MB + resident[1]}
        for (seconds, value), resident in zip(heaps, residents)
    ]
    load = {"requests": 9000, "failed_by_kind": {}}
    result = {"limit": 384 * MB, "most_unreclaimable": 48 * MB, "oom_kills": 0, "restarts": 0, "rate": 40}
    return {**result, "load": load, "streams": 220, "samples": made, **changes}


def test_an_api_that_does_not_grow():
    judged = api.judge(run_of_api(), [], [])
    assert judged["problems"] == []
    assert judged["growth"]["heap"]["per_hour"] == 0


def test_growth_is_told_per_hour_and_per_request():
    judged = api.judge(run_of_api(heap=lambda share: 4 * MB * share), [], [])
    [problem] = judged["problems"]
    heap = judged["growth"]["heap"]
    assert heap["per_hour"] == pytest.approx(4 * MB * 3600 / 177, rel=0.01)
    assert heap["per_1000_requests"] == pytest.approx(4 * MB / 177 / 29 * 1000, rel=0.01)
    for part in ("The API leaks", "from 22.0 to 26.0 MB in 177 s", "MB an hour", "1,000 requests", "4.1 hours"):
        assert part in problem, problem


def test_memory_beside_the_heap_is_judged_too():
    assert api.judge(run_of_api(rss=lambda share: 5 * MB * share), [], [])["problems"] == []
    [problem] = api.judge(run_of_api(rss=lambda share: 30 * MB * share), [], [])["problems"]
    assert "resident memory grew" in problem


@pytest.mark.parametrize(
    ("changes", "failed", "cut", "part"),
    [
        ({"oom_kills": 2}, [], [], "2 OOM kills and 0 restarts"),
        ({"restarts": 1}, [], [], "0 OOM kills and 1 restarts"),
        ({"load": {"requests": 90, "failed_by_kind": {"list: HTTP 503": 1}}}, ["one"], [], "'list: HTTP 503': 1"),
        ({}, [], ["HTTP 503"], "1 of 221 streams failed within the API's limit: HTTP 503"),
    ],
)
def test_an_api_that_does_not_serve_within_its_limit(changes, failed, cut, part):
    [problem] = api.judge(run_of_api(**changes), failed, cut)["problems"]
    assert part in problem


# -- the dashboard


def session(rounds=120, **slopes):
    base = {"heap": 9 * MB, "nodes": 900, "listeners": 300}
    every = rounds / 24
    return [
        {"round": n * every, **{name: base[name] + slopes.get(name, 0) * n * every for name in base}} for n in range(25)
    ]


@pytest.mark.parametrize(
    ("slopes", "leaking"),
    [
        ({}, []),
        ({"heap": 2048, "nodes": 0.4, "listeners": 0.1}, []),
        ({"nodes": 4}, ["nodes"]),
        ({"listeners": 4}, ["listeners"]),
        ({"heap": 20_000}, ["heap"]),
        ({"heap": 20_000, "nodes": 4, "listeners": 4}, ["heap", "nodes", "listeners"]),
        ({"nodes": -1}, []),
    ],
)
@pytest.mark.parametrize("rounds", [48, 120, 600])
def test_the_dashboard(slopes, leaking, rounds):
    problems = browser.judge(session(rounds, **slopes), rounds)["problems"]
    assert len(problems) == len(leaking)
    for name, problem in zip(leaking, problems):
        assert f"its {name} grew" in problem and f"in {rounds} rounds" in problem


# -- pressure


@pytest.mark.parametrize(
    ("limit", "in_use", "expected"),
    [
        (384, 46, 218),
        (218, 46, 135),
        (512, 400, 476),  # ten percent above what is in use
        (58, 46, 55),
        (54, 46, 51),
        (52, 46, None),  # not worth a step
        (64, 62, None),
        (50, 46, None),  # within its margin already
        (40, 46, None),  # it has grown over the limit
        (11, 1, 9),
        (9, 1, 6),  # the engine refuses less
        (6, 1, None),
    ],
)
def test_the_next_limit(limit, in_use, expected):
    found = lower(limit * MB, in_use * MB)
    assert (found and found / MB) == expected


@pytest.mark.parametrize("limit", range(8, 600, 37))
@pytest.mark.parametrize("in_use", [0, 3, 7, 46, 300])
def test_the_search_ends_and_never_goes_below_what_is_in_use(limit, in_use):
    limits = [limit * MB]
    while (wanted := lower(limits[-1], in_use * MB)) is not None:
        assert in_use * MB + 4 * MB <= wanted < limits[-1]
        limits.append(wanted)
    assert len(limits) < 14


WELL = Step(100 * MB, 40 * MB, 10, (), 0, 0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"failures": ("HTTP 502", "HTTP 504")}, "2 of 10 probes failed, first: HTTP 502"),
        ({"kills": 1, "restarts": 1}, "1 OOM kills; 1 restarts"),
        ({"restarts": 2}, "2 restarts"),
    ],
)
def test_a_step_that_went_wrong(changes, told):
    step = Step(**{**vars(WELL), **changes})
    assert not step.well and step.told == told


def test_a_step_without_a_probe_proves_nothing():
    assert not Step(100 * MB, 40 * MB, 0, (), 0, 0).well


def test_the_smallest_limit_is_the_last_that_served():
    bad = Step(60 * MB, 40 * MB, 10, (), 1, 0)
    assert smallest([WELL, Step(80 * MB, 40 * MB, 10, (), 0, 0), bad]) == 80 * MB
    assert smallest([bad]) is None
    assert smallest([]) is None


def found(smallest_postgres=40 * MB):
    one = {"limit": 64 * MB, "in_use": 5 * MB, "smallest": 9 * MB, "ended": "as low as it goes", "oom_kills": 0}
    postgres = {**one, "limit": 512 * MB, "smallest": smallest_postgres, "ended": "within 512 MB: 3 OOM kills"}
    return {
        profile: {**dict.fromkeys(pressure.PROBES, one), "postgres": {**postgres, "oom_kills": 3}}
        for profile in pressure.PROFILES
    }


def test_kills_below_the_own_limit_are_no_problem():
    assert pressure.judge(found()) == []


def test_a_service_that_does_not_serve_within_its_own_limit_is_one():
    problems = pressure.judge(found(None))
    assert len(problems) == 2
    assert "postgres does not serve within its own limit of 512 MB, profile documented" in problems[0]
    assert "3 OOM kills" in problems[0] and "profile hardened" in problems[1]


def test_both_profiles_stand_side_by_side():
    rows = pressure.rows(found(None))
    assert [row[0] for row in rows] == ["nginx", "api", "redis", "postgres"]
    assert rows[0] == ["nginx", *["64", "5", "9", "0"] * 2]
    assert rows[3] == ["postgres", *["512", "5", "none", "3"] * 2]
    lines = table(pressure.HEAD, rows).splitlines()
    assert len(lines) == 5 and lines[4].startswith("postgres  ") and lines[4].endswith(" 3")
    assert markdown(pressure.HEAD, rows).splitlines()[1].count("---:") == 8


def test_results_can_be_written():
    assert json.loads(json.dumps(WELL.facts()))["well"] is True
