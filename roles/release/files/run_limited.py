# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a Node build in a control group with a memory limit, say what it took at most, and why it was killed.

    run_limited.py [--report FILE] COMMAND...

BUILD_MEMORY_LIMIT_BYTES is the limit, 2 GiB where it is not set. Node's own limit is set as well, to three quarters: it
bounds only the heap, and what is beside it (buffers, native code, worker threads) is what the kernel's limit is for.
FILE is a JSON object whose peak_memory_bytes is filled in.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DEFAULT_LIMIT = 2 * 1024**3
NAME = "sixty-build"
IN_SCOPE = "SIXTY_BUILD_IN_SCOPE"


class Group(NamedTuple):
    """A memory control group."""

    path: Path
    v2: bool

    def read(self, v2: str, v1: str) -> str:
        return (self.path / (v2 if self.v2 else v1)).read_text()

    def set_limit(self, limit: int) -> None:
        if self.v2:
            (self.path / "memory.max").write_text(str(limit))
            swap = self.path / "memory.swap.max"
            value = 0
        else:
            (self.path / "memory.limit_in_bytes").write_text(str(limit))
            swap = self.path / "memory.memsw.limit_in_bytes"
            value = limit
        # A kernel without swap accounting has no such file.
        if swap.exists():
            swap.write_text(str(value))

    def holds(self, limit: int) -> bool:
        found = self.read("memory.max", "memory.limit_in_bytes").strip()
        return found != "max" and int(found) <= limit

    def peak(self) -> int | None:
        """None before Linux 5.19 on version 2."""
        try:
            return int(self.read("memory.peak", "memory.max_usage_in_bytes"))
        except FileNotFoundError:
            return None

    def kills(self) -> int:
        counters = dict(line.split() for line in self.read("memory.events", "memory.oom_control").splitlines())
        return int(counters.get("oom_kill", 0))

    def end_rest(self) -> bool:
        """Ends what is left in it, such as a browser whose parent was killed. Whether nothing is."""
        for _attempt in range(50):
            left = {int(pid) for pid in (self.path / "cgroup.procs").read_text().split()} - {os.getpid()}
            if not left:
                return True
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        return False


def own_group() -> Group | None:
    """Where this process is counted."""
    mine = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    for v2 in (False, True):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, after = (half.split() for half in line.split(" - ", 1))
            root, mount, (kind, options) = before[3], before[4], (after[0], after[2].split(","))
            if v2:
                path = mine.get("") if kind == "cgroup2" else None
            else:
                path = mine.get("memory") if kind == "cgroup" and "memory" in options else None
            if path is None:
                continue
            # A container sees a part of the host's tree.
            inside = path.removeprefix(root.rstrip("/")) if path.startswith(root) else "/"
            group = Group(Path(mount) / inside.lstrip("/"), v2)
            if not v2 or "memory" in (Path(mount) / "cgroup.controllers").read_text().split():
                return group
    return None


def make_group(limit: int) -> Group | None:
    """A group of its own below that of this process, or below the nearest parent where that is allowed."""
    own = own_group()
    if own is None:
        return None
    for parent in (own.path, *own.path.parents):
        if not (parent / "cgroup.procs").exists():
            break
        # What an earlier run left behind that was killed; a group with processes in it cannot be removed.
        for left in parent.glob(f"{NAME}-*"):
            with contextlib.suppress(OSError):
                left.rmdir()
        group = Group(parent / f"{NAME}-{os.getpid()}", own.v2)
        try:
            if own.v2 and "memory" not in (parent / "cgroup.subtree_control").read_text().split():
                (parent / "cgroup.subtree_control").write_text("+memory")
            group.path.mkdir()
        except OSError:
            continue
        try:
            group.set_limit(limit)
        except OSError:
            group.path.rmdir()
            continue
        return group
    return None


def scope(limit: int) -> list[str] | None:
    """The command that starts another one in a scope of systemd's, which owns the tree of groups where it runs."""
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemd-run") is None:
        return None
    command = ["systemd-run", *([] if os.geteuid() == 0 else ["--user"]), "--scope", "--quiet", "--collect"]
    command += ["-p", f"MemoryMax={limit}", "-p", "MemorySwapMax=0"]
    tried = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    return command if tried.returncode == 0 else None


def megabytes(value: int) -> str:
    return f"{value / 1024**2:,.0f} MB"


@contextlib.contextmanager
def forwarding(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGTERM ends the command, and then this; systemd sends it too when something in a scope was killed for memory."""
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    # The terminal sends it to the command as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(command: list[str], limit: int, group: Group | None, enter: bool) -> tuple[int, int, int]:
    """Exit status, peak memory in bytes, processes killed for memory."""
    environment = dict(os.environ)
    environment.pop(IN_SCOPE, None)
    options = environment.get("NODE_OPTIONS", "")
    if "max-old-space-size" not in options:
        environment["NODE_OPTIONS"] = f"{options} --max-old-space-size={limit * 3 // 4 // 1024**2}".strip()

    def join() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if group is not None and enter:
            (group.path / "cgroup.procs").write_text("0")

    # One that comes before it can be forwarded is kept until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = subprocess.Popen(command, env=environment, preexec_fn=join)
    with forwarding(child):
        status = child.wait()
    status = 128 - status if status < 0 else status
    peak = group.peak() if group is not None else None
    if peak is None:
        # Of the largest process alone.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return status, peak, group.kills() if group is not None else 0


def tell(command: list[str], limit: int, group: Group | None, status: int, peak: int, kills: int) -> int:
    what = command[0] if len(command) == 1 else " ".join(command)
    measured = "of all processes" if group is not None and group.peak() is not None else "of the largest process"
    print(f"Build memory: {megabytes(peak)} at most, {measured}, of {megabytes(limit)}.", file=sys.stderr, flush=True)
    advice = (
        "Nothing was deployed. Build with fewer or smaller modules (the chunk table shows the large ones), or set "
        "BUILD_MEMORY_LIMIT_BYTES to more than that, if the machine has it."
    )
    if kills > 0:
        print(
            f"{what} needs more than its memory limit: the kernel killed {kills} of its processes at "
            f"{megabytes(limit)} ({limit} bytes). {advice}",
            file=sys.stderr,
        )
        return status or 137
    if status == 128 + signal.SIGABRT:
        print(
            f"{what} was aborted, as Node does when its heap is full: it may have three quarters of "
            f"{megabytes(limit)}. {advice}",
            file=sys.stderr,
        )
    elif status == 128 + signal.SIGKILL:
        print(
            f"{what} was killed, but not for its own limit of {megabytes(limit)}: the machine ran out of memory, or "
            "somebody ended it. Nothing was deployed; look at the kernel's log.",
            file=sys.stderr,
        )
    return status


def limit_from(environment: dict[str, str]) -> int:
    text = environment.get("BUILD_MEMORY_LIMIT_BYTES") or str(DEFAULT_LIMIT)
    if not text.isdecimal() or int(text) < 16 * 1024**2:
        sys.exit(f"BUILD_MEMORY_LIMIT_BYTES={text} is not a number of bytes from 16777216 on. Nothing was built.")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", type=Path, help="JSON file whose peak_memory_bytes is filled in")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("there is no command")
    limit = limit_from(dict(os.environ))

    in_scope = IN_SCOPE in os.environ
    starter = None if in_scope else scope(limit)
    if starter is not None:
        os.environ[IN_SCOPE] = "1"
        os.execvp(starter[0], [*starter, sys.executable, *sys.argv])
    group = own_group() if in_scope else make_group(limit)
    if group is None or not group.holds(limit):
        group = None
        print(
            f"There is no control group with a memory limit to be had here, so only Node's own limit of "
            f"{megabytes(limit * 3 // 4)} for its heap holds.",
            file=sys.stderr,
            flush=True,
        )
    try:
        status, peak, kills = run(arguments.command, limit, group, enter=not in_scope)
        status = tell(arguments.command, limit, group, status, peak, kills)
    finally:
        if group is not None and group.end_rest() and not in_scope:
            group.path.rmdir()
    if arguments.report is not None and arguments.report.exists():
        report = json.loads(arguments.report.read_text())
        report["peak_memory_bytes"] = peak
        arguments.report.write_text(json.dumps(report, indent=2) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
