# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load generators print, in numbers, and the tables of both profiles; without a stack or a clock."""

from __future__ import annotations

import csv
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What one generator came to: answered requests a second, 99th percentile in ms, failed of how many.
Figures = dict[str, Any]


def percentile(values: Sequence[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] if ordered else None


def redis_figures(text: str, requests: int, seconds: float) -> Figures:
    """redis-benchmark --csv, one run after the other, and a line "ended <code>" after each.

    It ends at the first lost connection, and its line is there for a test that was answered as a whole: so many
    requests were answered, and those of a test that was cut are known to nobody.
    """
    whole: list[float] = []
    reasons: Counter[str] = Counter()
    cut, said = 0, ""
    for line in text.splitlines():
        if line.startswith("ended "):
            if line != "ended 0":
                cut += 1
                reasons[said or line] += 1
            said = ""
        elif line.startswith('"'):
            row = next(csv.reader([line]))
            if row[0] != "test":
                whole.append(float(row[6]))
        elif line.strip():
            said = re.sub(r"\d+\.\d+\.\d+\.\d+", "address", line.strip())[:120]
    return {
        "per_second": round(len(whole) * requests / seconds, 1),
        "p99_ms": statistics.median(whole) if whole else None,
        "failed": cut,
        "of": len(whole) + cut,
        "unit": f"rounds of {requests:,}",
        "reasons": dict(reasons),
    }


def postgres_figures(text: str, log: Iterable[str], seconds: float) -> Figures:
    """pgbench, one run after the other, and its lines of all transactions: client, number, microseconds, ..."""
    times = [float(line.split()[2]) / 1000 for line in log if line.split()[2].isdigit()]
    processed = sum(map(int, re.findall(r"^number of transactions actually processed: (\d+)", text, re.MULTILINE)))
    failed = sum(map(int, re.findall(r"^number of failed transactions: (\d+)", text, re.MULTILINE)))
    aborted = len(re.findall(r"client \d+ (?:script \d+ )?aborted", text))
    refused = len(re.findall(r"connection to server .* failed", text))
    return {
        "per_second": round(processed / seconds, 1),
        "p99_ms": None if not times else round(percentile(times, 99) or 0, 1),
        "failed": failed + aborted,
        "of": processed + failed + aborted,
        "unit": "transactions",
        "reasons": {key: value for key, value in {"cut": aborted, "not connected": refused}.items() if value},
    }


def api_figures(summary: Mapping[str, Any]) -> Figures:
    """The part "all" of api_load.summary."""
    return {
        "per_second": summary["per_second"],
        "p99_ms": summary["p99"],
        "failed": summary["errors"] + summary["refused"],
        "of": summary["requests"],
        "unit": "requests",
        "reasons": {status: count for status, count in summary["statuses"].items() if not status.startswith("2")},
    }


def service_figures(
    recorded: Mapping[str, Mapping[str, Any]], kills: Mapping[str, int], restarts: Mapping[str, int], stack: str
) -> dict[str, Figures]:
    """Service -> memory without what the kernel can take back, in MB, and what happened to it.

    A look a second misses the moment of a kill. The kernel kills at the limit and nowhere else.
    """
    found = {}
    for name, facts in recorded.items():
        service = name.removeprefix(f"{stack}-").partition("-")[0]
        killed = kills.get(service, 0)
        found[service] = {
            "limit_mb": facts["limit_mb"],
            "peak_mb": facts["limit_mb"] if killed else facts["peak_mb"],
            "oom_kills": killed,
            "restarts": restarts.get(service, 0),
        }
    return found


def problems(profile: str, result: Mapping[str, Any]) -> list[str]:
    """What a profile that is called safe may not show."""
    told = [
        f"{profile}: {service} had {one['oom_kills']} OOM kills and {one['restarts']} restarts"
        for service, one in result["services"].items()
        if one["oom_kills"] or one["restarts"]
    ]
    return told + [
        f"{profile}: {one['failed']} of {one['of']} {one['unit']} of {load} failed"
        for load, one in result["loads"].items()
        if one["failed"]
    ]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Both profiles side by side: the loads, then the services."""

    def head(first: str, *names: str) -> list[str]:
        return [first, *(f"{profile}: {name}" for profile in results for name in names)]

    def load(one: Figures) -> list[str]:
        p99 = "-" if one["p99_ms"] is None else f"{one['p99_ms']:,.1f} ms"
        return [f"{one['per_second']:,.0f}", f"{one['failed']:,} of {one['of']:,} {one['unit']}", p99]

    def service(one: Figures | None) -> list[str]:
        if one is None:
            return ["-"] * 3
        return [f"{one['peak_mb']:,.0f} of {one['limit_mb']:,.0f} MB", str(one["oom_kills"]), str(one["restarts"])]

    first = next(iter(results.values()))
    loads = [
        [name, *(cell for one in results.values() for cell in load(one["loads"][name]))] for name in first["loads"]
    ]
    services = [
        [name, *(cell for one in results.values() for cell in service(one["services"].get(name)))]
        for name in first["services"]
    ]
    return "\n\n".join(
        [
            markdown(head("load", "answered a second", "failed", "p99"), loads),
            markdown(head("service", "peak", "OOM kills", "restarts"), services),
        ]
    )
