# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of a watch, a line a sample. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import triggers
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.triggers import Sample, Thresholds

WIDTH = 20


def bar(share: float, width: int = WIDTH) -> str:
    """A share between 0 and 1 as a bar of characters."""
    full = round(max(0.0, min(1.0, share)) * width)
    return "[" + "#" * full + "-" * (width - full) + "]"


def memory(sample: Sample) -> str:
    """Unreclaimable memory of its limit."""
    if sample.memory is None or not sample.limit:
        return f"[{'?' * WIDTH}]   ? %"
    share = sample.memory / sample.limit
    return f"{bar(share)} {share * 100:3.0f} % {sample.memory >> 20} of {sample.limit >> 20} MB"


def milliseconds(values: t.Sequence[float]) -> str:
    """Their 95th percentile."""
    return f"{triggers.percentile(values, 0.95) * 1000:.0f}" if values else "-"


def sample_line(
    release: str,
    elapsed: float,
    total: float,
    samples: t.Sequence[Sample],
    baseline: t.Sequence[float],
    limits: Thresholds,
) -> str:
    """Elapsed time of the total, memory, latency against the baseline, and what is wrong, of the last sample."""
    last = samples[-1]
    latencies = [value for sample in samples for value in sample.latencies][-4 * limits.latency_samples :]
    reference = [value for sample in samples for value in sample.reference][-4 * limits.latency_samples :]
    parts = [
        f"{release} watched {elapsed:4.0f} of {total:.0f} s",
        f"memory {memory(last)}",
        f"p95 {milliseconds(latencies)} ms, before {milliseconds(baseline)}"
        + (f", old release now {milliseconds(reference)}" if reference else ""),
    ]
    failures = triggers.failed_checks(samples)
    if last.healthy:
        parts.append("healthy")
    else:
        excused = "" if last.reference_healthy else " (at the old release too)"
        parts.append(f"FAILED CHECK {failures}: {last.detail}{excused}")
    if last.restarts:
        parts.append(f"{last.restarts} restarts")
    return "  ".join(parts)
