# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cgroup trees on disk, version 1 and 2, of both of Docker's drivers; files as kernel 6.1 and 6.8 write them, cut to
what counts. The benchmark of the Memory Monitor is fed from them as well."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

MB = 1 << 20
NO_LIMIT = 9223372036854771712


def identity(number: int) -> str:
    """The id of a container."""
    return f"{number:064x}"


class Figures:
    """What the files of one container say; sizes in bytes, times in seconds."""

    def __init__(self, **changes: float) -> None:
        self.usage, self.inactive_file, self.active_file = 60 * MB, 10 * MB, 15 * MB
        self.limit, self.reservation, self.peak = 64 * MB, 32 * MB, 63 * MB
        self.rss, self.cache, self.mapped, self.swap = 25 * MB, 30 * MB, 4 * MB, 1 * MB
        self.failcnt, self.oom_kills, self.tasks = 12, 0, 7
        self.cpu, self.throttled, self.periods, self.throttled_periods, self.shares = 2.5, 0.25, 100, 5, 256
        self.waiting, self.stalled = 1.5, 0.5
        self.quota = 50000
        for name, value in changes.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    def v1(self) -> dict[str, str]:
        stat = {
            # The plain ones are without children.
            **{"cache": 1, "rss": 2, "mapped_file": 3, "swap": 4, "inactive_file": 5, "active_file": 6},
            **{"total_cache": self.cache, "total_rss": self.rss, "total_mapped_file": self.mapped},
            "total_swap": self.swap,
            **{"total_inactive_file": self.inactive_file, "total_active_file": self.active_file},
        }
        return {
            "memory/memory.usage_in_bytes": f"{self.usage}\n",
            "memory/memory.limit_in_bytes": f"{self.limit or NO_LIMIT}\n",
            "memory/memory.memsw.limit_in_bytes": f"{self.limit or NO_LIMIT}\n",
            "memory/memory.soft_limit_in_bytes": f"{self.reservation or NO_LIMIT}\n",
            "memory/memory.max_usage_in_bytes": f"{self.peak}\n",
            "memory/memory.failcnt": f"{self.failcnt}\n",
            "memory/memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {self.oom_kills}\n",
            "memory/memory.stat": flat(stat),
            "cpu/cpu.cfs_quota_us": f"{self.quota}\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.shares": f"{self.shares}\n",
            "cpu/cpu.stat": flat(
                {
                    "nr_periods": self.periods,
                    "nr_throttled": self.throttled_periods,
                    "throttled_time": round(self.throttled * 1e9),
                }
            ),
            "cpuacct/cpuacct.usage": f"{round(self.cpu * 1e9)}\n",
            "pids/pids.max": "32\n",
            "pids/pids.current": f"{self.tasks}\n",
        }

    def v2(self) -> dict[str, str]:
        stat = {"anon": self.rss, "file": self.cache, "file_mapped": self.mapped}
        stat.update(inactive_file=self.inactive_file, active_file=self.active_file)
        pressure = "{} avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
        return {
            "memory.current": f"{self.usage}\n",
            "memory.max": f"{self.limit or 'max'}\n",
            "memory.low": f"{self.reservation}\n",
            "memory.swap.max": "0\n",
            "memory.swap.current": f"{self.swap}\n",
            "memory.peak": f"{self.peak}\n",
            "memory.events": f"low 0\nhigh 0\nmax {self.failcnt}\noom 1\noom_kill {self.oom_kills}\n",
            "memory.stat": flat(stat),
            "memory.pressure": pressure.format("some", round(self.waiting * 1e6))
            + pressure.format("full", round(self.stalled * 1e6)),
            "cpu.max": f"{'max' if self.quota < 0 else self.quota} 100000\n",
            "cpu.weight": f"{round((self.shares - 2) * 9999 / 262142 + 1)}\n",
            "cpu.stat": flat(
                {
                    "usage_usec": round(self.cpu * 1e6),
                    "nr_periods": self.periods,
                    "nr_throttled": self.throttled_periods,
                    "throttled_usec": round(self.throttled * 1e6),
                }
            ),
            "pids.max": "32\n",
            "pids.current": f"{self.tasks}\n",
        }


def flat(pairs: dict[str, float]) -> str:
    return "".join(f"{name} {value}\n" for name, value in pairs.items())


class CgroupTree:
    """A tree below a directory. driver: cgroupfs or systemd."""

    def __init__(self, root: Path, version: int, driver: str) -> None:
        self.root, self.version, self.driver = root, version, driver
        self.held: list[int] = []
        for controller in self.controllers:
            (root / controller).mkdir(parents=True, exist_ok=True)
        if version == 2:
            (root / "cgroup.controllers").write_text("cpu memory pids\n")

    @property
    def controllers(self) -> list[str]:
        return ["memory", "cpu", "cpuacct", "pids"] if self.version == 1 else ["."]

    def parent(self, stack: str, service: str) -> str:
        """Path of a service's cgroup; without a stack it is where Docker itself puts containers."""
        if not stack:
            return "/system.slice" if self.driver == "systemd" else "/docker"
        return f"/{stack}.slice/{stack}-{service}.slice" if self.driver == "systemd" else f"/{stack}/{service}"

    def path(self, number: int, stack: str = "sixty", service: str = "redis") -> str:
        name = f"docker-{identity(number)}.scope" if self.driver == "systemd" else identity(number)
        return f"{self.parent(stack, service)}/{name}"

    def write(self, path: str, figures: Figures) -> None:
        """The files of a cgroup, which is made if it is not there."""
        for controller in self.controllers:
            (self.root / controller / path[1:]).mkdir(parents=True, exist_ok=True)
        for name, text in (figures.v1() if self.version == 1 else figures.v2()).items():
            controller, _slash, file = name.rpartition("/")
            (self.root / controller / path[1:] / file).write_text(text)

    def run(self, number: int, stack: str = "sixty", service: str = "redis", **figures: float) -> str:
        """A container, and its stack's own cgroup above it; returns its path."""
        path = self.path(number, stack, service)
        self.write(path, Figures(**figures))
        if stack:
            self.write(f"/{path.split('/')[1]}", Figures(limit=2048 * MB, usage=500 * MB))
        if self.version == 2 and stack:
            events = self.root / self.parent(stack, service)[1:] / "memory.events"
            if not events.exists():
                self.service_kills(0, stack, service)
        return path

    def service_kills(self, kills: int, stack: str = "sixty", service: str = "redis") -> None:
        """What the kept cgroup of a service counts, on version 2."""
        (self.root / self.parent(stack, service)[1:] / "memory.events").write_text(f"oom 1\noom_kill {kills}\n")

    def file(self, path: str, v1: str, v2: str) -> Path:
        """One file of a cgroup by the names that the versions have for it."""
        return self.root / v1.partition(".")[0] / path[1:] / v1 if self.version == 1 else self.root / path[1:] / v2

    def remove(self, path: str) -> None:
        for controller in self.controllers:
            shutil.rmtree(self.root / controller / path[1:])

    def end(self, path: str) -> None:
        """Remove a container whose inode is not given to the next one, as the kernel never does with cgroups."""
        self.held += [os.open(self.root / controller / path[1:], os.O_RDONLY) for controller in self.controllers]
        self.remove(path)

    def restart(self, path: str, **figures: float) -> None:
        """The same path with another inode, as the engine leaves it."""
        self.end(path)
        self.write(path, Figures(**figures))

    def close(self) -> None:
        while self.held:
            os.close(self.held.pop())


LEAK = {"bucket": 60, "window": 21600, "least_window": 3600, "least_growth": 2 * MB, "least_growth_percent": 5}
REDIS = {"limit": 64 * MB, "reservation": 32 * MB, "usage_target": 56 * MB, "alert": 54 * MB}
API = {"limit": 384 * MB, "reservation": 192 * MB, "usage_target": 320 * MB, "alert": 326 * MB, "colours": 2}


def configuration(**changes: object) -> str:
    """A monitor.json."""
    data: dict[str, object] = {
        **{"stack": "sixty", "total": 2048 * MB, "total_alert": 1638 * MB, "total_critical": 1843 * MB},
        **{"warning_percent": 80, "container_percent": 85, "critical_percent": 90},
        "services": {"redis": REDIS, "api": API},
        "leak": LEAK,
        "certificate_not_after": None,
    }
    return json.dumps({**data, **changes})
