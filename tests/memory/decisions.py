# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the memory tests decide, and with which options; without a stack, a browser or a clock.

Growth is judged by the Memory Monitor's own rule (memory_monitor/leak.py), here on a test's samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

from memory_monitor.leak import SEGMENTS, Trend

MB = 2**20
PARTS = ("api", "browser", "pressure")


class Refused(Exception):
    """It cannot be measured; the text is for a person."""


# -- options


@dataclass(frozen=True)
class Options:
    duration: int
    rounds: int
    parts: tuple[str, ...]


def options(environment: Mapping[str, str]) -> Options:
    """The environment, checked as a whole before anything starts."""
    problems: list[str] = []

    def number(name: str, default: int, low: int, high: int) -> int:
        given = environment.get(name, "").strip()
        if not given:
            return default
        if given.isascii() and given.isdigit() and low <= int(given) <= high:
            return int(given)
        problems.append(f"{name} is '{given}'. It has to be a whole number from {low:,} to {high:,}.")
        return default

    given = environment.get("PARTS", "").strip() or ",".join(PARTS)
    named = [part.strip() for part in given.split(",")]
    if unknown := [part for part in named if part not in PARTS]:
        problems.append(f"PARTS names '{', '.join(unknown)}'. There are {', '.join(PARTS)}.")
    result = Options(
        duration=number("DURATION", 1200, 60, 86_400),
        rounds=number("ROUNDS", 120, 2 * SEGMENTS, 10_000),
        parts=tuple(part for part in PARTS if part in named),
    )
    if problems:
        raise Refused("\n".join(problems) + "\nNothing was started.")
    return result


# -- growth


@dataclass(frozen=True)
class Growth:
    """How a figure grows over whatever its samples are numbered by (seconds, rounds)."""

    first: float
    last: float
    slope: float
    confidence: float
    leak: bool

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def growth(points: Sequence[tuple[float, float]], least: int) -> Growth:
    """Slope and verdict of (x, value), evenly spaced in x. Growth of less than `least` is noise."""
    if len(points) < SEGMENTS:
        raise ValueError(f"{len(points)} samples say nothing about growth, {SEGMENTS} are the fewest")
    settings = SimpleNamespace(
        bucket=1, window=len(points), least_window=0, least_growth=least << 12, least_growth_percent=0
    )
    trend = Trend()
    # The monitor counts pages of 4 KiB: here whatever is counted is a page. It judges a value when the next one comes.
    for number, (_x, value) in enumerate([*points, points[-1]]):
        trend.add(number, round(value) << 12, 0, settings)
    step = (points[-1][0] - points[0][0]) / (len(points) - 1)
    return Growth(points[0][1], points[-1][1], trend.growth / 4096 / step, trend.certainty, trend.suspected)


# -- pressure

# What is in use moves by itself: a query, a probe, a health check.
MARGIN_SHARE = 0.1
LEAST_MARGIN = 4 * MB
# Nobody sets limits more finely than this. It is also as close as the search comes.
STEP = 2 * MB
# The engine refuses less.
LEAST_LIMIT = 6 * MB


def lower(limit: int, in_use: int) -> int | None:
    """The next limit to try: half the way down to what is in use with its margin, in whole MB; None at the end."""
    floor = max(in_use + max(LEAST_MARGIN, round(in_use * MARGIN_SHARE)), LEAST_LIMIT)
    wanted = math.ceil(max(floor, (limit + floor) / 2) / MB) * MB
    if limit - floor <= 2 * STEP:
        wanted = math.ceil(floor / MB) * MB
    return wanted if limit - wanted >= STEP else None


@dataclass(frozen=True)
class Step:
    """A limit that was tried, and what the service did within it."""

    limit: int
    in_use: int
    probes: int
    failures: tuple[str, ...]
    kills: int
    restarts: int

    @property
    def well(self) -> bool:
        return self.probes > 0 and not (self.failures or self.kills or self.restarts)

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "well": self.well}

    @property
    def told(self) -> str:
        """What went wrong."""
        happened = [
            f"{number} {what}" for number, what in ((self.kills, "OOM kills"), (self.restarts, "restarts")) if number
        ]
        if self.failures:
            happened.append(f"{len(self.failures)} of {self.probes} probes failed, first: {self.failures[0]}")
        return "; ".join(happened) or "well"


def smallest(steps: Sequence[Step]) -> int | None:
    """The smallest limit within which it still served, None when it did not within its own."""
    return min((step.limit for step in steps if step.well), default=None) if steps and steps[0].well else None


# -- words


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Words to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in (head, *rows)
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
