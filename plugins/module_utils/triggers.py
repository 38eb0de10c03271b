# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a release that was just switched to has to go back. Pure: samples in, a verdict out.

The four triggers are the requirement's ("Automatic Rollback Triggers"): memory over 90 % of the limit for
2 minutes, performance degraded by more than 20 %, more than 3 failed health checks in a row, a restart loop
or an OOM kill. They judge the new release's own container and nothing else: a full Redis is not its fault, and
what fails at the old release in the same moment is not the new one's doing either.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Thresholds:
    """When each trigger fires. Times are seconds, shares are percent."""

    memory_percent: float = 90
    memory_seconds: float = 120
    degradation_percent: float = 20
    # Fewer say nothing about a 95th percentile: it is the third largest of 60.
    latency_samples: int = 60
    # Differences below this are the machine's, not the release's; in seconds.
    latency_floor: float = 0.005
    health_failures: int = 3
    restarts: int = 3


@dataclass(frozen=True)
class Sample:
    """What was seen of the new release in one period. Counters count from the switch."""

    time: float
    healthy: bool
    # Unreclaimable bytes and the limit; None where the cgroup could not be read.
    memory: t.Optional[int] = None
    limit: int = 0
    latencies: t.Tuple[float, ...] = ()
    # The same probes at the same time against the old release, where it is still warm.
    reference: t.Tuple[float, ...] = ()
    restarts: int = 0
    oom_kills: int = 0
    # What a failed check saw, and whether the old release, where it is still warm, passed the same checks.
    detail: str = ""
    reference_healthy: bool = True


@dataclass(frozen=True)
class Trigger:
    """Why a release goes back; C(evidence) is kept in the journal."""

    name: str
    reason: str
    evidence: t.Dict[str, t.Any] = field(default_factory=dict)


def percentile(values: t.Sequence[float], share: float) -> float:
    """The nearest-rank percentile; C(share) is between 0 and 1. Raises ValueError for no values."""
    if not values:
        raise ValueError("a percentile of nothing")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def at_least(count: int, hits: int, share: float) -> float:
    """Probability of C(hits) or more successes in C(count) trials that succeed with C(share) each."""
    return sum(math.comb(count, n) * share**n * (1 - share) ** (count - n) for n in range(hits, count + 1))


def percentile_floor(values: t.Sequence[float], share: float, confidence: float = 0.95) -> float:
    """What the true percentile is not below, with this confidence, whatever the distribution.

    The order statistic k of n is a lower bound when k of n values lie below the percentile with that
    probability (distribution-free confidence interval for quantiles: David & Nagaraja, Order Statistics, 7.1).
    """
    ordered = sorted(values)
    for rank in range(len(ordered), 0, -1):
        if at_least(len(ordered), rank, share) >= confidence:
            return ordered[rank - 1]
    return ordered[0]


def memory(samples: t.Sequence[Sample], limits: Thresholds) -> t.Optional[Trigger]:
    """Over the share of the limit in every reading of the last C(memory_seconds).

    An unreadable period is no reading: it neither proves nor disproves anything.
    """
    read = [sample for sample in samples if sample.memory is not None and sample.limit]
    since = None
    for sample in reversed(read):
        if t.cast(int, sample.memory) * 100 <= sample.limit * limits.memory_percent:
            break
        since = sample
    if since is None or read[-1].time - since.time < limits.memory_seconds:
        return None
    used, limit = t.cast(int, read[-1].memory), read[-1].limit
    return Trigger(
        "memory",
        f"memory over {limits.memory_percent:g} % of its limit for {read[-1].time - since.time:.0f} s: "
        f"{used >> 20} of {limit >> 20} MB",
        {"used": used, "limit": limit, "seconds": round(read[-1].time - since.time, 1)},
    )


def health(samples: t.Sequence[Sample], limits: Thresholds) -> t.Optional[Trigger]:
    """More failed checks in a row, up to now, than are allowed. What fails at the old release too is not counted."""
    failures = failed_checks(samples)
    if failures <= limits.health_failures:
        return None
    detail = samples[-1].detail
    reason = f"{failures} health checks in a row failed" + (f", the last with {detail}" if detail else "")
    return Trigger("health", reason, {"failures": failures, "detail": detail})


def failed_checks(samples: t.Sequence[Sample]) -> int:
    """How many checks up to now failed in a row at the new release alone."""
    failures = 0
    for sample in reversed(samples):
        if sample.healthy:
            break
        failures += sample.reference_healthy
    return failures


def pending(samples: t.Sequence[Sample], limits: Thresholds) -> bool:
    """Whether a trigger's condition holds but has not held for long enough: no moment to end the watch."""
    if not samples:
        return False
    last = samples[-1]
    over = last.memory is not None and last.limit and last.memory * 100 > last.limit * limits.memory_percent
    return bool(over) or failed_checks(samples) > 0


def restarts(samples: t.Sequence[Sample], limits: Thresholds) -> t.Optional[Trigger]:
    """An OOM kill at once; restarts when they are a loop."""
    last = samples[-1]
    if last.oom_kills:
        reason = f"the kernel killed it for memory {last.oom_kills} times, its limit is {last.limit >> 20} MB"
        return Trigger("oom", reason, {"oom_kills": last.oom_kills, "limit": last.limit})
    if last.restarts >= limits.restarts:
        return Trigger("restarts", f"it was restarted {last.restarts} times", {"restarts": last.restarts})
    return None


def degradation(samples: t.Sequence[Sample], baseline: t.Sequence[float], limits: Thresholds) -> t.Optional[Trigger]:
    """The 95th percentile is worse than the old release's by more than is allowed, beyond doubt.

    "Beyond doubt": not the percentile itself but its lower confidence bound has to pass. And where the old
    release is still warm and was probed at the same time, what slowed down both is the machine's doing.
    """
    latencies = [value for sample in samples for value in sample.latencies][-4 * limits.latency_samples :]
    if min(len(latencies), len(baseline)) < limits.latency_samples:
        return None
    before, floor = percentile(baseline, 0.95), percentile_floor(latencies, 0.95)
    reference = [value for sample in samples for value in sample.reference][-4 * limits.latency_samples :]
    noise = max(1.0, percentile(reference, 0.95) / before) if len(reference) >= limits.latency_samples else 1.0
    allowed = before * noise * (1 + limits.degradation_percent / 100)
    if floor <= allowed or floor - before * noise < limits.latency_floor:
        return None
    now = percentile(latencies, 0.95)
    return Trigger(
        "degradation",
        f"95th percentile of its answers {now * 1000:.0f} ms, before {before * 1000:.0f} ms: "
        f"{(now / (before * noise) - 1) * 100:.0f} % slower"
        + (f" than the old release, which answers {(noise - 1) * 100:.0f} % slower too" if noise > 1 else ""),
        {"p95": now, "p95_floor": floor, "p95_before": before, "noise": noise, "samples": len(latencies)},
    )


def judge(samples: t.Sequence[Sample], baseline: t.Sequence[float], limits: Thresholds) -> t.Optional[Trigger]:
    """The first trigger that fires, the surest evidence first; None to go on watching."""
    if not samples:
        return None
    return (
        restarts(samples, limits)
        or health(samples, limits)
        or memory(samples, limits)
        or degradation(samples, baseline, limits)
    )
