# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rings of the recent past."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB
from memory_monitor.history import LENGTH, MOST_SERVICES, STEP, History


def test_the_highest_of_each_step():
    history = History()
    for time, usage in ((1000, 5), (1010, 9), (1019, 7), (1020, 3)):
        history.add(time, {"redis": (usage * MB, MB)})
    assert history.read(1020) == {"redis": [[1000, 9 * MB, MB], [1020, 3 * MB, MB]]}


def test_an_hour_and_no_more():
    history = History()
    for time in range(0, 3 * STEP * LENGTH, 10):
        history.add(time, {"redis": (time << 12, 0)})
    points = history.read(time)["redis"]
    assert len(points) == LENGTH
    assert points[0][0] == points[-1][0] - (LENGTH - 1) * STEP
    assert all(usage >> 12 == time + 10 for time, usage, _unreclaimable in points)


def test_a_gap_stays_one():
    history = History()
    history.add(0, {"redis": (MB, MB)})
    history.add(100, {"redis": (MB, MB)})
    assert [time for time, *_ in history.read(100)["redis"]] == [0, 100]
    history.add(20 + STEP * LENGTH, {"redis": (MB, MB)})
    assert [time for time, *_ in history.read(20 + STEP * LENGTH)["redis"]] == [100, 20 + STEP * LENGTH]


def test_a_clock_that_is_set_back():
    history = History()
    history.add(100000, {"redis": (MB, MB)})
    history.add(50000, {"redis": (2 * MB, MB)})
    assert history.read(50000) == {"redis": [[50000, 2 * MB, MB]]}


def test_one_service_and_one_that_is_not_there():
    history = History()
    history.add(0, {"redis": (MB, MB), "api": (2 * MB, MB)})
    assert list(history.read(0)) == ["redis", "api"]
    assert history.read(0, "api") == {"api": [[0, 2 * MB, MB]]}
    with pytest.raises(KeyError):
        history.read(0, "nginx")


def test_a_service_that_stops_keeps_its_past():
    history = History()
    history.add(0, {"redis": (MB, MB)})
    history.add(20, {})
    assert history.read(20) == {"redis": [[0, MB, MB]]}


def test_services_are_bounded():
    history = History()
    history.add(1000, {f"service{number}": (MB, MB) for number in range(1000)})
    assert len(history.read(1000)) == MOST_SERVICES
    # Those that have no past left make room.
    history.add(1000 + STEP * LENGTH, {"redis": (MB, MB)})
    assert list(history.read(1000 + STEP * LENGTH)) == ["redis"]
