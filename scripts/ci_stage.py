"""One stage of the pipeline: commands in order, and a summary of them.

    ci_stage.py [--keep-going] [--show] [--include FILE]... NAME COMMAND...

A command is one argument, such as "make lint". After the first that fails the others do not run, unless --keep-going
is given. The summary is build/reports/NAME/summary.md, appended to $GITHUB_STEP_SUMMARY where that is set. It has the
last lines of what failed, all lines with --show, and the Markdown FILEs that the commands wrote.
"""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# GitHub takes 1 MiB for a step; a failure says why in its last lines.
TAIL, WHOLE = 40, 2000


class Step(NamedTuple):
    """A command that ran, or (C(status) None) that did not."""

    command: str
    status: int | None
    seconds: float
    lines: Sequence[str]


def run(command: str) -> Step:
    """The command, with its output passed on as it comes."""
    is_folded = os.environ.get("GITHUB_ACTIONS") == "true"
    print(f"::group::{command}" if is_folded else f"==> {command}", flush=True)
    begun, lines = time.monotonic(), collections.deque[str](maxlen=WHOLE)
    # Which folder make enters is no news.
    environment = {**os.environ, "GNUMAKEFLAGS": "--no-print-directory"}
    with subprocess.Popen(
        shlex.split(command),
        cwd=ROOT,
        env=environment,
        # Nobody is asked anything.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(COLOUR.sub("", line).rstrip())
    if is_folded:
        print("::endgroup::", flush=True)
    return Step(command, process.returncode, time.monotonic() - begun, lines)


def run_all(commands: Iterable[str], keep_going: bool) -> list[Step]:
    steps: list[Step] = []
    for command in commands:
        is_due = keep_going or not any(step.status for step in steps)
        steps.append(run(command) if is_due else Step(command, None, 0.0, ()))
    return steps


def fenced(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    # A fence that is longer than any in the text.
    fence = "`" * max(3, *(len(found) + 1 for found in re.findall(r"`{3,}", text)), 3)
    return f"{fence}text\n{text}\n{fence}\n"


def summary(name: str, steps: Sequence[Step], show: bool, included: Iterable[str]) -> str:
    """Markdown: a row for each command, then what there is to read."""
    verdicts = {None: "not run", 0: "passed"}
    has_failed = any(step.status for step in steps)
    parts = [
        f"# {name}: {'failed' if has_failed else 'passed'}\n",
        "| Command | Verdict | Time |\n|---|---|---:|\n"
        + "".join(
            f"| `{step.command}` | {verdicts.get(step.status, f'failed ({step.status})')} | {step.seconds:.0f} s |\n"
            for step in steps
        ),
    ]
    for step in steps:
        if step.status:
            parts += [f"## The last lines of `{step.command}`\n", fenced(list(step.lines)[-TAIL:])]
        elif show and step.lines:
            parts += [f"## `{step.command}`\n", fenced(step.lines)]
    return "\n".join([*parts, *included])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--include", action="append", default=[], type=pathlib.Path)
    parser.add_argument("name")
    parser.add_argument("commands", nargs="+")
    wanted = parser.parse_args(arguments)
    begun = time.time()
    steps = run_all(wanted.commands, wanted.keep_going)
    # One of an earlier run says nothing about this one.
    written = [path for path in wanted.include if path.exists() and path.stat().st_mtime >= begun]
    text = summary(wanted.name, steps, wanted.show, [path.read_text() for path in written])
    report = ROOT / "build/reports" / wanted.name / "summary.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(text)
    if os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(os.environ["GITHUB_STEP_SUMMARY"], "a", encoding="utf-8") as handle:
            handle.write(text + "\n")
    print("\n" + text + f"\nThis summary: {report.relative_to(ROOT)}")
    return int(any(step.status for step in steps))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
