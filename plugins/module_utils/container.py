# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to run a container: what a service's definition becomes, for the engine and for Compose.

A definition says what makes a service different: image, user, command, environment, networks, volumes,
ports, health check, stop signal. The budget says what it may use. Hardening is the same for all.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.limits import ENGINE_FIELDS
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.resources import CPU_SHARES
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB, human, parse_size
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.stack_host import cgroup_parent

REQUIRED = {"image", "user", "networks", "healthcheck"}
OPTIONAL = {
    "command",
    "environment",
    "aliases",
    "volumes",
    "ports",
    "stop_signal",
    "stop_timeout",
    "config_digest",
    "labels",
}
LISTS = {"command", "networks", "aliases", "volumes", "ports"}
STATES = ("started", "present", "once", "waiting")
LOG_OPTIONS = {"max-size": "5m", "max-file": "3"}
Arguments = t.Dict[str, t.Any]


def check(service: str, definition: t.Mapping[str, t.Any]) -> None:
    """Raises ValueError for a definition with a missing or an unknown key; limits belong into the budget."""
    missing, unknown = sorted(REQUIRED - set(definition)), sorted(set(definition) - REQUIRED - OPTIONAL)
    if missing:
        raise ValueError(f"the definition of {service} misses {', '.join(missing)}")
    if unknown:
        raise ValueError(f"the definition of {service} has unknown keys: {', '.join(unknown)}")
    texts = sorted(name for name in LISTS & set(definition) if isinstance(definition[name], str))
    if texts:
        raise ValueError(f"the definition of {service} has a text where a list belongs: {', '.join(texts)}")


def hardening(user: t.Mapping[str, int]) -> Arguments:
    """What every container gets: an unprivileged user, a read-only root, no capabilities, an init that reaps."""
    return {
        "user": f"{user['uid']}:{user['gid']}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opts": ["no-new-privileges"],
        "init": True,
        # The engine's resolver passes on the name of a stopped service, and nobody answers on an internal
        # network. The default of 5 s twice would block a resolver thread for 10 s; this is 1 s.
        "dns_opts": ["timeout:1", "attempts:1"],
        "log_driver": "json-file",
        "log_options": LOG_OPTIONS,
    }


def digest(arguments: Arguments) -> str:
    """16 hexadecimal digits over all but the limits, which are read back one by one."""
    fixed = {name: value for name, value in arguments.items() if name not in ENGINE_FIELDS}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


def container_arguments(
    definition: t.Mapping[str, t.Any],
    service: str,
    name: str,
    resources: Arguments,
    user: t.Mapping[str, int],
    stack: str,
    driver: str,
    state: str = "started",
) -> Arguments:
    """Arguments of community.docker.docker_container.

    C(state): C(started); C(present) makes a release's container that the switch starts; C(once) runs a
    one-off to its end and removes it; C(waiting) makes one that blue_green runs and removes. Raises
    ValueError for a definition that is not one.
    """
    check(service, definition)
    if state not in STATES:
        raise ValueError(f"{state!r} is no state of a container; use {', '.join(STATES)}")
    once = state in ("once", "waiting")
    arguments: Arguments = {
        "name": name,
        "image": definition["image"],
        "state": "present" if state in ("present", "waiting") else "started",
        # A one-off is waited for, speaks through its output, and leaves nothing behind.
        "detach": state != "once",
        "cleanup": state == "once",
        # Images come from roles/image and from nowhere else.
        "pull": "never",
        "env": dict(definition.get("environment", {})),
        "volumes": list(definition.get("volumes", [])),
        "published_ports": list(definition.get("ports", [])),
        "networks": [
            {"name": f"{stack}-{network}", "aliases": [service, *definition.get("aliases", [])]}
            for network in definition["networks"]
        ],
        "healthcheck": dict(definition["healthcheck"]),
        "stop_signal": definition.get("stop_signal", "SIGTERM"),
        "stop_timeout": definition.get("stop_timeout", 10),
        "restart_policy": "no" if once else "unless-stopped",
        "cgroup_parent": cgroup_parent(stack, service, driver),
        # What an image brings along (environment, labels, volumes) is not part of the definition, and a
        # release that is only created gets its slot's address from the switch.
        "comparisons": {
            "env": "allow_more_present",
            "labels": "allow_more_present",
            "volumes": "allow_more_present",
            "networks": "allow_more_present" if state == "present" else "strict",
        },
        **hardening(user),
        **resources,
    }
    if "command" in definition:
        arguments["command"] = list(definition["command"])
    labels = {
        **definition.get("labels", {}),
        "sixty.stack": stack,
        "sixty.service": "once" if once else service,
        "sixty.config": definition.get("config_digest", ""),
    }
    arguments["labels"] = labels
    arguments["labels"] = {**labels, "sixty.definition": digest(arguments)}
    return arguments


class Change(t.NamedTuple):
    """What becomes of a container. C(action) is none, create, start, update or recreate; C(said) is for a person, and
    C(tight) is why the update would get it killed, or empty."""

    action: str
    said: str
    tight: str = ""


# Of a limit, what may be in use when it is lowered under a running program. The watch of a release thinks so as well.
FULL = 0.9


def container_change(arguments: Arguments, observed: t.Iterable[t.Mapping[str, t.Any]]) -> Change:
    """The least that makes a container what it is wanted to be, from the entries of container_memory_info.

    The engine lets nobody change a container but for its limits, restart policy and networks. So one that
    carries the digest of all the rest, and whose changeable settings were read back as wanted, is as wanted.
    """
    name = arguments["name"]
    entry = next((entry for entry in observed if entry["name"] == name), None)
    if entry is None:
        return Change("create", f"{name} is made and started.")
    if entry["definition"] != arguments["labels"]["sixty.definition"]:
        image = arguments["image"]
        why = f"image {entry['image']} -> {image}" if entry["image"] != image else "its definition; --diff shows it"
        return Change("recreate", f"{name} is stopped and made anew: {why}.")
    if not entry["image_current"]:
        return Change("recreate", f"{name} is stopped and made anew: {entry['image']} is another build now.")
    changed = changed_limits(entry["differences"])
    here, wanted = set(entry["networks"]), {network["name"] for network in arguments["networks"]}
    if here != wanted if arguments["comparisons"]["networks"] == "strict" else wanted - here:
        changed.append("networks")
    if entry["restart_policy"] != arguments["restart_policy"]:
        changed.append(f"restart policy {entry['restart_policy']} -> {arguments['restart_policy']}")
    if changed:
        return Change("update", f"{name} is changed in place: {', '.join(changed)}.", tight(entry, arguments["memory"]))
    # A release's container is started and stopped by the switch.
    starts = arguments["state"] == "started" and not entry["running"]
    return Change("start", f"{name} is started.") if starts else Change("none", "")


def changed_limits(differences: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[str]:
    """A text for each setting, whether the engine or the kernel has it otherwise; without swap, which follows."""
    found: t.Dict[str, str] = {}
    for gap in differences:
        name = gap["setting"]
        values = (gap["found"] or 0, gap["wanted"])
        before, after = (human(value) if name.startswith("memory") and value > 0 else value for value in values)
        found.setdefault(name, f"{name} {before or 'none'} -> {after}")
    if "memory" in found:
        found.pop("memory_swap", None)
    return list(found.values())


def tight(entry: t.Mapping[str, t.Any], wanted: t.Union[int, str]) -> str:
    """Why a running container cannot be given this limit, or nothing.

    Below what is in use, version 1 of cgroups refuses a limit, and version 2 takes it and kills.
    """
    limit, kernel = parse_size(wanted), entry.get("kernel")
    if not kernel or not 0 < limit < kernel["limit"] or kernel["unreclaimable"] <= limit * FULL:
        return ""
    enough = -(-int(kernel["unreclaimable"] / FULL) // MIB)
    return (
        f"{entry['name']} uses {kernel['unreclaimable'] / MIB:.0f} MB that it would have to give back for a limit of "
        f"{limit / MIB:.0f} MB: the kernel would kill it. It goes on with {kernel['limit'] / MIB:.0f} MB. "
        f"Give it {enough} MB or more, or restart it first (make restart-services SERVICES={entry['service']}) and "
        "deploy again."
    )


def container_settled(arguments: Arguments, observed: t.Iterable[t.Mapping[str, t.Any]]) -> bool:
    """Whether a started container is as wanted, so that it costs no task of its own."""
    return container_change(arguments, observed).action == "none"


def compose_service(arguments: Arguments, service: str, stack: str) -> Arguments:
    """The same container as a service of a Compose file (compose-spec, deploy.md and spec.md)."""
    # What the budget leaves open is left open here.
    quota, shares = arguments.get("cpu_quota"), arguments.get("cpu_shares")
    limits: Arguments = {
        "cpus": quota and f"{quota / arguments['cpu_period']:g}",
        "memory": arguments["memory"],
        "pids": arguments.get("pids_limit"),
    }
    reservations: Arguments = {
        # Shares are whole, and a budget has two digits.
        "cpus": shares and f"{round(shares / CPU_SHARES, 2):g}",
        "memory": arguments.get("memory_reservation"),
    }
    health = arguments["healthcheck"]
    entry: Arguments = {
        "image": arguments["image"],
        "container_name": arguments["name"],
        "user": arguments["user"],
        "environment": arguments["env"],
        "networks": {
            network["name"][len(stack) + 1 :]: {"aliases": network["aliases"]} for network in arguments["networks"]
        },
        "volumes": arguments["volumes"],
        "ports": arguments["published_ports"],
        "healthcheck": {**health, "test": literal(health["test"])},
        "stop_signal": arguments["stop_signal"],
        "stop_grace_period": f"{arguments['stop_timeout']}s",
        "restart": arguments["restart_policy"],
        "init": True,
        "read_only": True,
        "cap_drop": arguments["cap_drop"],
        "security_opt": arguments["security_opts"],
        "dns_opt": arguments["dns_opts"],
        "tmpfs": arguments.get("tmpfs", []),
        "logging": {"driver": arguments["log_driver"], "options": arguments["log_options"]},
        "memswap_limit": arguments["memory_swap"],
        "cpu_shares": shares,
        "oom_score_adj": arguments.get("oom_score_adj"),
        "labels": {"sixty.stack": stack, "sixty.service": service},
        "deploy": {"resources": {"limits": given(limits), "reservations": given(reservations)}},
        "command": literal(arguments.get("command", [])),
        "shm_size": arguments.get("shm_size"),
    }
    return given(entry)


def given(entry: Arguments) -> Arguments:
    """Without what is not set."""
    return {name: value for name, value in entry.items() if value not in (None, [], {})}


def literal(words: t.Any) -> t.Any:
    """A text or a list of texts for Compose, which substitutes variables: a dollar that is meant is written twice."""
    return words.replace("$", "$$") if isinstance(words, str) else [word.replace("$", "$$") for word in words]
