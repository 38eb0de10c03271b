# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack stands on outside of the engine: parent cgroup, directories, sysctls.

Everything here is pure: it turns wishes and observations into a list of steps. A step is a
dict with C(kind), C(target), C(before) and C(after); the module applies it as it stands.

The parent cgroup: a container is placed with C(cgroup_parent) below one cgroup a service, and
those below one cgroup a stack, whose limit is the total budget. The kernel then enforces the
sum, whatever the single limits say. Service cgroups are kept when their container ends, so
that the kernel's OOM counters of a dead container can still be read.
"""

from __future__ import annotations

import re

# The kernel rounds a limit down to a whole page, and reports "no limit" on cgroup v1 as the
# largest page-aligned 63-bit number (Documentation/admin-guide/cgroup-v1/memory.rst).
PAGE = 4096
UNIT_DIR = "/etc/systemd/system"
CGROUPS = "/sys/fs/cgroup"


def cgroup_parent(stack, service, driver):
    """The C(cgroup_parent) of a service's containers, as the engine wants it.

    The systemd driver accepts only names that end in C(.slice), and a dash nests one level
    (moby/moby#33876; systemd.slice(5)); the cgroupfs driver takes a path.
    """
    if driver == "systemd":
        return f"{stack}-{service}.slice"
    return f"/{stack}/{service}"


def memory_root(version):
    """Where the memory controller's files are, on this cgroup version."""
    return CGROUPS if version == 2 else f"{CGROUPS}/memory"


def check_name(stack, driver):
    """An error message for a name that cannot be one cgroup, or None."""
    dash = "" if driver == "systemd" else "-"
    if re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_.{dash}]*", stack):
        return None
    return (
        f"{stack!r} cannot be the name of a stack. Use letters, digits, underscores and dots, beginning with a letter "
        "or a digit; with the systemd driver, a dash would nest its slice below another one. Nothing was changed."
    )


def parent_directory(stack, driver, version):
    """The directory of the parent cgroup's files."""
    name = f"{stack}.slice" if driver == "systemd" else stack
    return f"{memory_root(version)}/{name}"


def limit_files(version):
    """(file of the limit, file of memory plus swap or None, value of 'no swap')."""
    if version == 2:
        return "memory.max", "memory.swap.max"
    return "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"


def page_floor(value):
    """The limit as the kernel will report it."""
    return value // PAGE * PAGE


def slice_unit(description, limit=None, low=None):
    """Text of a slice unit. Limits belong into the unit, never into the file system, since
    systemd owns the cgroup and resets it (moby/moby#33876)."""
    lines = ["[Unit]", f"Description={description}", "Before=slices.target", "", "[Slice]", "MemoryAccounting=yes"]
    if limit is not None:
        lines += [f"MemoryMax={page_floor(limit)}", "MemorySwapMax=0"]
    if low:
        lines += [f"MemoryLow={low}"]
    return "\n".join([*lines, "", "[Install]", "WantedBy=slices.target", ""])


def desired_units(stack, limit, reservations):
    """Unit file name -> text, for the systemd driver.

    A reservation protects a container on cgroup v2 only where the slices above it carry
    C(MemoryLow) too, so every level gets it (Documentation/admin-guide/cgroup-v2.rst).
    """
    units = {f"{stack}.slice": slice_unit(f"Memory budget of the {stack} stack", limit, sum(reservations.values()))}
    for service in sorted(reservations):
        units[f"{stack}-{service}.slice"] = slice_unit(f"{service} of the {stack} stack", low=reservations[service])
    return units


def plan_files(kind, desired, observed):
    """Steps that make files carry the desired text; C(observed) maps a path to its text or None."""
    return [
        {"kind": kind, "target": path, "before": observed.get(path), "after": text}
        for path, text in sorted(desired.items())
        if observed.get(path) != text
    ]


def plan_limits(directory, version, limit, observed):
    """Steps that write the parent's limits, in an order that the kernel accepts.

    On cgroup v1, memory must never exceed memory plus swap: raise the latter first, lower the
    former first. C(observed) maps a file's name to its number, -1 for no limit, None for a file of a cgroup
    that is yet to be made; a file that is missing in it is absent (swap accounting switched off).
    """
    memory, swap = limit_files(version)
    wanted = {memory: page_floor(limit), swap: 0 if version == 2 else page_floor(limit)}
    order = [memory, swap]
    now = observed.get(memory)
    # A cgroup that is yet to be made starts without a limit, so there is nothing to raise.
    if version == 1 and now is not None and now < wanted[memory]:
        order.reverse()
    return [
        {"kind": "cgroup_limit", "target": f"{directory}/{name}", "before": observed.get(name), "after": wanted[name]}
        for name in order
        # An absent swap file is a kernel without swap accounting; an absent limit is one that the kernel will give.
        if observed.get(name) != wanted[name] and (name in observed or name == memory)
    ]


def tight(parent, limit, wanted, used):
    """Why the parent's limit cannot be lowered now, or None; C(used) is memory that its containers cannot give back.

    Below it, version 1 of cgroups refuses a limit, and version 2 takes it and kills. C(limit) is None or -1 for none.
    """
    if wanted >= used or limit is None or 0 <= limit <= wanted:
        return None
    return (
        f"The containers in {parent} use {used >> 20} MB that they cannot give back, and its limit is to be "
        f"{wanted >> 20} MB: the kernel would kill one of them. Nothing was changed. Stop what is not needed, or leave "
        "the stack more."
    )


def plan_directories(desired, observed):
    """Steps that make directories with owner, group and mode.

    C(desired) is a list of dicts with path, uid, gid, mode (int); C(observed) maps a path to
    None or to a dict of the same keys with C(directory), which says whether it is one.
    """
    steps, errors = [], []
    for wish in desired:
        have = observed.get(wish["path"])
        if have and not have["directory"]:
            errors.append(f"{wish['path']} exists and is not a directory. Nothing was changed; move it away.")
            continue
        before = None if have is None else {key: have[key] for key in ("uid", "gid", "mode")}
        after = {key: wish[key] for key in ("uid", "gid", "mode")}
        if before != after:
            steps.append({"kind": "directory", "target": wish["path"], "before": before, "after": after})
    return steps, errors


def sysctl_file(stack):
    """The file that sets the stack's kernel settings after a boot."""
    return f"/etc/sysctl.d/60-{stack}.conf"


def boot_file(stack):
    """The file that makes the parent cgroup again after a boot, where the engine does not use systemd's slices."""
    return f"/etc/tmpfiles.d/60-{stack}.conf"


def boot_lines(directory, version, limit):
    """Text of that file (tmpfiles.d(5)): the engine itself would make the parent again, but without its limit."""
    memory, swap = limit_files(version)
    values = {memory: page_floor(limit), swap: 0 if version == 2 else page_floor(limit)}
    lines = [f"d {directory} 0755 root root -"]
    return "\n".join([*lines, *(f"w {directory}/{name} - - - - {value}" for name, value in values.items()), ""])


def plan_sysctls(stack, desired, observed):
    """Steps for kernel settings: the running value, and the file that sets it after a boot."""
    steps = [
        {"kind": "sysctl", "target": name, "before": observed["values"].get(name), "after": str(value)}
        for name, value in sorted(desired.items())
        if observed["values"].get(name) != str(value)
    ]
    text = "".join(f"{name} = {value}\n" for name, value in sorted(desired.items()))
    path = sysctl_file(stack)
    # No settings need no file.
    wanted = {path: text} if text or observed["files"].get(path) else {}
    return steps + plan_files("file", wanted, observed["files"])


def diff(steps):
    """Before and after, a line a step, for the module's diff."""

    def line(step, side):
        value = step[side]
        if isinstance(value, dict):
            value = f"{value['uid']}:{value['gid']} {value['mode']:04o}"
        if isinstance(value, str) and "\n" in value:
            return "".join(f"{step['target']}: {row}\n" for row in value.splitlines())
        return "" if value is None else f"{step['target']}: {value}\n"

    return {side: "".join(line(step, side) for step in steps) for side in ("before", "after")}
