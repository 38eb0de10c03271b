# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the served release is gone back from after its deploy has ended. Pure: no engine, no files, no clock.

A release is gone back from once, on an alert about it that fires now, soon after a deploy has switched to it. What is
served because of a rollback stays, whoever made that: it never loops, and a person's word counts. Times are seconds
since 1970.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, NamedTuple

# The requirement's "Automatic Rollback Triggers": values of the label rollback_trigger.
TRIGGERS = ("health", "memory", "performance", "restarts")


class Alert(NamedTuple):
    """An alert that fires, and the release that it is about."""

    name: str
    trigger: str
    release: str
    since: str


class Route(NamedTuple):
    """How the last release came to be served: by the event C(switched) or C(rolled_back)."""

    event: str
    release: str
    time: float


class Status(NamedTuple):
    """What the host says now.

    C(deploy) tells of the deploy that is under way, C(instead_of) names the release that the served one stands in for,
    C(before) the one that a rollback would go to, and C(obstacle) says why there is none.
    """

    release: str | None
    route: Route | None = None
    rolled_back: float | None = None
    deploy: str | None = None
    instead_of: str | None = None
    before: str | None = None
    obstacle: str | None = None


class Verdict(NamedTuple):
    """C(rollback), C(wait) or C(ignore), why, and the alert that it is about."""

    action: str
    reason: str
    alert: Alert | None = None


def firing(answer: Any, stack: str) -> list[Alert]:
    """Alerts of the stack that ask for a rollback, out of the answer of Alertmanager's GET /api/v2/alerts.

    One that is silenced or inhibited asks for nothing (its C(state) is C(suppressed)). ValueError for an answer that
    is not Alertmanager's.
    """
    if not isinstance(answer, list):
        raise ValueError(f"a list of alerts was expected, not {type(answer).__name__}")
    found = []
    for entry in answer:
        try:
            labels, state = entry["labels"], entry["status"]["state"]
            since = str(entry.get("startsAt", ""))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"an alert without labels or state: {str(entry)[:100]}") from error
        if state == "active" and labels.get("stack") == stack and labels.get("rollback_trigger") in TRIGGERS:
            name, release = labels.get("alertname", ""), labels.get("release", "")
            found.append(Alert(name, labels["rollback_trigger"], release, since))
    return sorted(found)


def past(lines) -> tuple[Route | None, float | None]:
    """(how the last release came to be served, when there was the last rollback), out of the journal's lines.

    A release that was only C(restored) has been served since its switch. A line that was cut short tells nothing.
    """
    route, rolled_back = None, None
    for text in lines:
        try:
            line = json.loads(text)
            if line["event"] in ("switched", "rolled_back"):
                moment = datetime.datetime.fromisoformat(line["time"]).timestamp()
                route = Route(line["event"], line["release"], moment)
                rolled_back = moment if route.event == "rolled_back" else rolled_back
        except (ValueError, KeyError, TypeError):
            continue
    return route, rolled_back


def decide(status: Status, alerts: list[Alert], now: float, window: float, cooldown: float) -> Verdict:
    """What these alerts lead to; C(window) and C(cooldown) are seconds."""

    def ignore(reason: str) -> Verdict:
        return Verdict("ignore", f"{reason} Nothing was changed.", alert)

    served, alert = status.release, None
    if not alerts:
        return ignore("No alert that asks for a rollback fires.")
    if not served:
        return ignore("No release is served.")
    alert = next((entry for entry in alerts if entry.release == served), None)
    if not alert:
        others = ", ".join(sorted({f"{entry.name} of {entry.release or 'no release'}" for entry in alerts}))
        return ignore(f"Release {served} is served, and the alerts are about others: {others}.")
    about = f"{alert.name} ({alert.trigger}) fires for release {served} since {alert.since}"
    if status.deploy:
        return Verdict("wait", f"{about}, but a deploy is under way: {status.deploy}.", alert)
    route = status.route
    if status.instead_of:
        return ignore(f"{about}, but it is served because release {status.instead_of} was gone back from. See to it.")
    if not route or route.release != served:
        return ignore(f"{about}, but journal.jsonl does not say when it was switched to. See to it.")
    if route.event == "rolled_back":
        return ignore(f"{about}, but it was gone to by a rollback, not by a deploy. See to it.")
    age = now - route.time
    if not 0 <= age <= window:
        return ignore(f"{about}, but it was switched to {age:.0f} s ago, and the window is {window:.0f} s. See to it.")
    if not status.before:
        return ignore(f"{about}, but there is no way back: {status.obstacle or 'no release before it is kept.'}")
    if status.rolled_back is not None and now - status.rolled_back < cooldown:
        ago = now - status.rolled_back
        return ignore(f"{about}, but the last rollback was {ago:.0f} s ago, and the cool-down is {cooldown:.0f} s.")
    return Verdict("rollback", f"{about}, {age:.0f} s after the switch to it.", alert)
