# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a leak, and what only looks like one."""

from __future__ import annotations

import math
import random

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import LEAK, MB
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_monitor import leak
from memory_monitor.settings import Leak

SETTINGS = Leak(LEAK)
HOUR = 3600


def watch(memory, hours=6.5, limit=384 * MB, step=10):
    """Feed a function of seconds; returns the trend, and whether it was suspected at any time."""
    trend, ever = leak.Trend(), False
    for now in range(0, int(hours * HOUR), step):
        trend.add(now, max(0, int(memory(now))), limit, SETTINGS)
        ever = ever or trend.suspected
    return trend, ever


def noise(amplitude, seed=1):
    """The same for the same second."""
    return lambda now: random.Random(f"{seed} {now}").uniform(0, amplitude)


# -- the two statistics


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2, 3, 4], 1), ([4, 3, 2, 1], -1), ([5, 5, 5], 0), ([0, 2, 4, 6, 1000], 2), ([3, 1, 2], -0.5)],
)
def test_slope(values, expected):
    assert leak.slope(values) == expected


def test_confidence():
    # By the tables of Kendall's S for n = 4 .. 12 in the normal approximation with continuity correction.
    assert leak.confidence([5, 5, 5, 5]) == leak.confidence([4, 3, 2, 1]) == 0
    assert leak.confidence(list(range(12))) == pytest.approx(math.erf(65 / math.sqrt(12 * 11 * 29 / 18) / math.sqrt(2)))
    # Ties: three of one value, two of another.
    variance = (6 * 5 * 17 - 3 * 2 * 11 - 2 * 1 * 9) / 18
    assert leak.confidence([1, 1, 1, 2, 2, 3]) == pytest.approx(math.erf(10 / math.sqrt(variance) / math.sqrt(2)))


@given(st.lists(st.integers(0, 1 << 40), min_size=2, max_size=12), st.integers(0, 1 << 30))
def test_they_do_not_depend_on_the_level(values, level):
    shifted = [value + level for value in values]
    assert leak.confidence(shifted) == leak.confidence(values)
    assert leak.slope(shifted) == pytest.approx(leak.slope(values), abs=1e-3)
    assert 0 <= leak.confidence(values) <= 1


@given(st.lists(st.integers(0, 1 << 40), min_size=2, max_size=12))
def test_backwards_is_the_opposite(values):
    assert leak.slope(values[::-1]) == pytest.approx(-leak.slope(values))
    assert min(leak.confidence(values), leak.confidence(values[::-1])) == 0


# -- leaks


@pytest.mark.parametrize("rate", [8, 20, 60])
def test_a_leak(rate):
    trend, ever = watch(lambda now: 100 * MB + now / HOUR * rate * MB + noise(3 * MB)(now))
    assert ever and trend.suspected and trend.certainty > 0.99
    assert trend.growth * HOUR == pytest.approx(rate * MB, rel=0.1)


def test_a_leak_below_a_saw_tooth():
    """Twenty minutes from one collection to the next, 40 MB each, and 10 MB an hour stay."""
    trend, _ever = watch(lambda now: 100 * MB + now % 1200 / 1200 * 40 * MB + now / HOUR * 10 * MB)
    assert trend.suspected and trend.growth * HOUR == pytest.approx(10 * MB, rel=0.15)


@settings(max_examples=20, deadline=None)
@given(rate=st.floats(12, 60), level=st.floats(20, 200), amplitude=st.floats(0, 4), seed=st.integers())
def test_every_steady_leak_is_found(rate, level, amplitude, seed):
    rough = noise(amplitude * MB, seed)
    assert watch(lambda now: level * MB + now / HOUR * rate * MB + rough(now), hours=3, step=60)[0].suspected


# -- no leaks


@settings(max_examples=25, deadline=None)
@given(
    period=st.floats(30, 1700),
    height=st.floats(1, 200),
    level=st.floats(10, 150),
    amplitude=st.floats(0, 5),
    seed=st.integers(),
)
def test_no_saw_tooth_is_suspected(period, height, level, amplitude, seed):
    """A garbage collector's, from twice a minute to twice an hour: at no time."""
    rough = noise(amplitude * MB, seed)
    assert not watch(lambda now: level * MB + now % period / period * height * MB + rough(now), step=30)[1]


@settings(max_examples=25, deadline=None)
@given(at=st.floats(0, 6.5), height=st.floats(1, 250), level=st.floats(10, 100), seed=st.integers())
def test_no_step_is_suspected(at, height, level, seed):
    """More load from some moment on."""
    rough = noise(2 * MB, seed)
    assert not watch(lambda now: (level + height * (now > at * HOUR)) * MB + rough(now), step=30)[1]


@settings(max_examples=25, deadline=None)
@given(at=st.floats(0.5, 3), apart=st.floats(0.2, 3), height=st.floats(5, 120), seed=st.integers())
def test_no_two_steps_are_suspected(at, apart, height, seed):
    rough = noise(2 * MB, seed)
    steps = [at * HOUR, (at + apart) * HOUR]
    assert not watch(lambda now: (50 + height * sum(now > step for step in steps)) * MB + rough(now), step=30)[1]


@settings(max_examples=25, deadline=None)
@given(minutes=st.floats(1, 15), height=st.floats(5, 250), seed=st.integers())
def test_no_warm_up_is_suspected(minutes, height, seed):
    """A cache that fills, ever slower."""
    rough = noise(1 * MB, seed)
    assert not watch(lambda now: 50 * MB + height * MB * (1 - math.exp(-now / 60 / minutes)) + rough(now), step=30)[1]


@settings(max_examples=25, deadline=None)
@given(amplitude=st.floats(0, 100), seed=st.integers())
def test_no_noise_is_suspected(amplitude, seed):
    rough = noise(amplitude * MB, seed)
    assert not watch(lambda now: 50 * MB + rough(now), step=30)[1]


@pytest.mark.parametrize(
    "memory",
    [
        lambda now: 100 * MB,
        lambda now: 0,
        lambda now: 300 * MB - now / HOUR * 20 * MB,
        # 4 % of the limit in the window's two thirds.
        lambda now: 100 * MB + now / HOUR * 0.7 * MB,
    ],
    ids=["flat", "nothing", "falling", "too little"],
)
def test_what_does_not_grow_enough(memory):
    assert not watch(memory)[1]


def test_a_small_container_needs_two_megabytes():
    assert not watch(lambda now: 4 * MB + now / HOUR * 0.3 * MB, limit=16 * MB)[1]
    assert watch(lambda now: 4 * MB + now / HOUR * 1 * MB, limit=16 * MB)[1]


# -- windows


def test_nothing_is_said_before_there_is_a_value_for_each_part():
    trend, _ever = watch(lambda now: now * MB / 10, hours=0.2)
    assert (trend.growth, trend.certainty, trend.suspected) == (None, None, False)
    trend, _ever = watch(lambda now: now * MB / 10, hours=0.22)
    assert trend.growth == pytest.approx(MB / 10, rel=0.01)


def test_nothing_is_suspected_before_the_least_window():
    assert not watch(lambda now: now * MB / 30, hours=0.99)[1]
    assert watch(lambda now: now * MB / 30, hours=1.1)[1]


def test_a_leak_that_ended_is_forgotten():
    trend, ever = watch(lambda now: 50 * MB + min(now, 3 * HOUR) / HOUR * 40 * MB, hours=9.5)
    assert ever and not trend.suspected and trend.growth == 0


def test_memory_is_bounded():
    trend, _ever = watch(lambda now: 100 * MB, hours=20)
    assert len(trend._pages) == 360 and trend._pages.itemsize == 4


def test_other_settings_begin_anew():
    trend, _ever = watch(lambda now: now * MB / 30, hours=1.1)
    assert trend.suspected
    trend.add(1.1 * HOUR, 140 * MB, 384 * MB, Leak({**LEAK, "bucket": 30}))
    assert (trend.growth, trend.suspected, len(trend._pages)) == (None, False, 0)
