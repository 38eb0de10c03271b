# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread that looks once a second and publishes a picture."""

from __future__ import annotations

import os
import threading
import time
import traceback

from memory_monitor.creations import Creations
from memory_monitor.files import Errors
from memory_monitor.history import History
from memory_monitor.host import Host
from memory_monitor.picture import Picture, facts_of
from memory_monitor.settings import load
from memory_monitor.tracker import Tracker
from memory_monitor.tree import Tree

PERIOD = 1.0
# After so long without a sample the service is not healthy.
STALE = 5.0
# Where the role mounts the host's files; the engine's data file system is the one below the container's root.
MOUNTS = {
    "cgroup": "/host/cgroup",
    "route": "/host/route",
    "status": "/host/status",
    "docker": "/",
    "stack": "/host/route",
    "logs": "/host/logs",
    "config": "/etc/sixty/current",
}


class Sampler:
    """C(picture) is the last sample. Raises ValueError for a configuration that cannot be used."""

    def __init__(self, mounts=None, proc="/proc", say=print):
        self.mounts = {**MOUNTS, **(mounts or {})}
        self.errors, self.say = Errors(), say
        self.settings = load(self._settings_file)
        self._loaded = self._settings_state()
        self._due = False
        self.tree = Tree(self.mounts["cgroup"], self.errors)
        self.host = Host(self.mounts, self.errors, proc)
        self.creations = Creations(self.errors)
        self.tracker, self.history = Tracker(), History()
        self.samples = 0
        self.picture = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    @property
    def _settings_file(self):
        return f"{self.mounts['config']}/monitor.json"

    def _settings_state(self):
        """What changes when another tree is landed, or the file is written over."""
        try:
            status = os.stat(self._settings_file)
            return status.st_dev, status.st_ino, status.st_mtime_ns
        except OSError:
            return None

    def reload(self):
        """Read the configuration again before the next sample."""
        self._due = True

    def _refresh(self):
        state = self._settings_state()
        if state == self._loaded and not self._due:
            return
        self._loaded, self._due = state, False
        try:
            self.settings = load(self._settings_file)
            self.say(f"Read {self._settings_file}.")
        except ValueError as error:
            self.errors.count("settings")
            self.say(f"{error}. The one before stays in use; land it again.")

    def sample(self, now, wall):
        """Look, and publish. C(now) is a clock that only rises, C(wall) the time of day, both in seconds."""
        self._refresh()
        began = time.monotonic()
        settings = self.settings
        # The kills first, the starts last: tracker.py says why.
        kills = self.host.oom_kills()
        seen = self.tree.look(settings.stack)
        self.creations.watch(self.tree.base + parent for parent in seen.parents)
        starts = self.tree.started(self.creations.read(), seen)
        release, slots = self.host.release()
        self.tracker.update(now, seen, starts, kills, self.tree.created, settings, slots)
        records = self.tracker.records.values()
        self.samples += 1
        picture = Picture(
            settings=settings,
            time=wall,
            moment=now,
            version=self.tree.version,
            running=[(facts_of(record, settings), record.figures) for record in records if record.figures],
            unseen=[facts_of(record, settings) for record in records if not record.figures],
            stacks=seen.stacks,
            stack_kills=self.tracker.stack_kills,
            host=self.host.memory(),
            host_kills=kills,
            filesystems=self.host.filesystems(),
            release=release,
            backup=self.host.backup(),
            errors=dict(self.errors.counts),
            history=self.history,
            samples=self.samples,
            sample_seconds=time.monotonic() - began,
        )
        self.history.add(wall, picture.services)
        self.picture = picture

    def fresh(self):
        """Whether samples go on."""
        return self.picture is not None and time.monotonic() - self.picture.moment < STALE

    def start(self):
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join(2 * PERIOD)
        self.creations.close()

    def _run(self):
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                self.sample(time.monotonic(), time.time())
            # Whatever it was, the next sample is taken; without one, /healthz says so.
            except Exception:
                self.errors.count("sample")
                traceback.print_exc()
            due = max(due + PERIOD, time.monotonic())
            self._stop.wait(due - time.monotonic())
