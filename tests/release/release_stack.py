# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches of the stack under test, and an open-loop load that proves what they cost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    PORT,
    ROOT,
    SUBNETS,
    ask,
    sql,
)

COLLECTIONS = ROOT / ".dev/collections"
MODULE = "ansible_collections.sixty_sales.memory_optimized.plugins.modules.blue_green"


def blue_green(action: str, **arguments: Any) -> dict[str, Any]:
    """Result of the module itself, without a play around it, which would take longer than the switch."""
    given = {
        **{"action": action, "stack": NAME, "root": str(HOME), "network": f"{NAME}-app"},
        **{"slots": {"blue": f"{SUBNETS}.3.11", "green": f"{SUBNETS}.3.12"}},
        **{"url": f"http://127.0.0.1:{PORT}", "lock_timeout": 60, **arguments},
    }
    ended = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout.strip().startswith("{"), ended.stdout + ended.stderr
    result = json.loads(ended.stdout)
    assert not result.get("failed"), result["msg"]
    return result


def switch(release: str) -> dict[str, Any]:
    """Serve a release that is on record."""
    record = json.loads((HOME / "state.json").read_text())["releases"][release]
    paths = ["/api/deals?page_size=20", "/api/summary", "/health/ready"]
    return blue_green("switch", release=release, manifest=record["manifest"], warm_up_paths=paths)


def other_bundle(target: Path) -> str:
    """Path of a bundle that is the routed one under names that no other has, as if everything in it had changed."""
    shutil.copytree((HOME / "route/active/www").resolve(), target)
    assets = target / "assets"
    salt = uuid.uuid4().hex
    stems = {path.name.split(".")[0] for path in assets.iterdir()}
    renamed = {stem: stem[:-8] + hashlib.sha256((salt + stem).encode()).hexdigest()[:8] for stem in stems}
    for path in [*target.rglob("*.html"), *assets.glob("*.js"), *assets.glob("*.css")]:
        text = path.read_text()
        for old, new in renamed.items():
            text = text.replace(old, new)
        path.write_text(text)
    # nginx compresses by itself what has no compressed file.
    for path in [*target.rglob("*.br"), *target.rglob("*.gz")]:
        path.unlink()
    for path in list(assets.iterdir()):
        stem = path.name.split(".")[0]
        path.rename(path.with_name(path.name.replace(stem, renamed[stem])))
    return str(target)


def rollback(release: str | None = None) -> dict[str, Any]:
    return blue_green("rollback", **({"release": release} if release else {}))


class OpenLoad:
    """Load at a constant rate (requests a second) while the block lasts.

    Beside it there are open streams, and requests and uploads that take slow_seconds; the release has to be one of
    faults.variables(), or nothing is slow. See load.mjs for what is counted. It ends itself after ``seconds``; the
    result is there when the block has ended.
    """

    MARK = "load of the release tests"

    def __init__(
        self,
        rate: int = 300,
        streams: int = 20,
        slow: int = 4,
        uploads: int = 2,
        slow_seconds: float = 5,
        seconds: int = 1800,
    ) -> None:
        self.settings: dict[str, Any] = {
            **{"port": PORT, "rate": rate, "streams": streams, "slow": slow, "uploads": uploads},
            **{"slow_seconds": slow_seconds, "seconds": seconds},
        }
        self.result: dict[str, Any] = {}

    def __enter__(self) -> OpenLoad:
        node, script = Path(sys.executable).with_name("node"), Path(__file__).with_name("load.mjs")
        self._process = subprocess.Popen(
            [str(node), "--max-old-space-size=256", str(script), json.dumps({**self.settings, "mark": self.MARK})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        assert self._line().get("ready"), "the load did not begin"
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        # After a failure of the test there is nobody to whom a result could be told.
        with self._process:
            if kind is None:
                self.result = self._ask(do="stop")
            self._process.stdin.close()  # type: ignore[union-attr]

    def _line(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        assert line, f"the load ended by itself, with code {self._process.wait(10)}"
        return json.loads(line)

    def _ask(self, **command: Any) -> dict[str, Any]:
        with self._lock:
            print(json.dumps(command), file=self._process.stdin, flush=True)
            return self._line()

    def status(self) -> dict[str, Any]:
        """What has happened so far."""
        return self._ask(do="status")

    def phase(self, name: str) -> None:
        """What happens from now on: steady, switch or drain. With a switch, any release may answer again."""
        self._ask(do="phase", name=name)

    def serving(self, release: str) -> None:
        """Whatever is sent from now on has to be answered by this release."""
        self._ask(do="serving", release=release)

    @contextlib.contextmanager
    def switching(self, release: str) -> Iterator[dict[str, float]]:
        """Around what is expected to route the release.

        The switch ends when it was read back through nginx, by this test and not by the module: from there to the end
        of the block the old one drains. Gives the seconds of both.
        """
        times: dict[str, float] = {}
        failure: list[BaseException] = []
        over = threading.Event()

        def read_back() -> None:
            try:
                row = 0
                while row < 3 and not over.is_set():
                    row = row + 1 if all(ask(path).release == release for path in ("/", "/api/release")) else 0
                    time.sleep(0.02)
                self.serving(release)
                self.phase("drain")
                times["switch"] = time.monotonic() - began
            except BaseException as error:
                failure.append(error)

        self.phase("switch")
        began = time.monotonic()
        watcher = threading.Thread(target=read_back)
        watcher.start()
        try:
            yield times
        finally:
            over.set()
            watcher.join()
            self.phase("steady")
        assert not failure, failure
        assert "switch" in times, f"{release} was not read back"
        times["drain"] = time.monotonic() - began - times["switch"]

    def lost(self) -> list[int]:
        """Rows that were acknowledged and are not there."""
        kept = {int(line) for line in sql(f"SELECT id FROM deals WHERE name = '{self.MARK}'").split()}
        return sorted(set(self.result["acknowledged"]) - kept)

    @classmethod
    def clear(cls) -> None:
        """Take the load's rows out again."""
        sql(f"DELETE FROM deals WHERE name = '{cls.MARK}'")

    def report(self) -> dict[str, Any]:
        """The result in numbers, with the goal: p99 during switches is at most 1.5 times that of steady state."""
        told = {key: value for key, value in self.result.items() if key != "acknowledged"}
        latency = told["latency_ms"]
        ratio = {
            name: round(latency[name]["p99"] / latency["steady"]["p99"], 2)
            for name in ("switch", "drain")
            if latency[name]["count"] and latency["steady"]["count"]
        }
        return {**told, "rows_acknowledged": len(self.result["acknowledged"]), "p99_over_steady": ratio}
