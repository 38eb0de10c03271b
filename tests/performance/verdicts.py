# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked for, and whether it was reached. Pure: nothing here measures, reads or writes."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

MB = 1024**2
TESTS = {"<=": operator.le, "<": operator.lt, ">": operator.gt, ">=": operator.ge}

# benchmarkIndex -> slowdown that makes of this machine a mid-tier mobile phone: the knots of the calculator that
# Lighthouse's docs/throttling.md refers to. The same document gives 2 to 10 as the range for the fastest machines.
CALIBRATION = ((150, 1.0), (800, 2.0), (1300, 3.0), (2000, 6.0))
SLOWEST_MACHINE = 150
MOST_SLOWDOWN = 10.0
# A run whose benchmarkIndex is this far from the calibration's was on another machine, so to say.
QUIET = (0.75, 1.25)


class Refused(Exception):
    """Something that a person has to change; its text says what and how."""


@dataclass(frozen=True)
class Options:
    url: str
    runs: int
    duration: int
    rate: int
    cpu_slowdown: float | None
    strict_goals: bool
    api_p95: float
    api_p99: float
    monitor: str


def options(environment: Mapping[str, str]) -> Options:
    """The environment, checked as a whole before anything starts."""
    problems: list[str] = []

    def text(name: str, default: str) -> str:
        return environment.get(name, "").strip() or default

    def number(name: str, default: float, low: float, high: float, kind=float):
        given = text(name, "")
        if not given:
            return kind(default)
        try:
            value = kind(given)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            wanted = "a whole number" if kind is int else "a number"
            problems.append(f"{name} is '{given}'. It has to be {wanted} from {low:,g} to {high:,g}.")
            return kind(default)
        return value

    def switch(name: str) -> bool:
        given = text(name, "0")
        if given not in ("0", "1"):
            problems.append(f"{name} is '{given}'. It has to be 0 or 1.")
        return given == "1"

    def address(name: str, default: str) -> str:
        given = text(name, default).rstrip("/")
        parts = urlsplit(given)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            problems.append(f"{name} is '{given}'. It has to be an address like {default}.")
        return given

    quick = switch("QUICK")
    result = Options(
        url=address("URL", "http://localhost"),
        runs=number("RUNS", 2 if quick else 5, 1, 25, int),
        duration=number("DURATION", 15 if quick else 60, 5, 600, int),
        rate=number("PERFORMANCE_API_RATE", 15, 1, 200, int),
        cpu_slowdown=number("PERFORMANCE_CPU_SLOWDOWN", 0, 1, 25) or None,
        strict_goals=switch("STRICT_GOALS"),
        api_p95=number("PERFORMANCE_THRESHOLD_API_P95", 250, 1, 60_000),
        api_p99=number("PERFORMANCE_THRESHOLD_API_P99", 500, 1, 60_000),
        monitor=address("MEMORY_MONITOR_URL", "http://localhost:8080"),
    )
    if problems:
        raise Refused("\n".join(problems) + "\nNothing was measured.")
    return result


def slowdown(index: float) -> float:
    """Lighthouse's calibration of the CPU throttling: straight lines between the knots, and on to MOST_SLOWDOWN."""
    if not index >= SLOWEST_MACHINE:
        raise Refused(
            f"The benchmarkIndex of this machine is {index:,.0f}. Below {SLOWEST_MACHINE} it is slower than the phone"
            " that it should play, so no figure would mean anything. Nothing was measured.\n"
            "Run this on a faster or less busy machine, or set PERFORMANCE_CPU_SLOWDOWN=1 to measure it as it is."
        )
    pieces = list(zip(CALIBRATION, CALIBRATION[1:]))
    (x0, y0), (x1, y1) = next((piece for piece in pieces if index <= piece[1][0]), pieces[-1])
    return round(min(y0 + (index - x0) * (y1 - y0) / (x1 - x0), MOST_SLOWDOWN), 1)


def disturbed(measured: float, calibrated: float) -> bool:
    """Was the machine busy in this run, so that it is no measure of the page?"""
    return not measured >= QUIET[0] * calibrated


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no median of nothing")
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the runs; a figure that one run lacks is an error, not a smaller sample."""
    names = set(runs[0])
    for run in runs:
        if set(run) != names:
            raise ValueError(f"the runs have different figures: {sorted(names ^ set(run))}")
    return {name: median([run[name] for run in runs]) for name in runs[0]}


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: a value that was measured, never one between two."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no percentile of nothing")
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclass(frozen=True)
class Row:
    """One line of the verdict."""

    metric: str
    measured: float
    unit: str = ""
    test: str = "<="
    threshold: float | None = None
    goal: float | None = None

    @property
    def verdict(self) -> str:
        # NaN compares false with everything, so it can never pass.
        if self.threshold is not None and not TESTS[self.test](self.measured, self.threshold):
            return "MISSED"
        # A goal may be met exactly.
        if self.goal is not None and not TESTS[self.test[0] + "="](self.measured, self.goal):
            return "goal missed"
        return "ok" if self.threshold is not None or self.goal is not None else "reported"

    def cells(self) -> tuple[str, str, str, str, str]:
        def figure(value: float | None, sign: str = "") -> str:
            if value is None:
                return "-"
            digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 1 else 3
            return f"{sign} {value:,.{digits}f} {self.unit}".strip()

        return (
            self.metric,
            figure(self.measured),
            figure(self.threshold, self.test),
            figure(self.goal, self.test[0] + "="),
            self.verdict,
        )

    def facts(self) -> dict:
        return {**asdict(self), "verdict": self.verdict}


HEADINGS = ("metric", "measured", "threshold", "goal", "verdict")


def page_rows(form: str, metrics: Mapping[str, Mapping], figures: Mapping[str, float]) -> list[Row]:
    """The metrics of lighthouse.memory-config.js with what was measured."""
    return [
        Row(f"{form}: {m['name']}", figures[key], m["unit"], m["test"], m["threshold"], m["goal"])
        for key, m in metrics.items()
    ]


def missed(rows: Iterable[Row], strict_goals: bool = False) -> list[Row]:
    """What decides against the stack."""
    return [row for row in rows if row.verdict == "MISSED" or (strict_goals and row.verdict == "goal missed")]


def share_of_threshold(rows: Iterable[Row]) -> dict[str, float]:
    """Percent of the threshold that is used up, for the chart; 100 is the threshold, whichever side is the good one."""
    shares = {}
    for row in rows:
        if row.threshold and row.measured > 0:
            shares[row.metric] = round(
                100 * (row.measured / row.threshold if row.test[0] == "<" else row.threshold / row.measured), 1
            )
    return shares


def table(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    # Words to the left, numbers to the right.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, ("---", "---:", "---:", "---:", "---"), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
