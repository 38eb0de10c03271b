# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions of a blue-green switch. Pure: no engine, no files, no clock.

Two slots, blue and green, have a fixed address each. One of them is routed: the link
C(route/active) names it together with the release in it, C(slots/<slot>/<release id>), and
nginx follows that link for every request, so one rename moves frontend and API together.
"""

from __future__ import annotations

import json
import re
import urllib.parse

SLOTS = ("blue", "green")
RELEASE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$")
ROUTE = re.compile(r"^slots/(?P<slot>blue|green)/(?P<release>[A-Za-z0-9][A-Za-z0-9._-]*)$")
# Names that the build gave a content hash (Vite: eight characters of base64url before the ending).
# Only these may be shared between releases: the same name is the same content.
HASHED = re.compile(r"[-.][A-Za-z0-9_-]{8,}\.[A-Za-z0-9]+(\.(br|gz|map))?$")


def check_release_id(release):
    """An error message for an id that cannot name a container and a directory, or None."""
    if RELEASE_ID.fullmatch(release):
        return None
    return (
        f"{release!r} cannot be a release id. Nothing was changed. Use 1 to 48 letters, digits, dots, underscores "
        "or dashes, beginning with a letter or a digit."
    )


def check_arguments(params):
    """An error message for arguments of blue_green that cannot be used, or None."""
    slots, problems = params["slots"], []
    if sorted(slots) != sorted(SLOTS) or len(set(slots.values())) != len(SLOTS):
        problems.append(f"slots has to give blue and green an address each, not {slots}")
    try:
        parts = urllib.parse.urlsplit(params["url"])
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or params["url"].endswith("/"):
        problems.append(f"url has to be like http://127.0.0.1:8080, without a slash at its end, not {params['url']}")
    paths = [*params["paths"], params["health_path"]]
    if not params["paths"] or not all(path.startswith("/") for path in paths):
        problems.append(f"paths needs one path at least, and every path begins with a slash: {paths}")
    least = dict.fromkeys(("successes", "ready_timeout", "read_back_timeout"), 1)
    least.update(dict.fromkeys(("drain_timeout", "keep", "lock_timeout"), 0))
    problems += [f"{name} is {params[name]}, at least {low}" for name, low in least.items() if params[name] < low]
    return f"{'; '.join(problems)}. Nothing was changed." if problems else None


def other_slot(slot):
    """The slot that is free for the next release."""
    return "green" if slot == "blue" else "blue"


def parse_route(link):
    """(slot, release id) of the route link's text; (None, None) where nothing is routed."""
    match = ROUTE.fullmatch(link or "")
    return (match["slot"], match["release"]) if match else (None, None)


def route_link(slot, release):
    """The text of the route link."""
    return f"slots/{slot}/{release}"


def is_shared_asset(name):
    """Whether an asset may be kept for browsers that still hold an older page."""
    return bool(HASHED.search(name))


def plan(wanted, manifest, observed):
    """What has to happen so that C(wanted) is the release that is served.

    The manifest is empty where it is not known: after a rollback without a record.

    C(observed): C(slot) and C(release) of the route link; C(running) the names of the API's running
    releases; C(staged) whether the bundle lies in its slot; C(manifests) release id -> manifest digest
    of the releases made before; C(serving) the release id read back through nginx, or None.

    Returns C(error) or C(steps), a list of names in order: stage, start, verify, route, read_back,
    retire. An empty list means that nothing is due.
    """
    known = observed["manifests"].get(wanted)
    if known and known != manifest:
        return {
            "steps": [],
            "error": f"Release {wanted} exists already and is made of something else (manifest {known}, "
            f"now {manifest}). A release never changes, so that a rollback brings back what it names. "
            "Nothing was changed; choose another release_id.",
        }
    strangers = sorted(name for name in observed["running"] if name not in (wanted, observed["release"]))
    if observed["release"] == wanted:
        steps = []
        if not observed["staged"]:
            steps.append("stage")
        if wanted not in observed["running"] or observed["serving"] != wanted:
            steps += ["start", "verify"]
        # One that is not on record was routed by a run that did not come to its end.
        if steps or known != manifest:
            steps.append("read_back")
    else:
        steps = ["stage", "start", "verify", "route", "read_back"]
        strangers += [observed["release"]] if observed["release"] in observed["running"] else []
    if strangers:
        steps.append("retire")
    return {"steps": steps, "retire": strangers, "error": None}


def put_on_record(releases, event, release, moment, line):
    """Note in C(releases), id -> record, what an event of the journal came to; C(line) is what it says besides.

    A record has C(manifest) and, once served, C(served_first) and C(served), the begin of the last time. C(rolled_back)
    is when one was rolled back from, until it is served again; C(instead_of) is on the one that is served since. Going
    forward again to a release that was rolled back from undoes that, and marks nothing.
    """
    if event == "pruned":
        releases.pop(line["pruned"], None)
    elif event == "failed":
        releases.setdefault(release, {"manifest": ""})
    elif event in ("switched", "restored", "rolled_back"):
        old = releases.get(release, {})
        first = old.get("served_first", old.get("served", moment))
        new = {"manifest": line.get("manifest") or old.get("manifest", ""), "served_first": first, "served": moment}
        if event == "restored" and "instead_of" in old:
            new["instead_of"] = old["instead_of"]
        previous = line.get("previous")
        if event == "rolled_back" and previous and "rolled_back" not in old:
            new["instead_of"] = previous
            releases.setdefault(previous, {"manifest": ""})["rolled_back"] = moment
        releases[release] = new


def history(lines):
    """Records from the journal's lines, for a state that was lost. A line that was cut short tells nothing."""
    releases = {}
    for text in lines:
        try:
            line = json.loads(text)
            put_on_record(releases, line["event"], line["release"], line["time"], line)
        except (ValueError, KeyError, TypeError):
            continue
    return releases


def rollback_target(wanted, observed, records):
    """(release to go to, None), or (None, error).

    Without C(wanted) it is the one that was served last before the routed one. A release that was rolled back from is
    none, and one that is served because of a rollback stays: to ask twice is not to go back twice. The engine's start
    times tell the order of releases that are on no record.
    """
    routed, kept = observed["release"], observed["kept"]
    if wanted:
        if wanted in kept:
            return wanted, None
        return None, f"Release {wanted} is not kept on this host: its container or bundle is gone. Nothing was changed."
    if "instead_of" in records.get(routed, {}):
        return routed, None
    served = {name: entry["served"] for name, entry in records.items() if "served" in entry}
    unknown = {name: moment for name, moment in observed["started"].items() if name not in records}
    for moments in (served, unknown):
        names = [
            name for name in kept if name in moments and name != routed and "rolled_back" not in records.get(name, {})
        ]
        if names:
            return max(names, key=lambda name: (moments[name], name)), None
    return None, f"There is no release to go back to from {routed or 'none'}. Nothing was changed."


def overview(observed, records):
    """A row for each release that is on record or has a container, the one served last first."""
    rows = []
    for name in {*records, *observed["kept"], *observed["running"], *filter(None, [observed["release"]])}:
        record, running = records.get(name, {}), name in observed["running"]
        if name == observed["release"]:
            state = "served" if observed["serving"] == name else "routed, does not answer"
        elif name not in observed["kept"]:
            state = "incomplete"
        elif "rolled_back" in record:
            state = "rolled back"
        elif "served" not in record:
            state = "failed" if name in records else "never served"
        else:
            state = "kept warm" if running else "kept cold"
        rows.append(
            {
                "release": name,
                "state": state,
                "slot": observed["slots"].get(name, ""),
                "served_first": record.get("served_first", record.get("served", "")),
                "served_last": record.get("served", ""),
                "manifest": record.get("manifest", ""),
            }
        )
    return sorted(rows, key=lambda row: (row["served_last"], row["release"]), reverse=True)


def choices(observed, records):
    """The sentence that names the releases one can go to."""
    names = [
        f"{row['release']} ({row['state']}{', last served ' + row['served_last'] if row['served_last'] else ''})"
        for row in overview({**observed, "serving": None}, records)
        if row["release"] in observed["kept"] and row["release"] != observed["release"]
    ]
    if not names:
        return "No other release is kept on this host."
    return f"One can go to (-e release_id=<id>): {'; '.join(names)}."


def outdated(releases, served, keep):
    """Ids of the releases beyond the C(keep) that were served last; C(releases) maps an id to its record.

    The served release is never among them.
    """
    others = sorted(set(releases) - {served}, key=lambda name: (releases[name].get("served", ""), name))
    return others[: max(0, len(others) - keep)]


def ended(state):
    """The engine's C(State) where it is that of an ended container, whose exit code counts; else None.

    The engine calls a container that waits for its restart both running and restarting.
    """
    return state if state.get("Restarting") or not state.get("Running") else None


def failure_reason(name, state, limit, logs):
    """Why a container did not become ready, from what the engine knows of it.

    C(state) is the engine's C(State) object with C(Restarts) added; exit code 137 is SIGKILL, which
    in a limited container is nearly always the kernel's OOM killer (State.OOMKilled alone is not
    reliable).
    """
    tail = "\n".join(f"    {line}" for line in logs.strip().splitlines()[-8:])
    said = f" Its last words:\n{tail}" if tail else " It wrote nothing."
    runs = not ended(state)
    if state.get("OOMKilled") or (state.get("ExitCode") == 137 and not runs):
        return f"{name} was killed with SIGKILL, most likely for memory: its limit is {limit >> 20} MB.{said}"
    if state.get("Restarting") or state.get("Restarts"):
        code = "" if runs else f" with exit code {state.get('ExitCode')}"
        return f"{name} ended{code} and was restarted {state.get('Restarts', 0)} times.{said}"
    if not runs:
        return f"{name} ended with exit code {state.get('ExitCode')}.{said}"
    return f"{name} runs, but did not become ready.{said}"
