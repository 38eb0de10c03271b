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
# Steps of a switch to a release that does not run.
FORWARD = ("stage", "start", "verify", "route", "read_back")
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
    paths = [*params["paths"], params["health_path"], *params["warm_up_paths"]]
    if not params["paths"] or not params["warm_up_paths"] or not all(path.startswith("/") for path in paths):
        problems.append(f"paths needs one path at least, and every path begins with a slash: {paths}")
    least = dict.fromkeys(("successes", "ready_timeout", "read_back_timeout"), 1)
    least.update(dict.fromkeys(("drain_timeout", "keep", "lock_timeout", "disk_budget", "asset_budget", "warm_up"), 0))
    problems += [f"{name} is {params[name]}, at least {low}" for name, low in least.items() if params[name] < low]
    return f"{'; '.join(problems)}. Nothing was changed." if problems else None


def check_watch(params):
    """An error message for arguments of release_guard that cannot be used, or None."""
    least = {
        "watch_seconds": 0,
        "health_failures": 0,
        "memory_seconds": 0,
        "degradation_percent": 0,
        "latency_floor": 0,
    }
    least.update(probes=1, latency_samples=20, restarts=1, memory_percent=1, period=0.1)
    problems = [f"{name} is {params[name]:g}, at least {low}" for name, low in least.items() if params[name] < low]
    if not params["probe_paths"] or not all(path.startswith("/") for path in params["probe_paths"]):
        problems.append(
            f"probe_paths needs one path at least, and every path begins with a slash: {params['probe_paths']}"
        )
    return f"{'; '.join(problems)}. Nothing was changed." if problems else None


def longest(params):
    """Seconds after which a guard has certainly come to its end, whatever it met; for arguments as a task has them."""
    defaults = {
        "watch_seconds": 180,
        "memory_seconds": 120,
        "ready_timeout": 60,
        "drain_timeout": 30,
        "lock_timeout": 0,
    }
    given = {name: float(params.get(name, default)) for name, default in defaults.items()}
    # Two releases that become ready and are read back, several that drain, and what a busy machine adds.
    return int(sum(given.values()) + 4 * (given["ready_timeout"] + given["drain_timeout"]) + 900)


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


def reused(wanted, manifest, manifests):
    """An error message for an id that names something else already, or None."""
    known = manifests.get(wanted)
    if not known or known == manifest:
        return None
    return (
        f"Release {wanted} exists already and is made of something else (manifest {known}, now {manifest}). A release "
        "never changes, so that a rollback brings back what it names. Nothing was changed; choose another release_id."
    )


def gone(holder, boot, started):
    """Whether the process that holds a lock is provably gone.

    C(boot) is this boot's id, C(started) when the process of that id was started, or None. An id alone would prove
    nothing: it is given to another process some day.
    """
    return holder["boot"] != boot or holder["started"] != started


def busy(deploy, holder):
    """An error message while another deploy is under way, or None."""
    if not holder or not holder["alive"]:
        return None
    phase = f"is {deploy['phase']}" if deploy else "has begun"
    return (
        f"Another deploy is under way: release {holder['release']} {phase}, by {holder['owner']} since "
        f"{holder['taken']} (process {holder['pid']} on this host, last heartbeat {holder['heartbeat']}). Nothing was "
        'changed. "make monitor-deployment" follows it, "make rollback-emergency" ends it.'
    )


def moved_on(leaving, observed):
    """An error message where another release is routed than the one that is to be left, or None."""
    if observed["release"] == leaving:
        return None
    return f"Release {observed['release'] or 'none'} is routed, no longer {leaving}. Nothing was changed."


def is_unfinished(observed, release):
    """Whether a deploy was broken off which led to the routed release, or was to lead away from it."""
    deploy = observed["deploy"]
    if not deploy or release != observed["release"]:
        return False
    return release in (deploy["release"], (deploy["previous"] or {}).get("release"))


def is_migrated(record, manifest):
    """Whether a release's migrations were run: a served release's were, whatever its record says."""
    if not record:
        return False
    return "served" in record or ("migrated" in record and record["manifest"] == manifest)


def drift(observed, state):
    """Sentences on what differs from what was recorded: somebody else was here, or a run was broken off."""
    told, recorded = [], state.get("active") or {}
    if recorded and observed["release"] and recorded != {"slot": observed["slot"], "release": observed["release"]}:
        told.append(
            f"The records say that release {recorded['release']} is routed in slot {recorded['slot']}, but the route "
            f"names release {observed['release']} in slot {observed['slot']}. What nginx follows counts."
        )
    if observed["release"] and observed["release"] not in observed["kept"]:
        told.append(f"The container or the bundle of the routed release {observed['release']} is gone.")
    elif observed["release"] and observed["release"] not in observed["running"]:
        told.append(f"The container of the routed release {observed['release']} does not run.")
    if observed["release"] and not recorded:
        told.append("state.json is missing or empty; it is written anew from the route, the journal and the engine.")
    return told


def contract_between(target, records):
    """Ids of the releases that ran contract migrations after C(target) came to be, in order.

    A contract migration takes away what older releases may still need (expand and contract, parallel change:
    martinfowler.com/bliki/ParallelChange.html), whether its release was served afterwards or not.
    """
    old = records.get(target, {})
    since = old.get("migrated") or old.get("served_first") or old.get("served") or ""
    found = [
        (entry["migrated"], name)
        for name, entry in records.items()
        if name != target and entry.get("contract") and entry["migrated"] > since
    ]
    return [name for moment, name in sorted(found)]


def check_contract(target, records):
    """An error message for a rollback across a contract migration, or None."""
    names = contract_between(target, records)
    if not names:
        return None
    backup = records[names[0]].get("backup")
    return (
        f"Release {target} may not work with the database any more: {', '.join(names)} ran contract migrations since, "
        "which take away what older releases need. Nothing was changed. Go back to a release made after them, or force "
        "it with -e release_force=true"
        + (
            f"; the database before them is in {backup} (playbooks/restore.yml, which loses what was written since)."
            if backup
            else "."
        )
    )


def plan(wanted, manifest, observed):
    """What has to happen so that C(wanted) is the release that is served.

    The manifest is empty where it is not known: after a rollback without a record.

    C(observed): C(slot) and C(release) of the route link; C(running) the names of the API's running
    releases; C(warm) those of them that have all they need to be routed; C(staged) whether the bundle
    lies in its slot; C(manifests) release id -> manifest digest of the releases made before; C(serving)
    the release id read back through nginx, or None.

    Returns C(error) or C(steps), a list of names in order: stage, start, verify, route, read_back,
    retire. An empty list means that nothing is due.
    """
    error = reused(wanted, manifest, observed["manifests"])
    if error:
        return {"steps": [], "retire": [], "error": error}
    known = observed["manifests"].get(wanted)
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
        steps = ["verify", "route", "read_back"] if wanted in observed["warm"] else list(FORWARD)
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
    elif event == "migrated":
        old = releases.get(release, {})
        # One that was never served may come again as something else, with other migrations.
        same = old.get("manifest") in ("", line["manifest"]) or "served" in old
        releases[release] = {
            **(old if same else {}),
            **{"manifest": line["manifest"], "migrated": moment},
            **{name: line[name] for name in ("contract", "backup") if line.get(name)},
        }
    elif event in ("switched", "restored", "rolled_back"):
        old = releases.get(release, {})
        first = old.get("served_first", old.get("served", moment))
        new = {
            **{name: old[name] for name in ("migrated", "contract", "backup") if name in old},
            **{"manifest": line.get("manifest") or old.get("manifest", ""), "served_first": first, "served": moment},
        }
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


def rollback_target(wanted, observed, records, force=False):
    """(release to go to, None), or (None, error).

    One that a contract migration parts from today's database is refused, unless C(force).

    Without C(wanted) it is the one that was served last before the routed one. A release that was rolled back from is
    none, and one that is served because of a rollback stays: to ask twice is not to go back twice. The engine's start
    times tell the order of releases that are on no record.
    """
    target, error = _rollback_target(wanted, observed, records)
    if target and target != observed["release"] and not force:
        error = check_contract(target, records)
    return (None, error) if error else (target, None)


def _rollback_target(wanted, observed, records):
    routed, kept = observed["release"], observed["kept"]
    if wanted:
        if wanted in kept:
            return wanted, None
        return None, f"Release {wanted} is not kept on this host: its container or bundle is gone. Nothing was changed."
    if routed and "instead_of" in records.get(routed, {}):
        return routed, None
    if routed and routed == ((observed.get("deploy") or {}).get("previous") or {}).get("release"):
        # A deploy was broken off before its switch: what it was to leave is served.
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


def outdated(releases, served, keep, sizes=None, budget=0):
    """Ids of the releases that go: those beyond the C(keep) that were served last, and those too large for the disk.

    C(releases) maps an id to its record, C(sizes) to its bytes on disk; C(budget) is what all together may take, 0 for
    any. The served release and the one served before it, which a rollback needs, are never among them.
    """
    others = sorted(set(releases) - {served}, key=lambda name: (releases[name].get("served", ""), name))
    away = others[: max(0, len(others) - keep)]
    sizes = sizes or {}
    while budget and len(away) < len(others) - 1:
        if sum(sizes.get(name, 0) for name in releases if name not in away) <= budget:
            break
        away.append(others[len(away)])
    return away


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
