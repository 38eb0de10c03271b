# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine, and what deploys and backups leave behind on it."""

from __future__ import annotations

import json
import os
import stat

from memory_monitor import cgroup
from memory_monitor.files import read_text

LONGEST_NAME = 128


class Host:
    """Reads /proc and what is mounted from the host. What is not there is None; what is wrong is counted, too."""

    def __init__(self, mounts, errors, proc="/proc"):
        self.mounts, self.proc, self.errors = mounts, proc, errors

    def oom_kills(self):
        """Every kill since the boot, by whatever cgroup or the machine itself (mm/oom_kill.c)."""
        return self._guarded("host", lambda: self._flat("vmstat")["oom_kill"])

    def memory(self):
        """memory_total, memory_available, swap_total, swap_free in bytes, and pressure_waiting in seconds."""

        def meminfo():
            lines = (line.split() for line in (read_text(f"{self.proc}/meminfo") or "").splitlines())
            sizes = {words[0]: int(words[1]) << 10 for words in lines}
            names = {"memory_total": "MemTotal:", "memory_available": "MemAvailable:"}
            names.update(swap_total="SwapTotal:", swap_free="SwapFree:")
            return {name: sizes[field] for name, field in names.items()}

        def pressure():
            text = read_text(f"{self.proc}/pressure/memory")
            return None if text is None else cgroup.parse_pressure(text)[0]

        found = self._guarded("host", meminfo) or {}
        return dict(found, pressure_waiting=self._guarded("host", pressure))

    def filesystems(self):
        """Name -> (size, available) in bytes; root's reserve is not available."""
        found = {}
        for name in ("docker", "stack", "logs"):
            sizes = self._guarded("host", os.statvfs, self.mounts[name])
            if sizes:
                found[name] = (sizes.f_blocks * sizes.f_frsize, sizes.f_bavail * sizes.f_frsize)
        return found

    def release(self):
        """{slot, release, switched} of the route, and id -> (slot, release) of the containers in the slots."""
        route = self.mounts["route"]
        return self._guarded("release", self._active, route), self._guarded("release", self._slots, route) or {}

    def _active(self, route):
        link = f"{route}/active"
        status = os.lstat(link)
        if not stat.S_ISLNK(status.st_mode):
            raise ValueError("no link")
        _slots, slot, release = os.readlink(link).rstrip("/").split("/")[-3:]
        return {"slot": name(slot), "release": name(release), "switched": status.st_mtime}

    def _slots(self, route):
        found = {}
        for slot in os.listdir(f"{route}/slots"):
            for release in os.listdir(f"{route}/slots/{slot}"):
                identity = read_text(f"{route}/slots/{slot}/{release}/container")
                if identity:
                    found[identity.strip()] = (name(slot), name(release))
        return found

    def backup(self):
        """Time and bytes of the last one that succeeded; when one was last verified, copied, and failed since."""

        def record():
            text = read_text(f"{self.mounts['status']}/backup.json")
            if text is None:
                return None
            data = json.loads(text)
            told = {name: float(data[name]) for name in ("verified", "copied", "failed") if name in data}
            # What fails before the first success tells of nothing else.
            if "failed" not in told or "finished" in data:
                told.update(finished=float(data["finished"]), bytes=int(data["bytes"]))
            return told

        return self._guarded("backup", record)

    def _flat(self, file):
        text = read_text(f"{self.proc}/{file}")
        if text is None:
            raise ValueError(f"no {file}")
        return cgroup.parse_stat(text)

    def _guarded(self, reason, function, *arguments):
        try:
            return function(*arguments)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            self.errors.count(reason)
            return None


def name(text):
    """A name that may become a label. Raises ValueError."""
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise ValueError("no name")
    return text
