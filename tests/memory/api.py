# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API under constant load within its limit: does its memory grow without an end?"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    PORT,
    Load,
    container,
    docker,
    eventually,
    inspect,
)
from ansible_collections.sixty_sales.memory_optimized.tests.memory.decisions import MB, Refused, growth
from ansible_collections.sixty_sales.memory_optimized.tests.memory.own_stack import main_process, memory

RATE = 40
# Compiled code, caches and connection pools are there after this.
WARM_UP_SHARE, LEAST_WARM_UP, MOST_WARM_UP = 0.25, 45, 300
SAMPLES = 60
# What the collected heap moves by without a leak, and what the allocator takes from the kernel and keeps.
NOISE = {"heap": MB, "rss": 8 * MB}
MEANING = {"heap": "heap and buffers after collections", "rss": "resident memory"}


class Probe:
    """Asks probe.mjs in the API's process for its figures."""

    def __init__(self) -> None:
        self.name, self.process = container("api"), main_process("api")
        self.seen = len(self._lines())

    def _lines(self) -> list[str]:
        return [line for line in docker("logs", self.name).splitlines() if '"memory_probe"' in line]

    def sample(self) -> dict[str, int]:
        try:
            os.kill(self.process, signal.SIGUSR2)
            lines = eventually(lambda: self._lines()[self.seen :], "the API writes its figures", 20)
        except (ProcessLookupError, AssertionError) as error:
            state = inspect(self.name)
            raise Refused(
                f"The API does not tell its memory any more ({error}). It was started again {state['RestartCount']}"
                f" times; the last end was {'an OOM kill' if state['State']['OOMKilled'] else 'no OOM kill'}."
            ) from None
        self.seen += len(lines)
        return json.loads(lines[-1])["memory_probe"]


class Visitors:
    """Streams of events that come and go, one a second, each open for five."""

    OPEN = 5

    def __init__(self) -> None:
        self.opened, self.failures = 0, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Visitors:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        held: list[http.client.HTTPConnection] = []
        while not self._over.wait(1):
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
            held.append(connection)
            try:
                connection.request("GET", "/api/stream")
                answer = connection.getresponse()
                if answer.status != 200 or not answer.readline():
                    raise OSError(f"HTTP {answer.status}")
                self.opened += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(str(error))
            if len(held) > self.OPEN:
                held.pop(0).close()
        for connection in held:
            connection.close()


@contextlib.contextmanager
def _load() -> Iterator[tuple[Load, Visitors]]:
    with Load(RATE) as load, Visitors() as visitors:
        yield load, visitors


def measure(seconds: int, say=print) -> dict[str, Any]:
    warm_up = min(MOST_WARM_UP, max(LEAST_WARM_UP, round(seconds * WARM_UP_SHARE)))
    say(f"--> The API: {RATE} requests a second, {warm_up} s of warm-up, then {seconds} s")
    before, probe = inspect(container("api"))["RestartCount"], Probe()
    samples: list[dict[str, float]] = []
    with _load() as (load, visitors):
        began = time.monotonic()
        due = began + warm_up
        while len(samples) <= SAMPLES:
            time.sleep(max(0, due - time.monotonic()))
            answered = sum(request.kind != "page" for request in list(load.requests))
            samples.append(
                {
                    "seconds": round(time.monotonic() - began, 1),
                    "requests": answered + visitors.opened,
                    "unreclaimable": memory("api")["unreclaimable"],
                    **probe.sample(),
                }
            )
            due += seconds / SAMPLES
            if len(samples) % 15 == 1:
                told = {name: f"{samples[-1][name] / MB:.1f}" for name in ("heap", "rss", "unreclaimable")}
                say(f"    {samples[-1]['seconds']:6.0f} s  MB: " + ", ".join(f"{k} {v}" for k, v in told.items()))
    figures = memory("api")
    result: dict[str, Any] = {
        "seconds": seconds,
        "warm_up_seconds": warm_up,
        "rate": RATE,
        "load": load.report(),
        "streams": visitors.opened,
        "limit": figures["limit"],
        "most_unreclaimable": max(sample["unreclaimable"] for sample in samples),
        "oom_kills": figures["oom_kills"],
        "restarts": inspect(container("api"))["RestartCount"] - before,
        "samples": samples,
    }
    return {**result, **judge(result, [*load.failed], visitors.failures)}


def judge(result: dict[str, Any], failed: list[Any], cut: list[str]) -> dict[str, Any]:
    """Growth of each figure, and what speaks against the API."""
    samples = result["samples"]
    span = samples[-1]["seconds"] - samples[0]["seconds"]
    rate = (samples[-1]["requests"] - samples[0]["requests"]) / span
    told, problems = {}, []
    for name, noise in NOISE.items():
        found = growth([(sample["seconds"], sample[name]) for sample in samples], noise)
        told[name] = {
            **found.facts(),
            "per_hour": found.slope * 3600,
            "per_1000_requests": found.slope / rate * 1000,
        }
        if found.leak:
            room = result["limit"] - result["most_unreclaimable"]
            problems.append(
                f"The API leaks: its {MEANING[name]} grew from {found.first / MB:.1f} to {found.last / MB:.1f} MB in"
                f" {span:.0f} s ({told[name]['per_hour'] / MB:,.1f} MB an hour,"
                f" {told[name]['per_1000_requests'] / 1024:,.1f} KB for 1,000 requests, confidence"
                f" {found.confidence:.3f}). At this rate its limit of {result['limit'] / MB:.0f} MB is reached after"
                f" {room / found.slope / 3600:.1f} hours. Look for what is kept of each request; two heap snapshots"
                " (node --heapsnapshot-signal=SIGUSR2, by api_node_flags) show it."
            )
    if failed or cut:
        problems.append(
            f"{len(failed)} of {result['load']['requests']} requests and {len(cut)} of {result['streams'] + len(cut)}"
            f" streams failed within the API's limit: {result['load']['failed_by_kind'] or cut[0]}."
        )
    if result["oom_kills"] or result["restarts"]:
        problems.append(
            f"The API does not live within its limit of {result['limit'] / MB:.0f} MB: {result['oom_kills']} OOM kills"
            f" and {result['restarts']} restarts under {result['rate']} requests a second."
        )
    return {"growth": told, "problems": problems}
