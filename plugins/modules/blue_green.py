#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green
short_description: Put a release of the application behind nginx
version_added: "0.1.0"
description:
  - Starts a release's container in the slot that is not routed, waits until it answers as the wanted
    release, moves the route with one rename, and reads the release back through nginx before it stops
    the one that served before. M(sixty_sales.memory_optimized.release_guard) does the same and watches what follows.
  - It starts, routes, stops and removes containers and never creates one; the container C(<stack>-api-<release id>)
    has to exist.
  - The routed slot is never stopped. Whatever fails up to the read-back leaves the old release serving.
  - A rollback without a release goes to the one that was served last before the routed one. The release that it leaves
    is marked as rolled back, and is gone back to only by its name. A second rollback without a release changes
    nothing, since it might be an impatient one; to go back further, name a release.
  - What differs from what was recorded (a container or the route link that somebody moved, a lost C(state.json)) is
    told as a warning, and taken as it is found.
extends_documentation_fragment:
  - sixty_sales.memory_optimized.release_host
options:
  action:
    description:
      - V(status) only says what is served and what is due. V(switch) does what is due.
      - V(stage) starts the release in the standby slot; V(verify) waits until it is ready, too. Neither routes it.
      - V(promote) ends a deploy whose watch was broken off; the releases before it are stopped.
      - V(migrate) runs the one-off container O(container) to its end, removes it, and puts on record that the
        release's migrations were run.
      - V(rollback) goes to a release that is kept, and removes none. What the records have lost it takes from the
        journal and from the containers.
      - V(list) only says which releases there are.
      - V(check) only asks the records whether the release may be deployed; it needs no engine.
      - V(unlock) removes the lock of a deploy whose process is gone, and with O(force) of any.
    type: str
    choices: [check, list, migrate, promote, rollback, stage, status, switch, unlock, verify]
    default: switch
  container:
    description: The one-off container of V(migrate); without one it only puts on record that there was nothing to run.
    type: str
  migrate_timeout:
    description: Seconds after which migrations that go on are stopped.
    type: int
    default: 600
  contract:
    description:
      - Whether the migrations take away what older releases need. Going back to these is refused then.
    type: bool
    default: false
  backup:
    description: Dump of the database from before the migrations, for the record.
    type: path
  force:
    description: Roll back across contract migrations; remove the lock of a process that lives.
    type: bool
    default: false
  leaving:
    description:
      - Roll back only while this release is routed and no deploy is under way; an automatic rollback says so, since
        things may have changed after it was decided on. Empty asks for nothing.
    type: str
    default: ""
  reason:
    description: Why a rollback is made, for the journal.
    type: str
    default: asked for
"""

EXAMPLES = r"""
- name: Serve the release
  sixty_sales.memory_optimized.blue_green:
    stack: sixty
    root: /srv/sixty
    release: r2
    manifest: 4f1c0d2a9b7e
    network: sixty-app
    slots: {blue: 10.60.3.11, green: 10.60.3.12}

- name: Go back to the release that was served before
  sixty_sales.memory_optimized.blue_green:
    action: rollback
    stack: sixty
    root: /srv/sixty
    network: sixty-app
    slots: {blue: 10.60.3.11, green: 10.60.3.12}
    lock_timeout: 60
"""

RETURN = r"""
due:
  description: Steps that were due, in order; empty when the release is served already.
  type: list
  elements: str
  returned: for V(status), V(stage), V(verify), V(switch) and V(rollback)
target:
  description: The release that is to be served.
  type: str
  returned: for the same
active:
  description: Slot and release that are routed afterwards.
  type: dict
  returned: for the same, and V(list)
  sample: {slot: green, release: r2}
previous:
  description: The release that was routed before.
  type: str
  returned: for the same
migrated:
  description: Whether the release's migrations were run already.
  type: bool
  returned: for the same, and V(migrate)
memory:
  description: How the memory in use now allows the switch.
  type: str
  returned: when the release has to be started
seconds:
  description: From the rename to the last successful read-back.
  type: float
  returned: when a switch took place
output:
  description: What the migrations wrote.
  type: str
  returned: for V(migrate)
holder:
  description: Who holds the lock, with C(alive); empty where nobody does.
  type: dict
  returned: for V(unlock)
releases:
  description:
    - A row for each release, the one served last first. The state is C(served), C(kept warm) (its container runs),
      C(kept cold), C(rolled back), C(failed) (it was never served), C(never served) (it is on no record),
      C(incomplete) (without container or bundle) or C(routed, does not answer).
  type: list
  elements: dict
  returned: for V(list)
  sample:
    - release: r2
      state: served
      slot: green
      served_first: "2026-11-24T19:52:11.123+00:00"
      served_last: "2026-11-24T19:52:11.123+00:00"
      manifest: 4f1c0d2a9b7e
"""

import contextlib
import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.blue_green_host import (
    HOST_ARGUMENTS,
    Switch,
    routed_release,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, Records, lock

try:
    import docker
except ImportError:
    docker = None

# How far an action goes; one that is not named goes all the way.
STEPS = {"stage": ("stage", "start"), "verify": ("stage", "start", "verify")}
NAMED = ("check", "migrate", "promote", "stage", "status", "switch", "verify")
WITHOUT_ENGINE = ("check", "unlock")


def perform(module, switch, routed_before):
    """What is due for the wanted release, done unless it is only asked for; the module's result."""
    params, rollback = module.params, module.params["action"] == "rollback"
    observed = switch.observe()
    for text in core.drift(observed, {"active": observed["active"]}):
        module.warn(text)
    records = switch.records.known()
    target, manifest = params["release"], params["manifest"]
    if rollback:
        error = params["leaving"] and (
            core.busy(observed["deploy"], switch.records.holder()) or core.moved_on(params["leaving"], observed)
        )
        if error:
            raise Failed(error)
        ways = core.choices(observed, records)
        if not target and routed_before and observed["release"] == routed_before[0] != routed_before[1]:
            # A deploy was under way, and failed while this waited for it: what it was to leave is served.
            target = observed["release"]
        target, error = core.rollback_target(target, observed, records, params["force"])
        if error:
            raise Failed(f"{error} Release {observed['release'] or 'none'} is routed. {ways}")
        manifest = records.get(target, {}).get("manifest", "")
        switch.aim(target, manifest, f"\n  {ways}")
    else:
        error = core.busy(observed["deploy"], switch.records.holder())
        if error:
            raise Failed(error)
    # A release that is about to be left may answer slowly or not at all, and what it says would change nothing.
    observed["serving"] = None if rollback and target != observed["release"] else switch.serving()
    plan = core.plan(target, manifest, observed)
    if plan["error"]:
        raise Failed(plan["error"])
    upto = STEPS.get(params["action"])
    steps = [step for step in plan["steps"] if not upto or step in upto]
    if not steps and not upto and core.is_unfinished(observed, target):
        steps = ["watch"]
    result = {
        "changed": bool(steps) and params["action"] != "status",
        "due": steps,
        "target": target,
        "active": {"slot": observed["slot"], "release": observed["release"]},
        "previous": observed["release"],
        "migrated": core.is_migrated(records.get(target), manifest),
        "diff": {
            "before": f"served release: {observed['release'] or 'none'}\n",
            "after": f"served release: {observed['release'] or 'none' if upto else target}\n",
        },
    }
    if "start" in steps and not rollback:
        memory = switch.memory(observed)
        if memory:
            result["memory"] = memory.text
            # What is only staged makes the served release stop for nothing.
            if not memory.mode or (upto and memory.mode == "stop_first"):
                raise Failed(f"Release {target} does not fit beside what runs. {memory.text}. Nothing was changed.")
            switch.stop_first = memory.mode == "stop_first"
    if result["changed"] and not module.check_mode:
        if upto:
            switch.advance(observed, steps, plan["retire"])
        else:
            slot, seconds = switch.run(observed, steps, plan["retire"], params["reason"] if rollback else None)
            result["active"] = {"slot": slot, "release": target}
            if seconds is not None:
                result["seconds"] = seconds
    return result


def overview(switch):
    observed = {**switch.observe(), "serving": switch.serving()}
    return {
        "changed": False,
        "active": {"slot": observed["slot"], "release": observed["release"]},
        "releases": core.overview(observed, switch.records.known()),
    }


def check(params, records):
    """Refusals that need nothing but the records: before a deploy has changed anything."""
    state = records.read()
    served = {name: entry["manifest"] for name, entry in state["releases"].items() if "served" in entry}
    error = core.busy(state.get("deploy"), records.holder()) or core.reused(
        params["release"], params["manifest"], served
    )
    if error:
        raise Failed(error)
    return {"changed": False}


def unlock(module, records):
    """Show who holds the lock, and remove it where that process is gone."""
    holder = records.holder() or {}
    if holder.get("alive") and not module.params["force"]:
        raise Failed(f"{core.busy(records.deploy(), holder)} To remove the lock all the same: -e release_force=true.")
    if holder and not module.check_mode:
        records.unlock()
        records.journal("unlocked", holder.get("release", ""), holder=holder)
    return {"changed": bool(holder), "holder": holder}


def promote(module, switch):
    """End a deploy that nobody watches any more."""
    observed = switch.observe()
    error = core.busy(observed["deploy"], switch.records.holder())
    if not error and observed["release"] != module.params["release"]:
        error = f"Release {observed['release']} is routed, not {module.params['release']}. Nothing was changed."
    if error:
        raise Failed(error)
    strangers = [name for name in observed["running"] if name != observed["release"]]
    due = bool(strangers or observed["deploy"])
    if due and not module.check_mode:
        switch.retire(strangers)
        switch.prune()
        switch.records.journal("promoted", observed["release"])
        switch.records.finish()
    return {"changed": due}


def migrate(module, switch):
    """The release's migrations, once."""
    params, records = module.params, switch.records
    if core.is_migrated(records.known().get(params["release"]), params["manifest"]):
        return {"changed": False, "migrated": True, "output": ""}
    if module.check_mode:
        return {"changed": True, "migrated": False, "output": ""}
    output = switch.run_once(params["container"], params["migrate_timeout"]) if params["container"] else ""
    line = {"manifest": params["manifest"], "contract": params["contract"], "backup": params["backup"]}
    with lock(params["root"], params["ready_timeout"]):
        records.note("migrated", params["release"], **line)
    return {"changed": True, "migrated": True, "output": output}


def main():
    module = AnsibleModule(
        argument_spec={
            **HOST_ARGUMENTS,
            "action": {
                "type": "str",
                "choices": sorted([*NAMED, "list", "rollback", "unlock"]),
                "default": "switch",
            },
            "container": {"type": "str"},
            "migrate_timeout": {"type": "int", "default": 600},
            "contract": {"type": "bool", "default": False},
            "backup": {"type": "path"},
            "force": {"type": "bool", "default": False},
            "leaving": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": "asked for"},
        },
        required_if=[("action", action, ["release", "manifest"]) for action in NAMED],
        supports_check_mode=True,
    )
    params = module.params
    named = core.check_release_id(params["release"]) if params["release"] is not None else None
    error = named or core.check_arguments(params)
    if error:
        module.fail_json(msg=error)
    action = params["action"]
    if docker is None and action not in WITHOUT_ENGINE:
        module.fail_json(msg=missing_required_lib("docker"))
    # nginx reads the slots as a user of its own.
    os.umask(0o022)
    records = Records(params["root"], tolerant=action in ("list", "rollback", "unlock"))
    # Who only looks on may do so while a switch is under way; migrations may take long and switch nothing.
    free = action in ("check", "list", "migrate", "unlock")
    try:
        # Before the wait for the lock: a deploy that is under way may end meanwhile, in one way or the other.
        holder = (records.holder() or {}) if action == "rollback" else {}
        before = None
        if holder.get("alive"):
            before = (routed_release(os.path.join(params["root"], "route")), holder["release"])
        with contextlib.nullcontext() if free else lock(params["root"], params["lock_timeout"]):
            if action in WITHOUT_ENGINE:
                result = check(params, records) if action == "check" else unlock(module, records)
            else:
                switch = Switch(params, docker.from_env(), records)
                others = {"list": lambda: overview(switch)}
                others.update(migrate=lambda: migrate(module, switch), promote=lambda: promote(module, switch))
                result = others[action]() if action in others else perform(module, switch, before)
    except Failed as failure:
        module.fail_json(msg=str(failure))
    except OSError as failure:
        module.fail_json(msg=f"{params['root']} or the engine cannot be read: {failure}. Nothing was changed.")
    except Exception as failure:
        if docker is None or not isinstance(failure, docker.errors.DockerException):
            raise
        module.fail_json(msg=f"The engine does not answer as it should: {failure}. What is served was left as it is.")
    if records.found_broken:
        module.warn(f"{records.found_broken} The releases were taken from the journal and the containers.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
