# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a container has what the budget gives it, by the engine's word and by the kernel's."""

from __future__ import annotations

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.stack_host import page_floor

# Argument of docker_container -> the engine's HostConfig field.
ENGINE_FIELDS = {
    "memory": "Memory",
    "memory_swap": "MemorySwap",
    "memory_reservation": "MemoryReservation",
    "cpu_quota": "CpuQuota",
    "cpu_period": "CpuPeriod",
    "cpu_shares": "CpuShares",
    "pids_limit": "PidsLimit",
    "oom_score_adj": "OomScoreAdj",
}
# The same argument -> what cgroup.read() calls it.
KERNEL_FIELDS = {
    "memory": "limit",
    "memory_reservation": "reservation",
    "cpu_quota": "cpu_quota",
    "cpu_period": "cpu_period",
    "pids_limit": "pids_limit",
}


def wanted_values(arguments):
    """Arguments of docker_container as numbers, the ones alone that limit it. Raises ValueError for a size without
    a meaning."""
    return {
        name: parse_size(value) if name.startswith("memory") else value
        for name, value in arguments.items()
        if name in ENGINE_FIELDS
    }


def engine_values(host_config):
    """The limits that the engine has recorded, by the argument's names."""
    return {name: host_config.get(field) for name, field in ENGINE_FIELDS.items()}


def differences(wanted, engine, kernel):
    """Where engine or kernel differ from the budget; each a dict with setting, wanted, found and by.

    C(wanted) comes from C(wanted_values), C(engine) from C(engine_values), C(kernel) from C(cgroup.read).
    C(kernel) is None for a container that does not run: then there is nothing to enforce.
    """
    found = []
    for name, value in wanted.items():
        if engine[name] != value:
            found.append({"setting": name, "wanted": value, "found": engine[name], "by": "engine"})
        if kernel and name in KERNEL_FIELDS:
            enforced = page_floor(value) if name.startswith("memory") else value
            if kernel[KERNEL_FIELDS[name]] != enforced:
                found.append({"setting": name, "wanted": value, "found": kernel[KERNEL_FIELDS[name]], "by": "kernel"})
    # Memory and memory plus swap are equal: no swap. None is a kernel that does not account swap.
    if kernel and kernel["swap"] not in (0, None):
        found.append({"setting": "swap", "wanted": 0, "found": kernel["swap"], "by": "kernel"})
    return found


def hardening_gaps(inspect):
    """What a container lacks of the hardening that roles/container gives every one."""
    config, host = inspect["Config"], inspect["HostConfig"]
    user = (config.get("User") or "0").split(":")[0]
    checks = {
        "runs as root": user in ("0", "root", ""),
        "root file system is writable": not host.get("ReadonlyRootfs"),
        "capabilities are not dropped": "ALL" not in (host.get("CapDrop") or []) or bool(host.get("CapAdd")),
        # Compose writes "no-new-privileges:true".
        "privileges can be gained": not {"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}
        & set(host.get("SecurityOpt") or []),
        "is privileged": bool(host.get("Privileged")),
        "has no init": not host.get("Init"),
        "log does not rotate": "max-size" not in (host.get("LogConfig", {}).get("Config") or {}),
    }
    return [name for name, gap in checks.items() if gap]


def describe(name, gaps):
    """One line of an error message."""
    if isinstance(gaps, dict):
        return f"{name}: {gaps['setting']} should be {gaps['wanted']}, the {gaps['by']} has {gaps['found']}"
    return f"{name}: {gaps}"
