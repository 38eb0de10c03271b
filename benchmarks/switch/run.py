#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does it take until another release answers, and what does that cost?

Brings a stack of its own up on this machine and measures, as a client sees it that asks through nginx all the time:
switches under load; rollback.yml while the old release is still warm, and when it is cold; and the way back that the
guard finds by itself. Then the same image, configuration and load on a host of its own, where Compose recreates
the API and where Swarm updates it. Reports to the terminal and to .dev/reports/switch.json, and removes all of it.
README.md beside this says what each figure is. It needs root, the images of `make images`, and .dev/images.env.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = {"stack_name": "bench", "stack_subnet_prefix": "10.75", "nginx_http_port": 18075}
# The helpers of the tests are what is measured with, on this stack.
os.environ["SIXTY_TEST_SETTINGS"] = json.dumps(SETTINGS)
sys.path.insert(0, str(ROOT / ".dev/collections"))

import comparison
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    PORT,
    SUBNETS,
    Play,
    container,
    deploy,
    docker,
    eventually,
    info,
    inspect,
    play,
    routed,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults
from ansible_collections.sixty_sales.memory_optimized.tests.release.release_stack import OpenLoad, switch
from outside import Outside, arrival

REPORT = ROOT / ".dev/reports/switch.json"
RATE = 100
FIRST, SECOND = "r1", "r2"
# The load comes from one address: the gateway of a bridge, here or on the other host.
PLAIN: dict[str, Any] = {
    "nginx_rate_limit_exempt": [f"{SUBNETS}.0.0/16", "172.16.0.0/12"],
    "release_backup": False,
    "release_watch_seconds": 0,
}
# Seconds; the goals for one machine with two cores.
GOALS = {"switch": 1.0, "rollback_warm": 2.5, "rollback_cold": 6.0, "flip_back_health": 5.0, "flip_back_oom": 5.0}
# Trigger, and the fault that it has to find.
FAULTS = {"health": "unhealthy-after:3", "oom": "allocate:500:15"}

Run = dict[str, Any]


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def moment(line: dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(line["time"]).timestamp()


def jsonl(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def unexpected(what: str, ended: Play) -> RuntimeError:
    return RuntimeError(f"{what}:{ended.tail}")


@contextlib.contextmanager
def under_load(port: int) -> Iterator[OpenLoad]:
    """The same requests for whoever is measured: pages, assets, reads and writes, half of them on new connections."""
    load = OpenLoad(rate=RATE, streams=0, slow=0, uploads=0, seconds=900)
    load.settings["port"] = port
    with load:
        time.sleep(3)
        yield load


def one_change(load: OpenLoad, outside: Outside, release: str, change: Callable[[str], Run | None]) -> Run:
    """Changes to the release; what the client saw of it, and the requests that failed until it was over."""
    before = load.status()["failed"]
    load.phase("switch")
    since = time.time()
    told = change(release) or {}
    took = time.time() - since
    outside.wait(release)
    load.phase("steady")
    # What fails late, and what drains, belongs to this change.
    time.sleep(3)
    failed = load.status()["failed"] - before
    return {**arrival(outside.answers, release, since), "command": round(took, 3), "failed": failed, **told}


def load_report(load: OpenLoad) -> dict[str, Any]:
    told = load.result
    return {
        "requests": sum(told["counts"].values()),
        "failed": told["failed"],
        "failures": {reason: entry["count"] for reason, entry in told["failures"].items()},
        "latency_ms": {name: told["latency_ms"][name] for name in ("switch", "steady")},
        "generator_late_ms_p99": told["generator"]["late_ms"]["p99"],
    }


def ours(release: str) -> Run:
    return {"read_back": switch(release)["seconds"]}


def switches(count: int) -> tuple[list[Run], dict[str, Any]]:
    """Back and forth between two releases, each time with a start of the one that comes and the end of the other."""
    runs: list[Run] = []
    with under_load(PORT) as load, Outside(PORT) as outside:
        for _ in range(count):
            target = FIRST if routed() == SECOND else SECOND
            runs.append(one_change(load, outside, target, ours))
            say(f"switch to {target}: {runs[-1]}")
    return runs, load_report(load)


def rollback(target: str) -> Run:
    """rollback.yml as a person starts it, and when the client had the old release's answers."""
    with Outside(PORT) as outside:
        time.sleep(1)
        since = time.time()
        ended = play(playbook="rollback.yml")
        took = time.time() - since
        if ended.code or f"Release {target} is served now" not in ended.said:
            raise unexpected(f"rollback.yml did not go back to {target}", ended)
        outside.wait(target)
        return {**arrival(outside.answers, target, since), "command": round(took, 3)}


def is_running(release: str) -> bool:
    return inspect(f"{SETTINGS['stack_name']}-api-{release}")["State"]["Running"]


def cold_rollbacks(count: int) -> list[Run]:
    """The old release's container is stopped, and has to be started."""
    runs = []
    for _ in range(count):
        if routed() != SECOND:
            switch(SECOND)
        if is_running(FIRST):
            raise RuntimeError(f"{FIRST} still runs, so nothing is cold")
        runs.append(rollback(FIRST))
        say(f"rollback, cold: {runs[-1]}")
    return runs


@contextlib.contextmanager
def deploying(release: str, **variables: Any) -> Iterator[list[Play]]:
    """A deploy in the background; the play is there when the block has ended."""
    ended: list[Play] = []
    given = {**PLAIN, "release_id": release, "release_watch_period": 2, **variables}
    thread = threading.Thread(target=lambda: ended.append(play("--tags", "release", **given)))
    thread.start()
    try:
        yield ended
    finally:
        thread.join()
    if not ended:
        raise RuntimeError(f"the deploy of {release} did not end in time")


def watched(release: str, ended: list[Play]) -> bool:
    """Whether the guard has looked at the release since it is served."""
    if ended:
        raise unexpected(f"the deploy of {release} ended before it was rolled back", ended[0])
    path = HOME / f"watch/{release}.jsonl"
    return path.exists() and any(line["kind"] == "sample" for line in jsonl(path))


def warm_rollbacks(count: int) -> list[Run]:
    """The new release is still watched, so that the old one runs."""
    runs, old = [], routed()
    for number in range(1, count + 1):
        release = f"warm-{number}"
        with deploying(release, release_watch_seconds=120) as ended:
            eventually(functools.partial(watched, release, ended), "the release is watched", 120)
            if routed() != release or not is_running(old):
                raise RuntimeError(f"{release} is not served with {old} warm beside it")
            runs.append(rollback(old))
        say(f"rollback, warm: {runs[-1]}")
        if "was ended by somebody else" not in ended[0].said:
            raise unexpected(f"the deploy of {release} did not notice its rollback", ended[0])
    return runs


def died(name: str, since: float) -> float:
    """When the engine saw the container's process killed, after a moment."""
    options = ("--filter", f"container={name}", "--filter", "event=die", "--format", "{{json .}}")
    events = docker("events", "--since", str(int(since)), "--until", str(int(time.time()) + 1), *options)
    found = [
        event["timeNano"] / 1e9
        for event in map(json.loads, events.splitlines())
        if event["timeNano"] / 1e9 >= since and event["Actor"]["Attributes"]["exitCode"] == "137"
    ]
    if not found:
        raise RuntimeError(f"the engine has no kill of {name} on record: {events}")
    return min(found)


def flip_backs(trigger: str, count: int) -> list[Run]:
    """A release that goes bad after its switch, with nobody there but the guard."""
    runs, old = [], routed()
    for number in range(1, count + 1):
        release = f"{trigger}-{number}"
        began = time.time()
        with Outside(PORT) as outside:
            with deploying(release, release_watch_seconds=60, **faults.variables(FAULTS[trigger])) as ended:
                pass
            outside.wait(old)
        if ended[0].code == 0 or f"Trigger {trigger}:" not in ended[0].said:
            raise unexpected(f"the trigger {trigger} did not fire at {release}", ended[0])
        lines = jsonl(HOME / f"watch/{release}.jsonl")
        fired = next(number for number, line in enumerate(lines) if line["kind"] == "trigger")
        samples = [moment(line) for line in lines[:fired] if line["kind"] == "sample"]
        switched = next(moment(line) for line in lines if line["kind"] == "switched")
        told = next(
            line
            for line in jsonl(HOME / "journal.jsonl")
            if line["event"] == "rolled_back" and line.get("from") == release and moment(line) > began
        )
        # A check lies between the line before and its own, so the last one is counted from the line before.
        known = died(f"{SETTINGS['stack_name']}-api-{release}", switched) if trigger == "oom" else None
        holds = known or samples[-2]
        runs.append(
            {
                **arrival(outside.answers, old, holds),
                "uncertain": 0 if known else round(samples[-1] - holds, 3),
                "trigger_to_read_back": told["seconds"],
            }
        )
        say(f"flip-back, {trigger}: {runs[-1]}")
    return runs


def compared(rounds: int) -> dict[str, Any]:
    """Compose and Swarm, the same image behind the same nginx."""
    release = routed()
    image = inspect(container("api"))["Config"]["Image"]
    found = {}
    with tempfile.TemporaryDirectory(prefix="switch-") as folder:
        say("the host of the comparison")
        with comparison.host(release, image, pathlib.Path(folder)) as schemes:
            for scheme in schemes:
                runs = []
                port, paths = comparison.HOST_PORT, comparison.PATHS
                with under_load(port) as load, Outside(port, paths) as outside:
                    for number in range(1, rounds + 1):
                        name = f"n{number}"
                        scheme.prepare(name)
                        runs.append(one_change(load, outside, name, scheme.change))
                        say(f"{scheme.title}: {runs[-1]}")
                found[scheme.title] = {**summary(runs), "load": load_report(load)}
    return found


def summary(runs: list[Run]) -> dict[str, Any]:
    """Median and maximum of each figure, and the runs."""
    figures = [name for name in runs[0] if name != "failed"]
    return {
        "runs": runs,
        "median": {name: round(statistics.median(run[name] for run in runs), 3) for name in figures},
        "max": {name: round(max(run[name] for run in runs), 3) for name in figures},
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, on a stack that serves the second of two releases."""
    say("the stack, with two releases")
    deploy(release_id=FIRST, **PLAIN)
    deploy("--tags", "release", release_id=SECOND, **PLAIN)
    runs, load = switches(options.switches)
    report: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "engine": info()["ServerVersion"],
        "rate": RATE,
        "goals": GOALS,
        "switch": {**summary(runs), "load": load},
        # Cold first: those that follow are more releases than are kept.
        "rollback_cold": summary(cold_rollbacks(options.rollbacks)),
        "rollback_warm": summary(warm_rollbacks(options.rollbacks)),
        **{f"flip_back_{trigger}": summary(flip_backs(trigger, options.flip_backs)) for trigger in FAULTS},
    }
    report["over_goal"] = {
        name: round(report[name]["median"]["read_back" if name == "switch" else "all"] / goal, 3)
        for name, goal in GOALS.items()
    }
    report["comparison"] = compared(options.rounds)
    report["over_ours"] = {
        title: round(entry["median"]["all"] / report["switch"]["median"]["all"], 2)
        for title, entry in report["comparison"].items()
    }
    return report


TITLES = {
    "switch": "switch, from the rename to its last read-back",
    "rollback_warm": "rollback.yml, old release warm",
    "rollback_cold": "rollback.yml, old release cold",
    "flip_back_health": "flip-back, from the 4th failed health check",
    "flip_back_oom": "flip-back, from the OOM kill",
}


def table(report: dict[str, Any]) -> str:
    """The result for a person."""
    lines = [
        "Seconds until the release answers a client outside: median (maximum)",
        f"{'':46}{'runs':>5}{'first answer':>18}{'all answers':>18}{'goal':>6}{'of goal':>9}",
    ]

    def pair(entry: dict[str, Any], figure: str) -> str:
        return f"{entry['median'][figure]:.2f} ({entry['max'][figure]:.2f})"

    for name, title in TITLES.items():
        entry = report[name]
        first, last = ("", pair(entry, "read_back")) if name == "switch" else (pair(entry, "first"), pair(entry, "all"))
        lines.append(
            f"{title:46}{len(entry['runs']):>5}{first:>18}{last:>18}{GOALS[name]:>6g}{report['over_goal'][name]:>9.2f}"
        )
    lines += [
        "",
        f"A change of the release at {RATE} requests/s, same image, same nginx: median (maximum)",
        f"{'':40}{'runs':>5}{'failed each time':>20}{'first answer':>16}{'all answers':>16}{'of ours':>9}"
        f"{'longest gap':>16}{'command':>16}",
    ]
    changes = {"this collection": report["switch"], **report["comparison"]}
    for title, entry in changes.items():
        failed = [run["failed"] for run in entry["runs"]]
        each = f"{statistics.median(failed):g} ({max(failed)})"
        ratio = report["over_ours"].get(title, 1)
        lines.append(
            f"{title:40}{len(failed):>5}{each:>20}{pair(entry, 'first'):>16}{pair(entry, 'all'):>16}{ratio:>9.2f}"
            f"{pair(entry, 'longest_gap'):>16}{pair(entry, 'command'):>16}"
        )
    return "\n".join(lines)


def destroy() -> None:
    """Removes the stack with its data; it is not there to be kept."""
    ended = play(playbook="playbooks/destroy.yml", docker_host_purge=True)
    if ended.code:
        raise unexpected("the stack could not be removed", ended)
    shutil.rmtree(ROOT / f".dev/secrets/{SETTINGS['stack_name']}", ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=10, help="(default: 10)")
    parser.add_argument("--rollbacks", type=int, default=5, help="warm ones, and as many cold ones (default: 5)")
    parser.add_argument("--flip-backs", type=int, default=3, help="of each trigger (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="of Compose, and of Swarm (default: 3)")
    options = parser.parse_args()
    if min(vars(options).values()) < 1:
        sys.exit("Each has to be measured at least once.")
    if os.geteuid() != 0 or "SIXTY_BASE_IMAGE" not in os.environ:
        sys.exit("This needs root, and the images' names as environment; use `make benchmark-switch`.")
    # Like Ctrl-C, so that all of it is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # One that was cut short may have left something.
    destroy()
    try:
        report = measure(options)
    finally:
        destroy()
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
