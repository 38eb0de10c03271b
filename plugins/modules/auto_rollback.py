#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: auto_rollback
short_description: Decide on the host whether the served release is gone back from
version_added: "0.1.0"
description:
  - Reads what the host says now, which release is served, how and when it came to be, whether a deploy is under way and
    what a rollback would go to, and asks the host's own Alertmanager which alerts with the label C(rollback_trigger)
    fire. Both together decide; no word of whoever calls does.
  - A rollback is due once, when an alert about the served release fires within O(window) after a deploy has switched to
    it. What is served because of a rollback, a person's or an automatic one, stays until somebody deploys again.
  - A deploy that is under way is waited for; then everything is read and asked anew.
  - It changes nothing. M(sixty_sales.memory_optimized.blue_green) rolls back.
extends_documentation_fragment:
  - sixty_sales.memory_optimized.release_host
options:
  alertmanager_url:
    description: Where Alertmanager answers on the host. Silenced and inhibited alerts count for nothing.
    type: str
    default: http://127.0.0.1:9093
  window:
    description: Seconds after a switch within which an alert is put down to it; with V(0) nothing ever is.
    type: int
    default: 3600
  cooldown:
    description: Seconds after a rollback, whoever made it, within which there is no automatic one.
    type: int
    default: 900
  wait:
    description: Seconds to wait for a deploy that is under way. Check mode waits for nothing.
    type: int
    default: 600
attributes:
  check_mode:
    description: It changes nothing in any mode.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Ask whether the served release is to be gone back from
  sixty_sales.memory_optimized.auto_rollback:
    stack: sixty
    root: /srv/sixty
    network: sixty-app
    slots: {blue: 10.60.3.11, green: 10.60.3.12}
    window: 3600
  register: decision
"""

RETURN = r"""
verdict:
  description: V(rollback), V(ignore), or V(wait) where a deploy was still under way after O(wait) seconds.
  type: str
  returned: success
reason:
  description: Why, with numbers.
  type: str
  returned: success
release:
  description: The release that is served; empty where none is.
  type: str
  returned: success
before:
  description: The release that a rollback would go to; empty where there is none.
  type: str
  returned: success
alert:
  description: The alert about the served release; empty where none fires.
  type: dict
  returned: success
  sample: {name: MemoryCritical, trigger: memory, release: r2, since: "2026-11-24T19:52:11.123Z"}
"""

import http.client
import json
import os
import time
import urllib.parse

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.urls import open_url
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import auto_rollback as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.blue_green_host import HOST_ARGUMENTS, Switch
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, Records, lock

try:
    import docker
except ImportError:
    docker = None

# Seconds between two looks at a deploy that is under way.
PERIOD = 2
# Seconds that an answer of Alertmanager may take, and bytes that it may have.
PATIENCE = 5
LARGEST = 4 << 20


def ask(url, stack):
    """Alertmanager's alerts that ask for a rollback, or Failed: without its word nothing is done."""
    matchers = [("filter", f"stack={json.dumps(stack)}"), ("filter", 'rollback_trigger!=""')]
    states = [("active", "true"), ("silenced", "false"), ("inhibited", "false"), ("unprocessed", "false")]
    try:
        answer = open_url(
            f"{url}/api/v2/alerts?{urllib.parse.urlencode(states + matchers)}", timeout=PATIENCE, use_proxy=False
        )
        text = answer.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MB")
        return core.firing(json.loads(text), stack)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Failed(
            f"Alertmanager at {url} gave no answer that can be used: {error}. Nothing was changed: without its word "
            "that an alert fires, nobody goes back by itself. If the alert is right: make rollback-emergency."
        ) from error


def look(params, switch):
    """The host's status, at a moment when nothing changes."""
    records = switch.records
    with lock(params["root"], params["lock_timeout"]):
        observed, known = switch.observe(), records.known()
        holder, deploy = records.holder() or {}, records.deploy() or {}
        try:
            with open(os.path.join(params["root"], "journal.jsonl"), encoding="utf-8", errors="replace") as handle:
                route, rolled_back = core.past(handle)
        except FileNotFoundError:
            route, rolled_back = None, None
    served, under_way = observed["release"], None
    if holder.get("alive"):
        phase = f"is {deploy['phase']}" if deploy else "has begun"
        under_way = f"release {holder['release']} {phase}, by {holder['owner']} since {holder['taken']}"
    before, obstacle = release.rollback_target(None, observed, known)
    if before == served:
        before = None
        if deploy:
            obstacle = f"the deploy of release {deploy['release']} was broken off, and a rollback would only end that."
    return core.Status(
        release=served,
        route=route,
        rolled_back=rolled_back,
        deploy=under_way,
        instead_of=known.get(served, {}).get("instead_of"),
        before=before,
        obstacle=obstacle,
    )


def main():
    module = AnsibleModule(
        argument_spec={
            **HOST_ARGUMENTS,
            "alertmanager_url": {"type": "str", "default": "http://127.0.0.1:9093"},
            "window": {"type": "int", "default": 3600},
            "cooldown": {"type": "int", "default": 900},
            "wait": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    error = release.check_arguments(params)
    low = [f"{name} is {params[name]}" for name in ("window", "cooldown", "wait") if params[name] < 0]
    if low:
        error = f"{', '.join(low)}; at least 0. Nothing was changed."
    if error:
        module.fail_json(msg=error)
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    deadline = time.monotonic() + (0 if module.check_mode else params["wait"])
    try:
        switch = Switch(params, docker.from_env(), Records(params["root"]))
        while True:
            alerts = ask(params["alertmanager_url"], params["stack"])
            status = look(params, switch)
            verdict = core.decide(status, alerts, time.time(), params["window"], params["cooldown"])
            if verdict.action != "wait" or time.monotonic() >= deadline:
                break
            time.sleep(PERIOD)
    except Failed as failure:
        module.fail_json(msg=str(failure))
    except OSError as failure:
        module.fail_json(msg=f"{params['root']} or the engine cannot be read: {failure}. Nothing was changed.")
    except docker.errors.DockerException as failure:
        module.fail_json(msg=f"The engine does not answer as it should: {failure}. Nothing was changed.")
    module.exit_json(
        changed=False,
        verdict=verdict.action,
        reason=verdict.reason,
        release=status.release or "",
        before=status.before or "",
        alert=verdict.alert._asdict() if verdict.alert else {},
    )


if __name__ == "__main__":
    main()
