# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one sample amounts to: plain data that nobody changes any more, for the metrics and for the pages."""

from __future__ import annotations

# Below this confidence a line into the future would be a guess.
PREDICTABLE = 0.95


def level(percent, percents):
    """ok, warning, alert or critical."""
    for name, threshold in (("critical", "critical"), ("alert", "container"), ("warning", "warning")):
        if percent >= percents[f"{threshold}_percent"]:
            return name
    return "ok"


def name_of(record, settings):
    """The container's name: only the engine knows it, but roles/container makes it of these parts."""
    if not record.stack:
        return record.id[:12]
    parts = [record.stack, record.service]
    if record.release:
        parts.append(record.release)
    elif record.stack == settings.stack and record.service in settings.colours:
        parts.append(record.id[:12])
    return "-".join(parts)


class Picture:
    """One sample.

    C(running) lists (a record's public facts, figures); C(unseen) has the facts of those that ended or could not be
    read; C(services) sums up the own stack's containers by service.
    """

    __slots__ = (
        *("backup", "errors", "filesystems", "history", "host", "host_kills", "moment", "overlap", "release"),
        *("running", "sample_seconds", "samples", "services", "settings", "stack_kills", "stacks", "time", "unseen"),
        "version",
    )

    def __init__(self, **parts):
        for name, value in parts.items():
            setattr(self, name, value)
        self.services = {}
        for facts, figures in self.running:
            if facts["stack"] == self.settings.stack:
                usage, unreclaimable = self.services.get(facts["service"], (0, 0))
                self.services[facts["service"]] = (usage + figures["usage"], unreclaimable + figures["unreclaimable"])
        self.overlap = any(
            sum(facts["stack"] == self.settings.stack and facts["service"] == service for facts, _ in self.running) > 1
            for service in self.settings.colours
        )


def facts_of(record, settings):
    """A record as it is now; the tracker will change it."""
    trend = record.trend
    return {
        "id": record.path,
        "name": name_of(record, settings),
        "stack": record.stack,
        "service": record.service,
        "slot": record.slot,
        "release": record.release,
        "restarts": record.restarts,
        "oom_kills": record.oom_kills,
        "start_time": record.started,
        "cpu_cores": record.cpu_cores,
        "growth": trend.growth,
        "certainty": trend.certainty,
        "leak": trend.suspected,
        "gone": record.gone,
    }


def entry(facts, figures, settings):
    """A container for the JSON API; figures is None for one that does not run."""
    budget = settings.services.get(facts["service"]) if facts["stack"] == settings.stack else None
    figures = figures or {}
    limit = figures.get("limit", 0) or (budget["limit"] if budget and not figures else 0)
    unreclaimable, growth = figures.get("unreclaimable", 0), facts["growth"]
    percent = 100 * unreclaimable / limit if limit else 0.0
    predictable = figures and limit and growth and growth > 0 and facts["certainty"] >= PREDICTABLE
    return {
        **{key: facts[key] for key in ("service", "slot", "release", "name", "id", "stack")},
        "running": bool(figures),
        "known": budget is not None,
        **{key: figures.get(key, 0) for key in ("usage", "working_set", "unreclaimable", "rss", "cache")},
        "limit": limit,
        "reservation": figures.get("reservation", budget["reservation"] if budget else 0),
        "peak": figures.get("peak") or 0,
        "usage_target": budget["usage_target"] if budget else 0,
        "alert": budget["alert"] if budget else 0,
        "percent": round(percent, 2),
        "level": level(percent, settings.percents),
        "cpu_cores": round(facts["cpu_cores"], 4),
        "restarts": facts["restarts"],
        "oom_kills": facts["oom_kills"],
        "start_time": facts["start_time"] if figures else 0,
        "processes": figures.get("tasks") or 0,
        "growth_bytes_per_hour": None if growth is None else round(growth * 3600),
        "growth_confidence": None if facts["certainty"] is None else round(facts["certainty"], 4),
        "leak": facts["leak"],
        "exhaustion_seconds": round((limit - unreclaimable) / growth) if predictable else None,
    }


def absent(service, settings):
    """A service of the budget of which nothing was ever seen."""
    return {
        **{"id": "", "name": f"{settings.stack}-{service}", "stack": settings.stack, "service": service},
        **{"slot": "", "release": "", "restarts": 0, "oom_kills": 0, "start_time": 0, "cpu_cores": 0.0},
        **{"growth": None, "certainty": None, "leak": False, "gone": None},
    }


def entries(picture):
    """Every service of the budget in its order, running or not, then every other container."""
    settings = picture.settings
    own = dict.fromkeys(settings.services)
    for facts, figures in sorted(picture.running, key=lambda pair: (pair[0]["slot"], pair[0]["id"])):
        key = facts["service"] if facts["stack"] == settings.stack else None
        if key in own:
            own[key] = [*(own[key] or []), entry(facts, figures, settings)]
    for facts in sorted(picture.unseen, key=lambda facts: facts["gone"] or picture.moment):
        if facts["stack"] == settings.stack and facts["service"] in own:
            found = own[facts["service"]]
            if found is None or not found[0]["running"]:
                own[facts["service"]] = [entry(dict(facts, growth=None, certainty=None, leak=False), None, settings)]
    known = [
        item for service, found in own.items() for item in found or [entry(absent(service, settings), None, settings)]
    ]
    others = [
        entry(facts, figures, settings)
        for facts, figures in picture.running
        if facts["stack"] != settings.stack or facts["service"] not in own
    ]
    return known + sorted(others, key=lambda item: (item["stack"], item["service"], item["id"]))


def total(picture):
    """The whole stack against its budget: the worse of the two levels, in percent of what the kernel enforces and
    in bytes of the budget."""
    settings = picture.settings
    figures = picture.stacks.get(settings.stack, {})
    limits = [limit for limit in (settings.totals["total"], figures.get("limit", 0)) if limit]
    limit, unreclaimable = min(limits, default=0), figures.get("unreclaimable", 0)
    percent = 100 * unreclaimable / limit if limit else 0.0
    found = level(percent, settings.percents)
    if unreclaimable >= settings.totals["total_critical"]:
        found = "critical"
    elif unreclaimable >= settings.totals["total_alert"] and found == "ok":
        found = "warning"
    return {
        "usage": figures.get("usage", 0),
        "unreclaimable": unreclaimable,
        "limit": limit,
        "percent": round(percent, 2),
        "level": found,
    }
