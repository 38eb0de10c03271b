# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaks and limits: `make test-memory` runs it on a stack of its own. README.md beside it says what is measured.

Exit code: 0 all is well, 1 a leak or a service that does not serve within its limit, 2 it could not be measured.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import charts
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    NAME,
    ROOT,
    ask,
    container,
    inspect,
)
from ansible_collections.sixty_sales.memory_optimized.tests.memory import api, browser, decisions, pressure
from ansible_collections.sixty_sales.memory_optimized.tests.memory.decisions import MB, Options, Refused
from ansible_collections.sixty_sales.memory_optimized.tests.memory.own_stack import own_stack

REPORTS = ROOT / "build/reports/memory"
say = functools.partial(print, flush=True)


# -- each part: (table, chart in text)

Report = tuple[tuple[tuple[str, ...], list[list[str]]], str]


def _growth_row(name: str, found: dict[str, Any], unit: float, symbol: str, *slopes: str) -> list[str]:
    ends = [f"{found[end] / unit:,.1f}{symbol}" for end in ("first", "last")]
    return [name, *ends, *slopes, f"{found['confidence']:.3f}", "LEAK" if found["leak"] else "no leak"]


def report_api(result: dict[str, Any]) -> Report:
    head = ("API", "first", "last", "an hour", "1,000 requests", "confidence", "verdict")
    rows = [
        _growth_row(
            api.MEANING[name],
            found,
            MB,
            " MB",
            f"{found['per_hour'] / MB:+,.2f} MB",
            f"{found['per_1000_requests'] / 1024:+,.2f} KB",
        )
        for name, found in result["growth"].items()
    ]
    series = {
        label: [(sample["seconds"], sample[name] / MB) for sample in result["samples"]]
        for name, label in {
            "rss": "resident",
            "unreclaimable": "container, unreclaimable",
            "heap_before": "heap and buffers",
            "heap": "the same, after collections",
        }.items()
    }
    chart = charts.line_chart(
        REPORTS / "api.png",
        f"Memory of the API at {result['rate']} requests a second",
        series,
        "seconds",
        "MB",
        {"limit": result["limit"] / MB},
    )
    return (head, rows), chart


def report_browser(result: dict[str, Any]) -> Report:
    head = ("dashboard", "first", "last", "a round", "confidence", "verdict")
    rows, series = [], {}
    for name, found in result["growth"].items():
        unit, symbol = browser.UNIT[name]
        a_round = f"{found['per_round'] / 1024:+,.2f} KB" if name == "heap" else f"{found['per_round']:+,.2f}"
        rows.append(_growth_row(name, found, unit, symbol, a_round))
        # Three units in one chart: each as a share of what it began with.
        points = [(sample["round"], 100 * sample[name] / found["first"]) for sample in result["samples"]]
        series[name] = points
    chart = charts.line_chart(
        REPORTS / "browser.png",
        "The dashboard after collections, in percent of the first sample",
        series,
        "rounds after the warm-up",
        "percent",
        {"first": 100},
    )
    return (head, rows), chart


def report_pressure(result: dict[str, Any]) -> Report:
    values = {}
    for service in pressure.PROBES:
        for profile in pressure.PROFILES:
            found = result["profiles"][profile][service]
            values[f"{service}, {profile}"] = round(100 * (found["smallest"] or 0) / found["limit"], 1)
    chart = charts.bar_chart(
        REPORTS / "pressure.png",
        "Smallest limit within which the service still serves, of its own",
        values,
        "percent",
        {"limit": 100},
    )
    return (pressure.HEAD, pressure.rows(result["profiles"])), chart


def parts(wanted: Options) -> dict[str, tuple[Callable[[], dict[str, Any]], Callable[[dict[str, Any]], Report]]]:
    every: dict[str, Any] = {
        "api": (lambda: api.measure(wanted.duration, say), report_api),
        "browser": (lambda: browser.measure(wanted.rounds, say=say), report_browser),
        "pressure": (lambda: pressure.measure(say), report_pressure),
    }
    return {name: every[name] for name in wanted.parts}


NOTES = {
    "api": "Growth is judged on the floors of twelve parts of the time, by the Memory Monitor's rule (Theil-Sen slope,"
    " Mann-Kendall confidence). The heap is measured after three collections, beside them as it was.",
    "browser": "Each round opens all pages, both views of the deals and the dialog of a new deal.",
    "pressure": f"Smallest: every probe was answered for {pressure.STEP_SECONDS} s at {pressure.RATE} requests a"
    " second. It is no limit to run with: load, time and data add to what is in use. Kills are those below the"
    " service's own limit. MB; in use is without page cache.",
}


def main() -> int:
    wanted = decisions.options(os.environ)
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    began, problems, told, summary = time.time(), [], [], ["## Memory"]
    verdicts: dict[str, str] = {}
    say(f"--> A stack of its own, '{NAME}'")
    with own_stack():
        # Of what the verdict is; the checklist compares it with what is served.
        of = {"image": inspect(container("api"))["Config"]["Image"], "page": hashlib.sha256(ask("/").body).hexdigest()}
        for name, (measure, report) in parts(wanted).items():
            result = measure()
            (head, rows), chart = report(result)
            (REPORTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
            verdicts[name] = "FAILED" if result["problems"] else "ok"
            problems += result["problems"]
            told += [chart, decisions.table(head, rows), NOTES[name], ""]
            summary += [f"### {name}: {verdicts[name]}", decisions.markdown(head, rows), NOTES[name]]
    verdict = (
        "\n".join(problems)
        if problems
        else f"No leak, and every service serves within its limit ({', '.join(wanted.parts)})."
    )
    facts = {"started": began, "seconds": round(time.time() - began, 1), "ok": not problems, "verdicts": verdicts, **of}
    (REPORTS / "summary.json").write_text(json.dumps({**facts, "problems": problems}, indent=1) + "\n")
    (REPORTS / "summary.md").write_text("\n\n".join([summary[0], verdict, *summary[1:]]) + "\n")
    say("\n" + "\n".join(told))
    say(f"Charts and figures: {REPORTS.relative_to(ROOT)}/ (*.png, *.json, summary.md)")
    say(verdict)
    return 1 if problems else 0


def terminate(_signal: int, _frame: object) -> NoReturn:
    # So that the stack is removed, as with Ctrl-C.
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    try:
        sys.exit(main())
    except Refused as refusal:
        print(f"\n{refusal}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\nStopped. The stack '{NAME}' is removed.", file=sys.stderr)
        sys.exit(130)
