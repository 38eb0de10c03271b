#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the running stack is, for a page in a browser with little memory and for the API under load.

`make test-performance` calls it; README.md beside it says what is measured and how, and with which settings.
Exit code: 0 all thresholds hold, 1 one is missed, 2 it could not be measured.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import api_load
import charts
import container_memory
import requests
import verdicts
from limited_browser import Browser
from verdicts import MB, Refused, Row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REPORTS = ROOT / "build/reports/performance"
FORMS = ("mobile", "desktop")
BRIEF = ("score", "lcp", "lcp_applied", "tti", "cls", "fid", "inp", "load")
PAGE_SECONDS = 240
UNTOUCHED = "The stack was left as it is, and Chromium has ended. Is the stack well: make check-health"


def say(text: str) -> None:
    print(text, flush=True)


def node(arguments: list[str], environment: dict[str, str] | None = None, seconds: int = 60) -> dict:
    """The JSON that a Node program prints."""
    try:
        done = subprocess.run(
            ["node", *arguments],
            cwd=HERE,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"node {' '.join(arguments[:2])} had not ended after {seconds} s, and was ended.") from None
    if done.returncode:
        # Node shows the line of the source first, and then the error.
        said = [line for line in done.stderr.splitlines() if re.match(r"\[?\w*Error\b.*?: ", line)]
        said = said or done.stderr.strip().splitlines() or [f"node ended with {done.returncode} and without a word"]
        raise Refused(re.sub(r"^\[?\w*Error\b.*?: ", "", said[0]))
    return json.loads(done.stdout.splitlines()[-1])


def check_served(url: str) -> str:
    """The release that answers, before minutes are spent."""
    try:
        answer = requests.get(url, timeout=10)
    except requests.RequestException as error:
        raise Refused(
            f"{url} does not answer: {type(error).__name__}. Nothing was measured.\n"
            "Start the stack (make deploy-local), or name another address: URL=http://host"
        ) from None
    if answer.status_code != 200:
        raise Refused(
            f"{url} answers {answer.status_code}. Nothing was measured.\nIs the stack well: make check-health"
        )
    return answer.headers.get("X-Release", "unknown")


def in_browser(
    image: str, config: dict, what: str, arguments: list[str], environment: dict[str, str] | None = None
) -> tuple[dict, float]:
    """What page.mjs says, and the highest memory of a fresh browser in MB."""
    limit = config["browserMemoryMb"]
    browser, result, failure = Browser(image, config["chromeFlags"], limit), {}, None
    with browser:
        try:
            result = node(["page.mjs", what, str(browser.port), *arguments], environment, PAGE_SECONDS)
        except Refused as refusal:
            failure = refusal
    # Also when the page got over it: figures of a browser that lost a process mean nothing.
    if browser.kills or browser.peak is None:
        raise Refused(
            f"the kernel killed {browser.kills or 'all'} processes of Chromium at its limit of {limit:g} MB."
            f" With 1024 it works: PERFORMANCE_BROWSER_MEMORY_MB={max(1024, 2 * limit):g}"
        )
    if failure:
        raise failure
    return result, round(browser.peak / MB)


def calibrate(image: str, config: dict, wanted: verdicts.Options) -> dict:
    """How much slower than this machine the phone is that the page is measured for."""
    try:
        told, _peak = in_browser(image, config, "benchmark", [])
    except Refused as failure:
        raise Refused(f"The machine's benchmarkIndex could not be measured: {failure}\n{UNTOUCHED}") from None
    # Other work can only lower it.
    index = max(told["indexes"])
    return {
        "benchmark_indexes": told["indexes"],
        "benchmark_index": index,
        "cpu_slowdown": wanted.cpu_slowdown or verdicts.slowdown(index),
        "set_by_hand": wanted.cpu_slowdown is not None,
    }


def measure_page(image: str, config: dict, calibration: dict, wanted: verdicts.Options, form: str) -> dict:
    runs, repeats = [], []
    slowdown = {"PERFORMANCE_CPU_SLOWDOWN": str(calibration["cpu_slowdown"])}
    while len(runs) < wanted.runs:
        number = len(runs) + 1
        name = f"{form}-{number}"
        try:
            run, peak = in_browser(image, config, "measure", [wanted.url + "/", form, str(REPORTS), name], slowdown)
        except Refused as failure:
            raise Refused(
                f"Run {number} of {wanted.runs}, {form}, could not be measured: {failure}\n{UNTOUCHED}"
            ) from None
        run |= {"browser_peak_mb": peak, "report": f"{name}.html"}
        brief = ", ".join(f"{key} {run['figures'][key]:,.3g}" for key in BRIEF)
        say(f"    {form} {number}: {brief}; browser {run['browser_peak_mb']:,} MB")
        # At most once for each, or a machine that is always busy never ends.
        if len(repeats) < wanted.runs and verdicts.disturbed(run["benchmark_index"], calibration["benchmark_index"]):
            say(f"    the machine was busy (benchmarkIndex {run['benchmark_index']:,.0f}): once more")
            repeats.append(run)
        else:
            runs.append(run)
    medians = verdicts.medians([run["figures"] for run in runs])
    # The report to read is of the run that is nearest to what decides.
    typical = min(runs, key=lambda run: abs(run["figures"]["lcp"] - medians["lcp"]))
    shutil.copy(REPORTS / typical["report"], REPORTS / f"{form}.html")
    return {"median": medians, "runs": runs, "disturbed": repeats, "report": f"{form}.html"}


def measure_api(wanted: verdicts.Options) -> tuple[dict, list[Row], list[str]]:
    where, look = container_memory.source(wanted.monitor, wanted.url)
    say(f"--> The API: {wanted.rate} requests a second for {wanted.duration} s; memory from {where}")
    with container_memory.Recorder(look) as recorder:
        samples = api_load.run(wanted.url, wanted.rate, wanted.duration, warm_up=min(5, wanted.duration / 5))
    if len(recorder.looks) < 2:
        raise Refused(f"The memory of the containers could not be read during the load: {recorder.errors[-1]}")
    figures = api_load.summary(samples, wanted.duration)
    memory = container_memory.summary(recorder.looks)
    rows = [*api_load.rows(figures, wanted), *container_memory.rows(memory)]
    drawn = [
        charts.line_chart(
            REPORTS / "api.png",
            f"The API at {wanted.rate} requests a second",
            api_load.over_time(samples),
            "seconds",
            "ms",
        ),
        charts.line_chart(
            REPORTS / "memory.png",
            "Memory of each container under load, of its limit",
            container_memory.over_time(recorder.looks),
            "seconds",
            "percent",
            {"alert": container_memory.ALERT_PERCENT},
        ),
    ]
    result = {
        "rate": wanted.rate,
        "seconds": wanted.duration,
        **figures,
        "memory": memory,
        "memory_from": where,
        "memory_errors": recorder.errors,
    }
    return result, rows, drawn


def notes(result: dict, config: dict, wanted: verdicts.Options) -> list[str]:
    """What a reader has to know to believe the table."""
    calibration = result["calibration"]
    index, factor = calibration["benchmark_index"], calibration["cpu_slowdown"]
    peak = max(run["browser_peak_mb"] for form in FORMS for run in result["page"][form]["runs"])
    by = "Lighthouse's calibration" + (", the end of its range" if factor == verdicts.MOST_SLOWDOWN else "")
    by = "set by hand" if calibration["set_by_hand"] else by
    lines = [
        f"Medians of {wanted.runs} runs each of {wanted.url}/, release {result['release']}, in Chromium with"
        f" {config['browserMemoryMb']:g} MB (peak {peak:,} MB, with its page cache).",
        f"Mobile: slow 4G, CPU {factor:g} times slower ({by}; benchmarkIndex {index:,.0f} here, {index / factor:,.0f}"
        " as slowed down; a mid-tier phone has 125 to 800).",
        "First Input Delay is what the browser reports for a real tap as soon as the page can take one, Load time the"
        " end of the load event; they and the paint beside the calculated one have throttling applied (desktop: none)."
        f" Interaction to Next Paint is Lighthouse's, over {len(result['page']['mobile']['runs'][0]['interactions'])}"
        " interactions. Total Blocking Time and Max Potential FID are its proxies for them without any input.",
        f"API: {wanted.rate} requests a second, below nginx's limit for one address (20 by default). What nginx refuses"
        " (429) is counted apart.",
    ]
    measured = [run["benchmark_index"] for form in FORMS for run in result["page"][form]["runs"]]
    repeated = sum(len(result["page"][form]["disturbed"]) for form in FORMS)
    if repeated:
        lines.append(f"{repeated} runs were repeated, because the machine was busy in them (benchmarkIndex).")
    if verdicts.disturbed(min(measured), index):
        lines.append(
            f"The machine was busy: benchmarkIndex {min(measured):,.0f} in a run that counts, {index:,.0f} in the"
            " calibration. The figures are worse than the page. Repeat it on a quiet machine."
        )
    elif max(measured) > verdicts.QUIET[1] * index:
        lines.append(
            f"The machine was busy in the calibration: benchmarkIndex {index:,.0f}, and {max(measured):,.0f} in a run."
            " The figures are better than the page. Repeat it on a quiet machine."
        )
    if result["api"]["memory_errors"]:
        count = len(result["api"]["memory_errors"])
        lines.append(f"{count} looks at the memory failed, the last one: {result['api']['memory_errors'][-1]}")
    refused = result["api"]["all"]["refused"]
    if refused:
        lines.append(
            f"nginx refused {refused:,} requests for its rate limit: lower PERFORMANCE_API_RATE ({wanted.rate}), or"
            " name this address in nginx_rate_limit_exempt and deploy."
        )
    return lines


ADVICE = {
    "mobile": "open build/reports/performance/mobile.html: the steps of the load (LCP, TTI), long tasks (FID, INP)",
    "desktop": "open build/reports/performance/desktop.html: the steps of the load, long tasks",
    "API": "make check-resources, and the slow requests in the API's log; did the same release do better before?",
    "memory": "make monitor-memory while it runs; the budget is in roles/memory_budget/vars/main/documented.yml",
}


def advice(failed: list[Row]) -> list[str]:
    kinds = dict.fromkeys(row.metric.split(":")[0] for row in failed)
    return [f"  {kind}: {ADVICE[kind]}" for kind in kinds]


def main() -> int:
    wanted = verdicts.options(os.environ)
    config = node(["-p", "JSON.stringify(require('../../lighthouse.memory-config.js'))"])
    image = os.environ["SIXTY_CHROMIUM_IMAGE"]
    release = check_served(wanted.url)
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    started = time.time()

    say("--> Calibration of the CPU throttling")
    calibration = calibrate(image, config, wanted)
    say(
        f"    benchmarkIndex {calibration['benchmark_index']:,.0f}:"
        f" CPU {calibration['cpu_slowdown']:g} times slower for mobile"
    )
    page = {}
    for form in FORMS:
        say(f"--> The page, {form}: {wanted.runs} runs of {wanted.url}/")
        page[form] = measure_page(image, config, calibration, wanted, form)
    page_rows = [row for form in FORMS for row in verdicts.page_rows(form, config["metrics"], page[form]["median"])]
    drawn = [
        charts.bar_chart(
            REPORTS / "page.png",
            "The page: how much of each threshold is used up",
            verdicts.share_of_threshold(page_rows),
            "percent",
            {"threshold": 100},
        )
    ]
    api, api_rows, api_drawn = measure_api(wanted)

    rows = page_rows + api_rows
    failed = verdicts.missed(rows, wanted.strict_goals)
    result = {
        "url": wanted.url,
        "release": release,
        "started": started,
        "seconds": round(time.time() - started, 1),
        "machine": {"processors": os.cpu_count(), "system": platform.platform()},
        "browser_limit_mb": config["browserMemoryMb"],
        "calibration": calibration,
        "page": page,
        "api": api,
        "rows": [row.facts() for row in rows],
        "strict_goals": wanted.strict_goals,
        "ok": not failed,
    }
    explained = notes(result, config, wanted)
    (REPORTS / "summary.json").write_text(json.dumps({**result, "notes": explained}, indent=1) + "\n")
    verdict = (
        f"{len(failed)} of {len(rows)} figures missed: " + ", ".join(row.metric for row in failed)
        if failed
        else f"All thresholds hold{' and all goals' if wanted.strict_goals else ''}."
    )
    parts = ["## Performance", verdict, verdicts.markdown(rows), "\n".join(f"- {note}" for note in explained)]
    (REPORTS / "summary.md").write_text("\n\n".join(parts) + "\n")

    say("\n" + "\n".join(drawn + api_drawn))
    say(verdicts.table(rows) + "\n")
    say("\n".join(explained))
    say(f"Reports, charts and figures: {REPORTS.relative_to(ROOT)}/ (mobile.html, desktop.html, *.png, summary.json)")
    say(verdict)
    if failed:
        say("\n".join(["The stack was left as it is. What to do:", *advice(failed)]))
    return 1 if failed else 0


def terminate(_signal, _frame) -> NoReturn:
    # So that the browser is ended and the deal is deleted. SIGINT as well: a background job of a shell ignores it.
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, terminate)
    try:
        sys.exit(main())
    except Refused as refusal:
        print(f"\n{refusal}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nStopped. Chromium has ended, and the stack was left as it is.", file=sys.stderr)
        sys.exit(130)
