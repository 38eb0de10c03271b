# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import watch_report
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.triggers import Sample, Thresholds

MB = 1 << 20
LIMITS = Thresholds(latency_samples=20)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "[----------]"),
        (0.04, "[----------]"),
        (0.5, "[#####-----]"),
        (0.96, "[##########]"),
        (1, "[##########]"),
        # More than its limit, as cgroup v1 may say for a moment.
        (1.7, "[##########]"),
        (-1, "[----------]"),
    ],
)
def test_bar(share, text):
    assert watch_report.bar(share, 10) == text


@pytest.mark.parametrize(
    ("memory", "limit", "text"),
    [
        (96 * MB, 384 * MB, "[#####---------------]  25 % 96 of 384 MB"),
        (384 * MB, 384 * MB, "[####################] 100 % 384 of 384 MB"),
        (0, 384 * MB, "[--------------------]   0 % 0 of 384 MB"),
        (None, 384 * MB, "[????????????????????]   ? %"),
        (96 * MB, 0, "[????????????????????]   ? %"),
    ],
)
def test_memory(memory, limit, text):
    assert watch_report.memory(Sample(time=0, healthy=True, memory=memory, limit=limit)) == text


def test_milliseconds():
    assert watch_report.milliseconds([]) == "-"
    assert watch_report.milliseconds([0.001 * number for number in range(1, 101)]) == "95"


def line(*samples, baseline=(0.02,), elapsed=12.3):
    return watch_report.sample_line("r2", elapsed, 180, samples, baseline, LIMITS)


def test_a_line():
    sample = Sample(time=0, healthy=True, memory=96 * MB, limit=384 * MB, latencies=(0.03,), reference=(0.021,))
    assert line(sample) == (
        "r2 watched   12 of 180 s  memory [#####---------------]  25 % 96 of 384 MB  "
        "p95 30 ms, before 20, old release now 21  healthy"
    )


def test_a_line_of_what_is_not_known():
    assert line(Sample(time=0, healthy=True), baseline=()).endswith("]   ? %  p95 - ms, before -  healthy")


def test_the_latencies_are_those_of_the_last_samples():
    """As many as the trigger judges."""
    old = [Sample(time=0, healthy=True, latencies=(9.0,) * 10) for _number in range(3)]
    new = [Sample(time=1, healthy=True, latencies=(0.01,) * 10) for _number in range(8)]
    assert "p95 10 ms" in line(*old, *new)
    assert "p95 9000 ms" in line(*old)


def test_failures_are_counted_and_named():
    bad = Sample(time=0, healthy=False, detail="/health/ready: HTTP 503", restarts=2)
    assert line(bad, bad).endswith("FAILED CHECK 2: /health/ready: HTTP 503  2 restarts")
    excused = Sample(time=0, healthy=False, detail="/api: HTTP 500", reference_healthy=False)
    assert line(bad, excused).endswith("FAILED CHECK 1: /api: HTTP 500 (at the old release too)")
