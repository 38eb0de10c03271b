# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check-resources, monitor-memory and check-health tell, as documents that a play queries and a person reads.

A document is plain data (JSON). Sizes are bytes, times unix seconds, shares percent of a limit. Pure.
"""

from __future__ import annotations

import calendar
import json
import re
import time
import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.limits import describe
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size

Data = t.Dict[str, t.Any]
LEVELS = ("ok", "warning", "alert", "critical")
# What only somebody who has watched for a while can tell.
WATCHED = ("growth_bytes_per_hour", "growth_confidence", "leak", "exhaustion_seconds")
FIGURES = ("usage", "working_set", "unreclaimable", "limit", "peak")


def percent(part: float, whole: float) -> float:
    """A share in percent, to a tenth; 0 of no limit."""
    return round(100.0 * part / whole, 1) if whole else 0.0


def level(share: float, thresholds: t.Mapping[str, t.Any]) -> str:
    """Level of a container whose unreclaimable memory is this share of its limit, in percent."""
    passed = (share >= thresholds[name] for name in ("warning_percent", "container_percent", "critical_percent"))
    return LEVELS[sum(passed)]


def total_level(used: float, limit: float, thresholds: t.Mapping[str, t.Any]) -> str:
    """Level of the whole stack's unreclaimable memory, as the Memory Monitor has it: the worse of the level by what
    the kernel enforces, which is less than the budget on a small host, and of that by the budget's two marks."""
    marks = (parse_size(thresholds["total_alert"]), parse_size(thresholds["total_critical"]))
    by_budget = ("ok", "warning", "critical")[sum(used >= mark for mark in marks)]
    return max(level(percent(used, limit), thresholds), by_budget, key=LEVELS.index)


def container_id(cgroup: str) -> str:
    """The container's id in the path of its cgroup (.../<id>, or .../docker-<id>.scope); empty for another's."""
    found = re.search(r"[0-9a-f]{64}", cgroup)
    return found.group() if found else ""


def parse_status(answer: t.Mapping[str, t.Any]) -> Data:
    """The Memory Monitor's status out of an answer. Raises ValueError, which says why there is none."""
    if answer.get("status") != 200:
        raise ValueError(answer.get("error") or f"it answers {answer.get('status')}")
    try:
        status = json.loads(answer["body"])
        # A program that happens to listen there says 200 as well.
        return {**status, "services": list(status["services"]), "stack": status["stack"], "total": status["total"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its answer is no status: {error}") from None


def resources(
    containers: t.Iterable[t.Mapping[str, t.Any]],
    parent: t.Mapping[str, t.Any],
    budget: t.Mapping[str, t.Any],
    status: t.Optional[t.Mapping[str, t.Any]],
    problem: str = "",
) -> Data:
    """Memory of each container against the budget, by container_memory_info.

    C(status) is the Memory Monitor's, which adds growth and the host's memory; C(problem) says why it is None.
    """
    thresholds = budget["thresholds"]
    # By id: which release a container is, hence its name, is not always known to who has no engine.
    watched = {container_id(entry.get("id") or ""): entry for entry in (status or {}).get("services", [])}
    found = []
    for entry in containers:
        kernel = entry["kernel"] or {}
        share = percent(kernel.get("unreclaimable", 0), kernel.get("limit", 0))
        planned = budget["services"].get(entry["service"], {})
        row: Data = {name: entry[name] for name in ("name", "service", "release", "running", "restarts")}
        row.update({name: kernel.get(name) or 0 for name in (*FIGURES, "oom_kills")})
        row.update({name: parse_size(planned[name]) if name in planned else 0 for name in ("usage_target", "alert")})
        row.update({name: watched.get(entry["id"], {}).get(name) for name in WATCHED})
        row.update(percent=share, level=level(share, thresholds))
        row["differences"] = [describe(entry["name"], difference) for difference in entry["differences"]]
        found.append(row)
    used = parent.get("unreclaimable") or sum(row["unreclaimable"] for row in found)
    limit = parent.get("limit") or parse_size(budget["budget"]["total"])
    total = {
        "usage": parent.get("usage") or sum(row["usage"] for row in found),
        "unreclaimable": used,
        "limit": limit,
        "percent": percent(used, limit),
        "level": total_level(used, limit, thresholds),
    }
    return _document(found, total, thresholds, status, problem)


def watched_resources(status: t.Mapping[str, t.Any], budget: t.Mapping[str, t.Any]) -> Data:
    """The same document by the Memory Monitor alone, which costs a request instead of a look at the engine."""
    found = []
    for entry in status["services"]:
        if entry["stack"] == status["stack"] and entry["running"]:
            row = {name: entry.get(name) for name in ("name", "service", "release", "running", "restarts")}
            row.update({name: entry.get(name) or 0 for name in (*FIGURES, "oom_kills", "usage_target", "alert")})
            row.update({name: entry.get(name) for name in (*WATCHED, "percent", "level")})
            found.append({**row, "differences": []})
    return _document(found, dict(status["total"]), budget["thresholds"], status, "")


def _document(
    found: t.List[Data],
    total: Data,
    thresholds: t.Mapping[str, t.Any],
    status: t.Optional[t.Mapping[str, t.Any]],
    problem: str,
) -> Data:
    return {
        "kind": "resources",
        "containers": sorted(found, key=lambda row: row["name"]),
        "total": {"name": "all together", **total},
        "memory": (status or {}).get("host"),
        "phase": (status or {}).get("phase"),
        "thresholds": {name: thresholds[name] for name in thresholds if name.endswith("_percent")},
        "monitor": {"answers": status is not None, "problem": problem},
    }


def seconds_since(started: str, now: float) -> t.Optional[int]:
    """Seconds since a time in the engine's form (RFC 3339, UTC); None where there was no start."""
    try:
        # A container that never ran was started in the year 1.
        begun = calendar.timegm(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
    return max(0, int(now) - begun) if begun > 0 else None


def state(entry: t.Mapping[str, t.Any]) -> t.Tuple[str, bool]:
    """What a container does, and whether that is as it should be."""
    if entry["running"]:
        return "running", entry["health"] != "unhealthy"
    # An earlier release is kept stopped; whether one runs is asked of the service.
    return ("kept", True) if entry["service"] == "api" else ("stopped", False)


def health(
    containers: t.Sequence[t.Mapping[str, t.Any]],
    services: t.Iterable[str],
    optional: t.Container[str],
    requests: t.Sequence[t.Mapping[str, t.Any]],
    answers: t.Sequence[t.Mapping[str, t.Any]],
    alerts: t.Optional[t.Sequence[t.Mapping[str, t.Any]]],
    now: float,
) -> Data:
    """Whether the services run, are healthy by their own probes, and answer.

    C(services) are those of the budget; one without a container is missed, unless it is among C(optional), which a
    stack goes without where no registry has the image. C(requests) and C(answers) are of equal length.
    """
    found = []
    for entry in containers:
        does, is_well = state(entry)
        row: Data = {name: entry[name] for name in ("name", "service", "release", "health", "restarts", "probe")}
        row["oom_kills"] = entry["kernel"]["oom_kills"] if entry["kernel"] else 0
        row["seconds"] = seconds_since(entry["started"], now) if entry["running"] else None
        found.append({**row, "state": does, "ok": is_well})
    present = {entry["service"] for entry in containers if entry["running"] or entry["service"] != "api"}
    for service in services:
        if service not in present:
            does = "left out" if service in optional else "absent"
            row = {"name": service, "service": service, "release": "", "health": "none", "probe": "", "restarts": 0}
            found.append({**row, "oom_kills": 0, "seconds": None, "state": does, "ok": service in optional})
    told = []
    for request, answer in zip(requests, answers):
        row = {"name": request["name"], "url": request["url"], "ok": answer["status"] == 200}
        told.append({**row, **{name: answer[name] for name in ("status", "release", "seconds", "error")}})
    return {
        "kind": "health",
        "healthy": all(row["ok"] for row in (*found, *told)),
        "services": sorted(found, key=lambda row: row["name"]),
        "requests": told,
        "alerts": None if alerts is None else list(alerts),
    }


def wanted_requests(
    requests: t.Iterable[t.Mapping[str, t.Any]], containers: t.Iterable[t.Mapping[str, t.Any]]
) -> t.List[t.Mapping[str, t.Any]]:
    """Without those to a service that has no container: it is missed, or left out, already."""
    present = {entry["service"] for entry in containers}
    return [request for request in requests if request.get("service") in (None, "", *present)]


def firing(answer: t.Mapping[str, t.Any]) -> t.Optional[t.List[Data]]:
    """The alerts that fire, by Prometheus's /api/v1/alerts; None where it does not say. Watchdog always does."""
    if answer.get("status") != 200:
        return None
    try:
        alerts = json.loads(answer["body"])["data"]["alerts"]
        return sorted(
            (
                {
                    "name": alert["labels"]["alertname"],
                    "severity": alert["labels"].get("severity", ""),
                    "service": alert["labels"].get("service", ""),
                    "summary": alert.get("annotations", {}).get("summary", ""),
                }
                for alert in alerts
                if alert["state"] == "firing" and alert["labels"]["alertname"] != "Watchdog"
            ),
            key=lambda alert: (alert["severity"], alert["name"], alert["service"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
