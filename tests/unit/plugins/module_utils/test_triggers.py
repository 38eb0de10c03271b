# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import triggers
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.triggers import Sample, Thresholds
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Thresholds()
MB = 1 << 20


def watched(*readings, every=10.0, **more):
    """Healthy samples of a 384 MB container, one a period; a reading is MB in use, or None."""
    return [
        Sample(
            time=every * number,
            healthy=True,
            memory=None if reading is None else int(reading * MB),
            limit=384 * MB,
            **more,
        )
        for number, reading in enumerate(readings)
    ]


def name(trigger):
    return trigger and trigger.name


@pytest.mark.parametrize(
    ("readings", "fires"),
    [
        ([350] * 13, True),  # 91 % for 120 s
        ([350] * 12, False),  # 110 s
        ([345.6] * 30, False),  # 90 % is not over 90 %
        ([350] * 20 + [300], False),  # it went down
        ([300] + [350] * 13, True),
        ([350] * 6 + [300] + [350] * 12, False),  # the 2 minutes begin anew
        ([350] * 6 + [None] + [350] * 6, True),  # an unreadable period proves nothing
        ([None] * 30, False),
        ([350], False),
    ],
)
def test_memory_fires_after_two_minutes_over_90_percent(readings, fires):
    assert name(triggers.memory(watched(*readings), LIMITS)) == ("memory" if fires else None)


def test_memory_says_how_much_and_how_long():
    trigger = triggers.memory(watched(*[380] * 14), LIMITS)
    assert trigger.reason == "memory over 90 % of its limit for 130 s: 380 of 384 MB"
    assert trigger.evidence == {"used": 380 * MB, "limit": 384 * MB, "seconds": 130.0}


def test_a_container_without_a_limit_has_no_share_of_it():
    assert (
        triggers.memory([Sample(time=t, healthy=True, memory=MB, limit=0) for t in range(0, 300, 10)], LIMITS) is None
    )


@pytest.mark.parametrize(
    ("answers", "fires"),
    [("....", False), ("xxx", False), ("xxxx", True), ("xxx.x", False), (".xxxx", True), ("xxxx.", False)],
)
def test_health_fires_after_more_than_three_failures_in_a_row(answers, fires):
    samples = [Sample(time=number, healthy=answer == ".") for number, answer in enumerate(answers)]
    assert name(triggers.health(samples, LIMITS)) == ("health" if fires else None)


@pytest.mark.parametrize(
    ("restarts", "oom_kills", "fires"),
    [(0, 0, None), (2, 0, None), (3, 0, "restarts"), (0, 1, "oom"), (5, 2, "oom")],
)
def test_an_oom_kill_fires_at_once_and_restarts_when_they_are_a_loop(restarts, oom_kills, fires):
    samples = [Sample(time=0, healthy=True, limit=64 * MB, restarts=restarts, oom_kills=oom_kills)]
    assert name(triggers.restarts(samples, LIMITS)) == fires


def latencies(seed, count, factor=1.0, spread=0.4):
    """Answers around 40 ms with a tail, as a log-normal distribution gives them."""
    source = random.Random(seed)
    return tuple(factor * 0.04 * source.lognormvariate(0, spread) for _ in range(count))


def after(new, reference=()):
    return [Sample(time=0, healthy=True, latencies=tuple(new), reference=tuple(reference))]


def fired(factor, seeds=range(200), reference=None, count=240):
    """How many of the seeds fire for a release that is slower by C(factor)."""
    return sum(
        triggers.degradation(
            after(
                latencies(seed + 10_000, count, factor), latencies(seed + 20_000, count, reference) if reference else ()
            ),
            latencies(seed, count),
            LIMITS,
        )
        is not None
        for seed in seeds
    )


def test_noise_alone_hardly_ever_fires():
    assert fired(1.0) <= 2  # of 200


def test_half_as_slow_again_fires_nearly_always_and_twice_as_slow_always():
    assert fired(1.5) >= 180
    assert fired(2.0) == 200


def test_steady_answers_fire_at_30_percent():
    before, new = latencies(1, 240, 1.0, 0.05), latencies(2, 240, 1.3, 0.05)
    trigger = triggers.degradation(after(new), before, LIMITS)
    assert trigger.name == "degradation" and "% slower" in trigger.reason
    assert trigger.evidence["p95"] > trigger.evidence["p95_before"] * 1.2


def test_what_slows_down_both_releases_is_not_the_new_ones_fault():
    assert fired(2.0, reference=2.0) <= 2
    assert fired(3.0, reference=1.5) >= 190


def test_too_few_samples_say_nothing():
    slow = latencies(1, 59, 10)
    assert triggers.degradation(after(slow), latencies(2, 240), LIMITS) is None
    assert triggers.degradation(after(latencies(1, 240, 10)), latencies(2, 59), LIMITS) is None


def test_a_difference_below_the_floor_is_the_machines():
    assert triggers.degradation(after([0.002] * 100), [0.001] * 100, LIMITS) is None


def test_the_surest_evidence_comes_first():
    samples = [
        Sample(time=10.0 * n, healthy=False, memory=380 * MB, limit=384 * MB, restarts=9, oom_kills=1)
        for n in range(20)
    ]
    assert triggers.judge(samples, (), LIMITS).name == "oom"
    assert triggers.judge([], (), LIMITS) is None


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=300), st.floats(0.01, 0.99))
def test_the_lower_bound_of_a_percentile_is_a_value_and_not_above_the_largest(values, share):
    assert min(values) <= triggers.percentile_floor(values, share) <= max(values)
    assert triggers.percentile(values, share) in values


@given(st.integers(1, 200), st.floats(0.01, 0.99))
def test_probabilities_add_up(count, share):
    assert triggers.at_least(count, 0, share) == pytest.approx(1)
    assert triggers.at_least(count, count, share) == pytest.approx(share**count)


def test_a_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="of nothing"):
        triggers.percentile([], 0.95)


@given(st.lists(st.sampled_from([0, 300, 350, 380, None]), min_size=1, max_size=40))
def test_a_release_within_its_thresholds_is_never_sent_back(readings):
    samples = [s for s in watched(*readings) if s.memory is None or s.memory <= 345 * MB] or watched(100)
    assert triggers.judge(samples, (), LIMITS) is None
