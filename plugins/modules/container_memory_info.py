#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: container_memory_info
short_description: Memory, limits and hardening of a stack's containers, by the engine and by the kernel
version_added: "0.1.0"
description:
  - Reads each container of a stack from the engine, and what the kernel enforces from its cgroup files,
    version 1 or 2.
  - With O(expected), compares both with the memory budget and can fail where they differ, so that a limit
    is believed only when it was read back.
options:
  stack:
    description: Name of the stack.
    type: str
    required: true
  expected:
    description: Service name to the arguments of community.docker.docker_container that its limits are made of.
    type: dict
    default: {}
  fail_on_difference:
    description: Fail where a container differs from O(expected) or lacks hardening.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
requirements:
  - docker (Python SDK) on the host
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Read the limits back
  sixty_sales.memory_optimized.container_memory_info:
    stack: sixty
    expected: {redis: {memory: 67108864}}
    fail_on_difference: true
"""

RETURN = r"""
containers:
  description: One entry a container, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: The container's id., type: str}
    name: {description: The container's name., type: str}
    service: {description: The service it belongs to., type: str}
    running: {description: Whether it runs., type: bool}
    health:
        description: Result of the health check, V(stale) where the engine has stopped asking for it, or V(none).
        type: str
    probe: {description: What the last health check said; empty unless it failed., type: str}
    started: {description: "Time of the last start (RFC 3339, UTC).", type: str}
    restarts: {description: Restarts since it was created., type: int}
    user: {description: User and group numbers., type: str}
    definition: {description: Digest of the definition that roles/container made it from., type: str}
    image: {description: "Reference of its image, as it was made from.", type: str}
    image_current: {description: Whether its image is the one that its reference names today., type: bool}
    networks: {description: Names of its networks., type: list}
    restart_policy: {description: Its restart policy., type: str}
    engine: {description: Limits as the engine has them., type: dict}
    kernel: {description: Memory figures in bytes and limits as the kernel has them; absent unless it runs., type: dict}
    differences: {description: Where engine or kernel differ from O(expected)., type: list}
    gaps: {description: Hardening that is missing., type: list}
parent:
  description: Usage, unreclaimable memory and limit of the parent cgroup in bytes; empty where there is none.
  returned: success
  type: dict
"""

import datetime
import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import cgroup, limits, stack_host

try:
    import docker
except ImportError:
    docker = None


def read_text(path):
    """A file's text; None for one that is absent or vanished with its cgroup while it was read."""
    try:
        with open(path, encoding="ascii") as handle:
            return handle.read()
    except OSError:
        return None


def kernel_view(pid, version):
    text = read_text(f"/proc/{pid}/cgroup") if pid else None
    if text is None:
        return None
    figures = cgroup.read(version, "/sys/fs/cgroup", cgroup.membership(text), read_text)
    # A container that ended meanwhile takes its files away one by one, and an absent file reads as "no limit".
    return figures if read_text(f"/proc/{pid}/cgroup") == text else None


def parent_view(stack, driver, version):
    """The stack's own cgroup, which holds all of its containers."""
    root = stack_host.memory_root(version)
    path = stack_host.parent_directory(stack, driver, version)[len(root) :]
    figures = cgroup.read(version, stack_host.CGROUPS, {"": path, "memory": path}, read_text)
    return {name: figures[name] for name in ("usage", "unreclaimable", "limit")} if figures else {}


def last_probe(health):
    """The first line that a failing health check wrote last."""
    log = [entry for entry in health.get("Log") or [] if entry.get("ExitCode")]
    return (log[-1].get("Output") or "").strip().partition("\n")[0] if log else ""


def health_status(inspect, now):
    """The engine's last word, unless three probes are overdue.

    One before 23.0 asks no more for the health of what ran on while it was restarted, and says what it was before
    (moby/moby#41871).
    """
    state, check = inspect["State"], inspect["Config"].get("Healthcheck") or {}
    health = state.get("Health") or {}
    # The engine keeps the last result of a container that was stopped.
    if not state.get("Running") or not health.get("Status"):
        return "none"
    log = health.get("Log") or []
    asked = log[-1].get("End") if log else state.get("StartedAt")
    if not asked or not check.get("Interval"):
        return health["Status"]
    # 2026-11-25T17:34:59.305886547Z, or with the host's offset.
    zone = asked[19:].lstrip(".0123456789")
    since = now - datetime.datetime.strptime(asked[:19] + zone, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    patience = 3 * (check["Interval"] + check.get("Timeout", 0)) + check.get("StartPeriod", 0)
    return "stale" if since > patience / 1e9 else health["Status"]


def view(inspect, version, expected, images):
    state = inspect["State"]
    health = state.get("Health") or {}
    service = inspect["Config"]["Labels"].get("sixty.service", "")
    engine = limits.engine_values(inspect["HostConfig"])
    kernel = kernel_view(state.get("Pid"), version)
    return {
        "id": inspect["Id"],
        "name": inspect["Name"].lstrip("/"),
        "service": service,
        "release": inspect["Config"]["Labels"].get("sixty.release", ""),
        "running": bool(state.get("Running")),
        "health": health_status(inspect, time.time()),
        "probe": last_probe(health) if health.get("Status") == "unhealthy" else "",
        "started": state.get("StartedAt", ""),
        "restarts": inspect["RestartCount"],
        "user": inspect["Config"].get("User", ""),
        "engine": engine,
        "kernel": kernel,
        "definition": inspect["Config"]["Labels"].get("sixty.definition", ""),
        "image": inspect["Config"]["Image"],
        "image_current": images.get(inspect["Config"]["Image"]) == inspect["Image"],
        "networks": sorted(inspect["NetworkSettings"]["Networks"]),
        "restart_policy": inspect["HostConfig"]["RestartPolicy"]["Name"],
        "differences": limits.differences(expected.get(service, {}), engine, kernel),
        "gaps": limits.hardening_gaps(inspect),
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "expected": {"type": "dict", "default": {}},
            "fail_on_difference": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    stack = module.params["stack"]
    expected = {}
    for service, arguments in module.params["expected"].items():
        try:
            expected[service] = limits.wanted_values(arguments)
        except (AttributeError, ValueError) as error:
            module.fail_json(msg=f"What is expected of {service} cannot be read: {error}. Nothing was changed.")
    try:
        client = docker.from_env()
        info = client.info()
        version = int(info.get("CgroupVersion") or 1)
        images = {tag: image["Id"] for image in client.api.images() for tag in image["RepoTags"] or []}
        found = [
            view(client.api.inspect_container(entry["Id"]), version, expected, images)
            for entry in client.api.containers(all=True, filters={"label": f"sixty.stack={stack}"})
        ]
    except docker.errors.NotFound:
        module.fail_json(msg="A container vanished while it was read. Nothing was changed; try again.")
    # requests' errors, such as an engine that goes away in the middle, are OSErrors.
    except (docker.errors.DockerException, OSError) as error:
        module.fail_json(msg=f"The engine does not answer: {error}. Nothing was changed.")

    parent = parent_view(stack, info["CgroupDriver"], version)
    found.sort(key=lambda entry: entry["name"])
    problems = [
        limits.describe(entry["name"], problem) for entry in found for problem in entry["differences"] + entry["gaps"]
    ]
    if problems and module.params["fail_on_difference"]:
        module.fail_json(
            msg=f"{len(problems)} settings are not what the memory budget and the hardening ask for. The containers "
            "go on running as they are. Deploy again; if this stays, the kernel or the engine refuses a setting:\n  "
            + "\n  ".join(problems),
            containers=found,
            parent=parent,
        )
    module.exit_json(changed=False, containers=found, parent=parent)


if __name__ == "__main__":
    main()
