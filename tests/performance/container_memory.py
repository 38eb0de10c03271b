# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of each container while something else runs: from the Memory Monitor, or else from the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import docker
import requests
from verdicts import MB, Refused, Row

LOCAL = ("localhost", "127.0.0.1", "::1")
# Without the monitor its thresholds are not known; this is the budget's (thresholds.container_percent).
ALERT_PERCENT = 85

# What a look at the containers gives: name -> {used, limit, alert, target (or None), restarts, kills}
Look = dict[str, dict]


def from_monitor(answer: Mapping) -> Look:
    """The budgeted containers of the monitor's own stack."""
    return {
        service["name"]: {
            "used": service["unreclaimable"],
            "limit": service["limit"],
            "alert": service["alert"],
            "target": service["usage_target"],
            "restarts": service["restarts"],
            "kills": service["oom_kills"],
        }
        for service in answer["services"]
        if service["stack"] == answer["stack"] and service["running"] and service["limit"] and service["alert"]
    }


def from_engine(name: str, stats: Mapping, restarts: int) -> Look:
    """One container, as the engine tells: use without the page cache that could be dropped."""
    memory = stats["memory_stats"]
    details = memory["stats"]
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    limit = memory["limit"]
    return {
        name: {
            "used": memory["usage"] - inactive,
            "limit": limit,
            "alert": limit * ALERT_PERCENT // 100,
            "target": None,
            "restarts": restarts,
            # The engine does not count them.
            "kills": 0,
        }
    }


def _ask_monitor(monitor: str) -> Callable[[], Look]:
    def look() -> Look:
        answer = requests.get(f"{monitor}/api/v1/status", timeout=5)
        answer.raise_for_status()
        return from_monitor(answer.json())

    return look


def _ask_engine(stack: str) -> Callable[[], Look]:
    client = docker.from_env()

    def look() -> Look:
        found: Look = {}
        for container in client.containers.list(filters={"label": f"sixty.stack={stack}"}):
            restarts = container.attrs["RestartCount"]
            found |= from_engine(container.name, container.stats(stream=False, one_shot=True), restarts)
        return found

    return look


def source(monitor: str, url: str, stack: str = "sixty") -> tuple[str, Callable[[], Look]]:
    """Where the figures come from, and how to get them."""
    try:
        look = _ask_monitor(monitor)
        if look():
            return f"the Memory Monitor at {monitor}", look
        reason = "knows no running container with a limit"
    except requests.RequestException as error:
        reason = f"does not answer ({type(error).__name__})"
    engine = f"the engine of {urlsplit(url).hostname} cannot be asked from here"
    if urlsplit(url).hostname in LOCAL:
        look = _ask_engine(stack)
        if look():
            return f"the container engine, as the Memory Monitor at {monitor} {reason}", look
        engine = f"this machine's engine has no running container of the stack '{stack}'"
    raise Refused(
        f"The memory of the containers cannot be read: the Memory Monitor at {monitor} {reason}, and {engine}."
        " The API was not loaded.\nStart the stack (make deploy-local), or name its monitor: MEMORY_MONITOR_URL=http://host:8080"
    )


class Recorder:
    """`with Recorder(look) as recorder:` looks every second; an error of a look is kept and told at the end."""

    def __init__(self, look: Callable[[], Look], interval: float = 1.0):
        self.look, self.interval = look, interval
        self.looks: list[tuple[float, Look]] = []
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _take(self) -> None:
        try:
            self.looks.append((time.monotonic() - self.start, self.look()))
        except (requests.RequestException, docker.errors.DockerException, KeyError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            self._take()

    def __enter__(self) -> Recorder:
        self.start = time.monotonic()
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._stop.set()
        self._thread.join()
        self._take()


def summary(looks: Sequence[tuple[float, Look]]) -> dict[str, dict]:
    """First and highest use of each container in MB, with what it may use."""
    found: dict[str, dict] = {}
    for _at, look in looks:
        for name, facts in look.items():
            entry = found.setdefault(
                name,
                {
                    "first_mb": round(facts["used"] / MB, 1),
                    "peak_mb": 0.0,
                    "limit_mb": round(facts["limit"] / MB, 1),
                    "alert_mb": round(facts["alert"] / MB, 1),
                    "target_mb": None if facts["target"] is None else round(facts["target"] / MB, 1),
                    "restarts": 0,
                    "kills": 0,
                    "_start": (facts["restarts"], facts["kills"]),
                },
            )
            entry["peak_mb"] = max(entry["peak_mb"], round(facts["used"] / MB, 1))
            entry["restarts"] = max(entry["restarts"], facts["restarts"] - entry["_start"][0])
            entry["kills"] = max(entry["kills"], facts["kills"] - entry["_start"][1])
    for entry in found.values():
        del entry["_start"]
    return found


def rows(containers: Mapping[str, Mapping]) -> list[Row]:
    result = [
        Row(f"memory: {name}", facts["peak_mb"], "MB", "<", facts["alert_mb"], facts["target_mb"])
        for name, facts in containers.items()
    ]
    disturbed = sum(facts["restarts"] + facts["kills"] for facts in containers.values())
    return [*result, Row("memory: restarts and kills", disturbed, "", "<=", 0)]


def over_time(looks: Sequence[tuple[float, Look]]) -> dict[str, list[tuple[float, float]]]:
    """Percent of the limit of each container, for the chart."""
    series: dict[str, list[tuple[float, float]]] = {}
    for at, look in looks:
        for name, facts in look.items():
            series.setdefault(name, []).append((round(at, 1), 100 * facts["used"] / facts["limit"]))
    return series
