# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a container's memory from its cgroup, version 1 and 2, in cAdvisor's terms.

All sizes are bytes. The meanings are those of google/cadvisor (lib/container/libcontainer/handler.go):
usage counts the page cache, the working set is usage without the inactive part of it, and rss is
anonymous memory. C(unreclaimable) is ours: usage without all file pages that the kernel could give
back, since the working set of a database that reads its files is high for nothing.

This file is there twice, in plugins/module_utils and below roles/image/files/memory_monitor: a build context
ends at its folder, and the Galaxy archive leaves links out. A test keeps the two equal.
"""

from __future__ import annotations

# cgroup v1 says "no limit" with the largest page-aligned 63-bit number.
UNLIMITED_V1 = 0x7FFFFFFFFFFFF000


def parse_stat(text):
    """A flat-keyed file such as C(memory.stat) as a dict of numbers."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def parse_limit(text):
    """A limit in bytes; 0 is no limit."""
    text = text.strip()
    if text == "max":
        return 0
    value = int(text)
    return 0 if value >= UNLIMITED_V1 else value


def memory_v1(usage, stat, limit, peak, failcnt, oom_control):
    """Figures of a cgroup v1 memory controller."""
    inactive, active = stat.get("total_inactive_file", 0), stat.get("total_active_file", 0)
    return {
        "usage": usage,
        "working_set": max(0, usage - inactive),
        "unreclaimable": max(0, usage - inactive - active),
        "rss": stat.get("total_rss", 0),
        "cache": stat.get("total_cache", 0),
        "limit": limit,
        "peak": peak,
        "failcnt": failcnt,
        "oom_kills": oom_control.get("oom_kill", 0),
    }


def memory_v2(usage, stat, limit, peak, events):
    """Figures of a cgroup v2 memory controller. C(peak) is None before kernel 5.19."""
    inactive, active = stat.get("inactive_file", 0), stat.get("active_file", 0)
    return {
        "usage": usage,
        "working_set": max(0, usage - inactive),
        "unreclaimable": max(0, usage - inactive - active),
        "rss": stat.get("anon", 0),
        "cache": stat.get("file", 0),
        "limit": limit,
        "peak": peak,
        "failcnt": events.get("max", 0),
        "oom_kills": events.get("oom_kill", 0),
    }


def membership(text):
    """Controller -> path, of C(/proc/<pid>/cgroup); the key of cgroup v2 is the empty string."""
    found = {}
    for line in text.splitlines():
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def read(version, root, member, opener):
    """The figures of one cgroup, and what it enforces.

    C(opener) takes a path and gives the file's text, or None where there is no such file, so that a
    fixture tree can stand in for the kernel. None is returned for a cgroup that has vanished.
    """
    if version == 2:
        base = root + member[""]

        def file(name, default=None):
            text = opener(f"{base}/{name}")
            return default if text is None else text

        current = file("memory.current")
        if current is None:
            return None
        peak = file("memory.peak")
        memory = memory_v2(
            int(current),
            parse_stat(file("memory.stat", "")),
            parse_limit(file("memory.max", "max")),
            int(peak) if peak is not None else None,
            parse_stat(file("memory.events", "")),
        )
        quota, period = [*file("cpu.max", "max").split(), "100000"][:2]
        swap = file("memory.swap.max")
        return dict(
            memory,
            reservation=parse_limit(file("memory.low", "0")),
            swap=None if swap is None else parse_limit(swap) if swap.strip() != "max" else -1,
            cpu_quota=-1 if quota == "max" else int(quota),
            cpu_period=int(period),
            pids_limit=parse_limit(file("pids.max", "max")),
        )

    def controller(name, entry, default=None):
        text = opener(f"{root}/{name}{member.get(name, '/')}/{entry}")
        return default if text is None else text

    current = controller("memory", "memory.usage_in_bytes")
    if current is None:
        return None
    limit = parse_limit(controller("memory", "memory.limit_in_bytes", str(UNLIMITED_V1)))
    memsw = controller("memory", "memory.memsw.limit_in_bytes")
    memory = memory_v1(
        int(current),
        parse_stat(controller("memory", "memory.stat", "")),
        limit,
        int(controller("memory", "memory.max_usage_in_bytes", "0")),
        int(controller("memory", "memory.failcnt", "0")),
        parse_stat(controller("memory", "memory.oom_control", "")),
    )
    return dict(
        memory,
        reservation=parse_limit(controller("memory", "memory.soft_limit_in_bytes", str(UNLIMITED_V1))),
        # None is a kernel without swap accounting, -1 is swap without a limit.
        swap=None if memsw is None else parse_limit(memsw) - limit if parse_limit(memsw) else -1,
        cpu_quota=int(controller("cpu", "cpu.cfs_quota_us", "-1")),
        cpu_period=int(controller("cpu", "cpu.cfs_period_us", "100000")),
        pids_limit=parse_limit(controller("pids", "pids.max", "max")),
    )


def cpu_shares(weight):
    """A cgroup v2 weight as version 1's shares (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value)."""
    return 2 + (weight - 1) * 262142 // 9999


def parse_pressure(text):
    """(some, full) of a PSI file (Documentation/accounting/psi.rst): seconds in which tasks waited for memory."""
    totals = {line.split()[0]: int(line.rpartition("total=")[2]) / 1e6 for line in text.splitlines()}
    return totals["some"], totals["full"]


def read_activity(version, root, member, opener):
    """What a cgroup does, beside the memory that C(read) tells; arguments as there. Times are seconds.

    C(tasks) counts threads: the list of another PID namespace's processes is empty on cgroup v1. None stands for
    what this kernel does not tell, such as pressure on cgroup v1.
    """

    def file(controller, entry):
        return opener(
            f"{root}{member['']}/{entry}" if version == 2 else f"{root}/{controller}{member[controller]}/{entry}"
        )

    def number(controller, entry):
        text = file(controller, entry)
        return None if text is None else int(text)

    memory, cpu = parse_stat(file("memory", "memory.stat") or ""), parse_stat(file("cpu", "cpu.stat") or "")
    found = {
        "tasks": number("pids", "pids.current"),
        "periods": cpu.get("nr_periods"),
        "throttled_periods": cpu.get("nr_throttled"),
    }
    if version == 2:
        weight, pressure = number("cpu", "cpu.weight"), file("memory", "memory.pressure")
        waiting, stalled = (None, None) if pressure is None else parse_pressure(pressure)
        return dict(
            found,
            mapped_file=memory.get("file_mapped", 0),
            swap_usage=number("memory", "memory.swap.current"),
            cpu_seconds=cpu["usage_usec"] / 1e6 if "usage_usec" in cpu else None,
            throttled_seconds=cpu["throttled_usec"] / 1e6 if "throttled_usec" in cpu else None,
            cpu_shares=None if weight is None else cpu_shares(weight),
            pressure_waiting=waiting,
            pressure_stalled=stalled,
        )
    usage = number("cpuacct", "cpuacct.usage")
    return dict(
        found,
        mapped_file=memory.get("total_mapped_file", 0),
        swap_usage=memory.get("total_swap"),
        cpu_seconds=None if usage is None else usage / 1e9,
        throttled_seconds=cpu["throttled_time"] / 1e9 if "throttled_time" in cpu else None,
        cpu_shares=number("cpu", "cpu.shares"),
        pressure_waiting=None,
        pressure_stalled=None,
    )
