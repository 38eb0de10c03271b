# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which containers there are, and their figures, out of a cgroup tree."""

from __future__ import annotations

import os
import re

from memory_monitor import cgroup
from memory_monitor.files import read_text

# Docker's cgroupfs driver names a cgroup after the container, its systemd driver a scope.
CONTAINER = re.compile(r"(?:docker-([0-9a-f]{64})\.scope|([0-9a-f]{64}))")
# More than any sane host has: what a host full of cgroups may cost here.
MOST_CONTAINERS, MOST_DEPTH, LONGEST_PATH = 256, 8, 1024
CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
MALFORMED = (ValueError, KeyError, IndexError)


def place(parent):
    """(stack, service) of the containers below a cgroup, ("", "") where it is no stack's.

    C(/sixty/redis) under the cgroupfs driver, C(/sixty.slice/sixty-redis.slice) under systemd's.
    """
    parts = parent.split("/")[1:]
    if len(parts) != 2:
        return "", ""
    top, inner = parts
    if not top.endswith(".slice"):
        return (top, inner) if not inner.endswith(".slice") else ("", "")
    stack = top[: -len(".slice")]
    if inner.startswith(f"{stack}-") and inner.endswith(".slice"):
        return stack, inner[len(stack) + 1 : -len(".slice")]
    return "", ""


class Observation:
    """One look at the tree.

    C(containers) are dicts of figures; C(present) has the ids of all that are there, readable or not; C(parents)
    maps a cgroup that holds or may hold containers to its (stack, service); C(stacks) has the figures of each
    stack's own cgroup; C(kills) has OOM kills by (stack, service), where a cgroup keeps them after its containers.
    """

    __slots__ = ("containers", "kills", "parents", "present", "stacks")

    def __init__(self):
        self.containers, self.present, self.parents, self.stacks, self.kills = [], set(), {}, {}, {}


class Tree:
    """A mounted cgroup file system, version 1 or 2."""

    def __init__(self, root, errors):
        self.root, self.errors = root, errors
        self.version = 2 if os.path.exists(f"{root}/cgroup.controllers") else 1
        self.base = root if self.version == 2 else f"{root}/memory"

    def look(self, stack):
        """Everything at once; C(stack) is the one whose empty services count as parents, too."""
        seen = Observation()
        found = list(self._walk(stack, seen))
        # Before the containers: a kill between the two readings is then told by its cgroup first (tracker.Balance).
        for parent, (owner, service) in seen.parents.items():
            if owner and self.version == 2:
                # Hierarchical, and kept when a container ends (Documentation/admin-guide/cgroup-v2.rst).
                events = self._guarded(read_text, f"{self.base}{parent}/memory.events")
                if events is not None:
                    seen.kills[owner, service] = cgroup.parse_stat(events).get("oom_kill", 0)
        for path, parent, identity, inode in found:
            seen.present.add(identity)
            figures = self._guarded(self._read_container, path, inode)
            if figures is not None:
                owner, service = seen.parents[parent]
                seen.containers.append(dict(figures, id=identity, path=path, inode=inode, stack=owner, service=service))
        for parent, (owner, _service) in seen.parents.items():
            if owner and owner not in seen.stacks:
                figures = self._guarded(self._read_cgroup, f"/{parent.split('/')[1]}")
                if figures is not None:
                    seen.stacks[owner] = figures
        return seen

    def started(self, made, seen):
        """(id, parent, name) of the containers among directories that were made. Those that still run are present,
        also where the look came before them."""
        found = []
        for directory, name in made:
            match = CONTAINER.fullmatch(name)
            if match:
                identity = match[1] or match[2]
                found.append((identity, directory[len(self.base) :], name))
                if os.path.exists(f"{directory}/{name}"):
                    seen.present.add(identity)
        return found

    def created(self, path):
        """When a cgroup was made: the oldest time of its directories, which cAdvisor takes for the start as well."""
        roots = [self.base] if self.version == 2 else [f"{self.root}/{name}" for name in CONTROLLERS]
        times = []
        for root in roots:
            try:
                times.append(os.stat(root + path).st_mtime)
            except OSError:
                continue
        return min(times, default=0.0)

    def _walk(self, stack, seen):
        """Yields (path, parent, id, inode); what is inside a container is its own affair."""
        todo = [""]
        found = 0
        while todo:
            parent = todo.pop()
            try:
                with os.scandir(self.base + parent) as entries:
                    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError as error:
                self.errors.count("vanished" if isinstance(error, FileNotFoundError) else "unreadable")
                continue
            owner = place(parent)
            if owner[0] and owner[0] == stack:
                seen.parents[parent] = owner
            for entry in folders:
                path = f"{parent}/{entry.name}"
                # A name that is no text, or that a terminal would obey.
                if len(path) > LONGEST_PATH or not path.isprintable():
                    self.errors.count("name")
                    continue
                match = CONTAINER.fullmatch(entry.name)
                if not match:
                    if path.count("/") < MOST_DEPTH:
                        todo.append(path)
                elif found < MOST_CONTAINERS:
                    found += 1
                    seen.parents[parent] = owner
                    yield path, parent, match[1] or match[2], entry.inode()
                else:
                    self.errors.count("limit")

    def _guarded(self, function, *arguments):
        """The result, or None and a count of why there is none."""
        try:
            found = function(*arguments)
        except MALFORMED:
            self.errors.count("malformed")
        except OSError:
            self.errors.count("unreadable")
        else:
            if found is None:
                self.errors.count("vanished")
            return found
        return None

    def _read_cgroup(self, path):
        member = {"": path} if self.version == 2 else dict.fromkeys(CONTROLLERS, path)
        return cgroup.read(self.version, self.root, member, read_text)

    def _read_container(self, path, inode):
        member = {"": path} if self.version == 2 else dict.fromkeys(CONTROLLERS, path)
        texts = {}

        def once(name):
            if name not in texts:
                texts[name] = read_text(name)
            return texts[name]

        figures = cgroup.read(self.version, self.root, member, once)
        if figures is None:
            return None
        figures.update(cgroup.read_activity(self.version, self.root, member, once))
        # A container that ends takes its files away one by one, and an absent one reads as "no limit".
        try:
            return figures if os.stat(self.base + path).st_ino == inode else None
        except FileNotFoundError:
            return None
