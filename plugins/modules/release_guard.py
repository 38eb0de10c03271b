#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: release_guard
short_description: Switch to a release, watch it, and go back by itself when it misbehaves
version_added: "0.1.0"
description:
  - Does all that M(sixty_sales.memory_optimized.blue_green) does for a switch, but keeps the old release warm, and
    watches the new one for O(watch_seconds). Only then is the old one stopped.
  - It runs detached on the host, so a lost connection or a killed play does not end it. The action plugin of the same
    name starts it and follows it, a line a period.
  - Four triggers go back to the old release within seconds, record the evidence, and fail the task with a message that
    names them. They are memory over O(memory_percent) of the limit for O(memory_seconds); the 95th percentile of its
    answers over O(degradation_percent) worse than the old release's, measured the same way just before the switch and
    beside it afterwards; more than O(health_failures) failed checks in a row; and O(restarts) restarts or one OOM kill.
  - What fails or slows down at the old release in the same moment is not the new one's doing and counts for nothing.
  - A deploy that was broken off after its switch is taken up again where it was.
extends_documentation_fragment:
  - sixty_sales.memory_optimized.release_host
options:
  action:
    description:
      - V(run) does what is due. V(follow) only follows a deploy that is under way, from another terminal.
    type: str
    choices: [follow, run]
    default: run
  until:
    description:
      - How far the task follows; V(switched) leaves as soon as the release is served, and another task with O(job)
        follows to the end. The guard goes on all the same.
    type: str
    choices: [promoted, switched]
    default: promoted
  job:
    description: RV(job) of an earlier task that left at V(switched).
    type: dict
  owner:
    description: Who deploys, for whoever finds the lock.
    type: str
    default: somebody
  token:
    description: Names this run in its lines; the action plugin sets it.
    type: str
    default: ""
  watch_seconds:
    description:
      - How long the new release is watched; 0 is not at all. A trigger whose condition holds at the end is waited for.
    type: int
    default: 180
  period:
    description: Seconds from one sample to the next.
    type: float
    default: 2
  probes:
    description: Requests to each release in a period.
    type: int
    default: 10
  probe_paths:
    description: Paths whose answers are timed. A status of 500 or more is a failed check.
    type: list
    elements: str
    default: [/health/ready]
  memory_percent:
    description: Share of the limit that unreclaimable memory may take.
    type: float
    default: 90
  memory_seconds:
    description: For how long it may take more.
    type: float
    default: 120
  degradation_percent:
    description: By how much the 95th percentile may get worse.
    type: float
    default: 20
  latency_samples:
    description: Answers that are needed on both sides for a judgement.
    type: int
    default: 60
  latency_floor:
    description: Seconds below which a difference counts for nothing.
    type: float
    default: 0.005
  health_failures:
    description: Failed checks in a row that are put up with.
    type: int
    default: 3
  restarts:
    description: Restarts that make a loop.
    type: int
    default: 3
notes:
  - The lines that a follower sees are kept in C(<root>/watch/<release>.jsonl).
"""

EXAMPLES = r"""
- name: Switch to the release and watch it
  sixty_sales.memory_optimized.release_guard:
    stack: sixty
    root: /srv/sixty
    release: r2
    manifest: 4f1c0d2a9b7e
    network: sixty-app
    slots: {blue: 10.60.3.11, green: 10.60.3.12}
    watch_seconds: 300

- name: Follow a deploy from another terminal
  sixty_sales.memory_optimized.release_guard:
    action: follow
    stack: sixty
    root: /srv/sixty
    network: sixty-app
    slots: {blue: 10.60.3.11, green: 10.60.3.12}
"""

RETURN = r"""
phase:
  description: How far the deploy came, V(promoted) at its end; V(none) where nothing is followed.
  type: str
  returned: always
active:
  description: Slot and release that are routed afterwards.
  type: dict
  returned: when something was switched
  sample: {slot: green, release: r2}
seconds:
  description: From the rename to the last successful read-back.
  type: float
  returned: when a switch took place
due:
  description: Steps that are due, in check mode.
  type: list
  elements: str
  returned: in check mode
memory:
  description: How the memory in use now allows the switch.
  type: str
  returned: in check mode, when the release has to be started
trigger:
  description: C(name), C(reason), C(seconds) from the trigger to the old release's answer, and C(evidence).
  type: dict
  returned: when a trigger fired
rolled_back:
  description: Whether the old release is served again.
  type: bool
  returned: when a trigger fired
job:
  description: What a later task needs to follow on.
  type: dict
  returned: when O(until=switched) and the watch goes on
path:
  description: The file with the lines of the deploy.
  type: str
  returned: when something is under way or was done
holder:
  description: Who deploys.
  type: dict
  returned: when O(action=follow) and a deploy is under way
"""

import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.blue_green_host import HOST_ARGUMENTS
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_guard import Guard, Progress
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, Records

try:
    import docker
except ImportError:
    docker = None


def follow(records, root):
    """What there is to follow, for the action plugin."""
    holder = records.holder() or {}
    if not holder.get("alive"):
        return {"changed": False, "phase": "none"}
    deploy = records.deploy() or {}
    path = Progress(root, holder["release"]).path
    return {"changed": False, "phase": deploy.get("phase", "begun"), "path": path, "holder": holder}


def due(guard):
    """What a run would do."""
    observed, plan, unfinished, memory = guard.look()
    served = observed["release"]
    return {
        "changed": bool(plan["steps"] or unfinished),
        "phase": "promoted",
        "due": plan["steps"],
        "diff": {"before": f"served release: {served or 'none'}\n", "after": f"served release: {guard.wanted}\n"},
        **({"memory": memory.text} if memory else {}),
    }


def main():
    module = AnsibleModule(
        argument_spec={
            **HOST_ARGUMENTS,
            "action": {"type": "str", "choices": ["follow", "run"], "default": "run"},
            "until": {"type": "str", "choices": ["promoted", "switched"], "default": "promoted"},
            "job": {"type": "dict"},
            "owner": {"type": "str", "default": "somebody"},
            "token": {"type": "str", "default": "", "no_log": False},
            "watch_seconds": {"type": "int", "default": 180},
            "period": {"type": "float", "default": 2},
            "probes": {"type": "int", "default": 10},
            "probe_paths": {"type": "list", "elements": "str", "default": ["/health/ready"]},
            "memory_percent": {"type": "float", "default": 90},
            "memory_seconds": {"type": "float", "default": 120},
            "degradation_percent": {"type": "float", "default": 20},
            "latency_samples": {"type": "int", "default": 60},
            "latency_floor": {"type": "float", "default": 0.005},
            "health_failures": {"type": "int", "default": 3},
            "restarts": {"type": "int", "default": 3},
        },
        required_if=[("action", "run", ["release", "manifest"])],
        supports_check_mode=True,
    )
    params = module.params
    named = core.check_release_id(params["release"]) if params["release"] is not None else None
    error = named or core.check_arguments(params) or core.check_watch(params)
    if error:
        module.fail_json(msg=error)
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    os.umask(0o022)
    records = Records(params["root"], tolerant=params["action"] == "follow")
    if params["action"] == "follow":
        module.exit_json(**follow(records, params["root"]))
    progress = Progress(params["root"], params["release"], params["token"])
    try:
        guard = Guard(params, docker.from_env(), records, progress)
        result = due(guard) if module.check_mode else guard.run()
    except Failed as failure:
        progress.end(str(failure))
        module.fail_json(msg=str(failure), path=progress.path, warnings=progress.warnings, **failure.more)
    except (docker.errors.DockerException, OSError) as failure:
        text = (
            f"The engine or {params['root']} does not answer as it should: {failure}. What is served was left as it is."
        )
        progress.end(text)
        module.fail_json(msg=text, path=progress.path, warnings=progress.warnings)
    progress.end(f"release {params['release']} is {result['phase']}")
    module.exit_json(path=progress.path, warnings=progress.warnings, **result)


if __name__ == "__main__":
    main()
