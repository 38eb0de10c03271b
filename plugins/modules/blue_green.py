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
    the one that served before.
  - It starts, routes and stops containers and never creates one; the container C(<stack>-api-<release id>)
    has to exist.
  - The routed slot is never stopped. Whatever fails up to the read-back leaves the old release serving.
  - A rollback without a release goes to the one that was served last before the routed one. The release that it leaves
    is marked as rolled back, and is gone back to only by its name. A second rollback without a release changes
    nothing, since it might be an impatient one; to go back further, name a release.
options:
  action:
    description:
      - V(status) only says what is served and what is due. V(switch) does what is due.
      - V(rollback) goes to a release that is kept, and removes none. What the records have lost it takes from the
        journal and from the containers.
      - V(list) only says which releases there are.
    type: str
    choices: [list, rollback, status, switch]
    default: switch
  stack:
    description: Name of the stack.
    type: str
    required: true
  root:
    description: The stack's directory, which holds C(route), C(releases) and C(state.json).
    type: path
    required: true
  release:
    description: Id of the release that is to be served. Required for V(status) and V(switch).
    type: str
  manifest:
    description:
      - Digest of all that the release is made of. A second release of the same id and another manifest is refused.
      - Required for V(status) and V(switch); a rollback takes it from the record.
    type: str
  network:
    description: The network in which the slots have their addresses.
    type: str
    required: true
  slots:
    description: Address of each slot.
    type: dict
    required: true
  port:
    description: Port of the application in its container.
    type: int
    default: 3000
  health_path:
    description: Path that answers 200 and the header X-Release when the release is ready.
    type: str
    default: /health/ready
  url:
    description: Where nginx answers on this host. Certificates are not verified, since the name is not theirs.
    type: str
    default: http://127.0.0.1
  paths:
    description:
      - Paths that are read back through nginx; each has to answer with status 2xx and the wanted X-Release. The last
        one tells which release is served, so it has to be one that the application itself answers.
    type: list
    elements: str
    default: [/, /api/release]
  successes:
    description: Answers in a row that count as ready, and as read back.
    type: int
    default: 3
  ready_timeout:
    description: Seconds within which the release has to become ready.
    type: int
    default: 60
  read_back_timeout:
    description: Seconds within which nginx has to answer with the release.
    type: int
    default: 10
  drain_timeout:
    description: Seconds that the old release has to finish its requests after SIGTERM.
    type: int
    default: 30
  keep:
    description:
      - Releases that are kept beside the served one, those served last first. Containers and files of others are
        removed after a switch; a release that failed and was never served counts as the oldest.
    type: int
    default: 3
  lock_timeout:
    description: Seconds to wait for another switch of the stack that is under way.
    type: int
    default: 0
  reason:
    description: Why a rollback is made, for the journal.
    type: str
    default: asked for
attributes:
  check_mode:
    description: Says what is due and changes nothing.
    support: full
  diff_mode:
    description: The served release before and after.
    support: full
requirements:
  - docker (Python SDK) on the host
author: Sixty Sales DevOps Team (@sixty-sales)
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
  returned: when not listing
target:
  description: The release that is to be served.
  type: str
  returned: when not listing
active:
  description: Slot and release that are routed afterwards.
  type: dict
  returned: success
  sample: {slot: green, release: r2}
previous:
  description: The release that was routed before.
  type: str
  returned: when not listing
seconds:
  description: From the rename to the last successful read-back.
  type: float
  returned: when a switch took place
releases:
  description:
    - A row for each release, the one served last first. The state is C(served), C(kept warm) (its container runs),
      C(kept cold), C(rolled back), C(failed) (it was never served), C(never served) (it is on no record),
      C(incomplete) (without container or bundle) or C(routed, does not answer).
  type: list
  elements: dict
  returned: when listing
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
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.blue_green_host import Switch
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, Records, lock

try:
    import docker
except ImportError:
    docker = None


def perform(module, switch):
    """What is due for the wanted release, done unless it is only asked for; the module's result."""
    params, rollback = module.params, module.params["action"] == "rollback"
    observed = switch.observe()
    target, manifest = params["release"], params["manifest"]
    if rollback:
        records = switch.records.known()
        ways = core.choices(observed, records)
        target, error = core.rollback_target(target, observed, records)
        if error:
            raise Failed(f"{error} Release {observed['release'] or 'none'} is routed. {ways}")
        manifest = records.get(target, {}).get("manifest", "")
        switch.aim(target, manifest, f"\n  {ways}")
    # A release that is about to be left may answer slowly or not at all, and what it says would change nothing.
    observed["serving"] = None if rollback and target != observed["release"] else switch.serving()
    plan = core.plan(target, manifest, observed)
    if plan["error"]:
        raise Failed(plan["error"])
    result = {
        "changed": bool(plan["steps"]) and params["action"] != "status",
        "due": plan["steps"],
        "target": target,
        "active": {"slot": observed["slot"], "release": observed["release"]},
        "previous": observed["release"],
        "diff": {
            "before": f"served release: {observed['release'] or 'none'}\n",
            "after": f"served release: {target}\n",
        },
    }
    if result["changed"] and not module.check_mode:
        slot, seconds = switch.run(observed, plan["steps"], plan["retire"], params["reason"] if rollback else None)
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


def main():
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["list", "rollback", "status", "switch"], "default": "switch"},
            "stack": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "release": {"type": "str"},
            "manifest": {"type": "str"},
            "network": {"type": "str", "required": True},
            "slots": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 3000},
            "health_path": {"type": "str", "default": "/health/ready"},
            "url": {"type": "str", "default": "http://127.0.0.1"},
            "paths": {"type": "list", "elements": "str", "default": ["/", "/api/release"]},
            "successes": {"type": "int", "default": 3},
            "ready_timeout": {"type": "int", "default": 60},
            "read_back_timeout": {"type": "int", "default": 10},
            "drain_timeout": {"type": "int", "default": 30},
            "keep": {"type": "int", "default": 3},
            "lock_timeout": {"type": "int", "default": 0},
            "reason": {"type": "str", "default": "asked for"},
        },
        required_if=[("action", action, ["release", "manifest"]) for action in ("status", "switch")],
        supports_check_mode=True,
    )
    params = module.params
    named = core.check_release_id(params["release"]) if params["release"] is not None else None
    error = named or core.check_arguments(params)
    if error:
        module.fail_json(msg=error)
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    # nginx reads the slots as a user of its own.
    os.umask(0o022)
    lists = params["action"] == "list"
    records = Records(params["root"], tolerant=lists or params["action"] == "rollback")
    try:
        switch = Switch(params, docker.from_env(), records)
        # Who only looks on may do so while a switch is under way.
        with contextlib.nullcontext() if lists else lock(params["root"], params["lock_timeout"]):
            result = overview(switch) if lists else perform(module, switch)
    except Failed as failure:
        module.fail_json(msg=str(failure))
    except docker.errors.DockerException as failure:
        module.fail_json(msg=f"The engine does not answer as it should: {failure}. What is served was left as it is.")
    except OSError as failure:
        module.fail_json(msg=f"{params['root']} or the engine cannot be read: {failure}. Nothing was changed.")
    if records.found_broken:
        module.warn(f"{records.found_broken} The releases were taken from the journal and the containers.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
