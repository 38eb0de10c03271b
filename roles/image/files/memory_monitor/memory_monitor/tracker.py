# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What single samples cannot say: restarts, OOM kills, rates, growth.

Pure: it is given observations and the clock, and reads nothing.

OOM kills. A cgroup counts its own kills, but on version 1 it goes together with the container whose first process
was killed, and its count with it. /proc/vmstat counts every kill of the machine. So what the machine counts and no
cgroup explains is put down to the container that went or came back in the same moment; on version 2 the cgroup of
the service is kept and counts exactly, and the same rule says which of its containers it was. What nobody explains
within a few seconds was no container's and stays in the machine's count alone.
"""

from __future__ import annotations

from memory_monitor.leak import Trend

# The engine removes a cgroup some moments after the kill: for so long (seconds) a kill may wait for its container.
PATIENCE = 10.0
# A container that went is remembered, so that what was counted last can still be scraped; the oldest go first.
MEMORY_SECONDS, MOST_GONE = 3600.0, 128


class Record:
    """One container, by its id. C(figures) is None unless the last look could read it, C(gone) the time since when
    it is not there."""

    __slots__ = (
        *("id", "path", "stack", "service", "figures", "inode", "started", "restarts", "oom_kills", "cpu_cores"),
        *("slot", "release", "trend", "gone", "_counted", "_unmatched", "_cpu", "last_share"),
    )

    def __init__(self, identity):
        self.id, self.path, self.stack, self.service = identity, "", "", ""
        self.slot, self.release = "", ""
        self.figures = self.inode = self._cpu = None
        self.started, self.restarts, self.oom_kills, self.cpu_cores = 0.0, 0, 0, 0.0
        self.trend = Trend()
        self.gone = None
        self._counted = self._unmatched = 0
        self.last_share = 0.0

    def start(self):
        """Its cgroup was made once more."""
        self.restarts += 1
        self._unmatched += 1

    def see(self, now, figures, created, settings):
        """A sample. Returns (kills that its cgroup explains, whether it is another run than the last)."""
        again = self.inode is not None and figures["inode"] != self.inode
        if self.inode != figures["inode"]:
            if again and not self._unmatched:
                # Nobody told of the start: the inode does.
                self.restarts += 1
            self.inode, self._unmatched, self._counted = figures["inode"], 0, 0
            self._cpu, self.cpu_cores, self.trend, self.started = None, 0.0, Trend(), created(figures["path"])
        kills = max(0, figures["oom_kills"] - self._counted)
        self._counted = max(self._counted, figures["oom_kills"])
        self.oom_kills += kills
        self.figures, self.gone = figures, None
        self.path, self.stack, self.service = figures["path"], figures["stack"], figures["service"]
        self._rate(now, figures["cpu_seconds"])
        self.last_share = figures["unreclaimable"] / figures["limit"] if figures["limit"] else 0.0
        self.trend.add(now, figures["unreclaimable"], figures["limit"], settings.leak)
        return kills, again

    def _rate(self, now, seconds):
        if self._cpu and seconds is not None and now > self._cpu[0]:
            self.cpu_cores = max(0.0, seconds - self._cpu[1]) / (now - self._cpu[0])
        self._cpu = (now, seconds) if seconds is not None else None

    @property
    def owner(self):
        return self.stack, self.service

    def leave(self, now):
        self.figures, self.gone, self.cpu_cores = None, now, 0.0


class Balance:
    """Kills that a total counts, against those that single cgroups explain."""

    __slots__ = ("_early", "_total", "waiting")

    def __init__(self):
        self._total, self._early, self.waiting = None, 0, []

    def settle(self, now, total, explained):
        """Take a new total, or None where it could not be read. C(waiting) then holds the time of each kill that
        is yet to be explained."""
        if self._total is None:
            self._total = total
            return
        if total is None:
            self._early += explained
            return
        fresh = max(0, total - self._total) - self._early - explained
        # The total is read first, so a cgroup may tell of a kill one round before it; no longer.
        self._total, self._early = total, min(explained, max(0, -fresh))
        self.waiting = [time for time in self.waiting if now - time <= PATIENCE]
        if fresh < 0:
            del self.waiting[:-fresh]
        else:
            self.waiting += [now] * min(fresh, 1000)

    def attribute(self, candidates):
        """Put what waits down to candidates, (record, how often it ended), the likeliest first: to each as many as
        it ended, and what is left to the first of them. Returns how many kills that were."""
        kills = left = len(self.waiting)
        if not kills or not candidates:
            return 0
        for record, ends in candidates:
            share = min(ends, left)
            record.oom_kills += share
            left -= share
        candidates[0][0].oom_kills += left
        self.waiting = []
        return kills


class Tracker:
    """All containers over time."""

    def __init__(self):
        self.records = {}
        self._host, self._services = Balance(), {}
        # Id -> how often it ended since the last look, and the same of the look before.
        self._ended, self._ended_before = {}, {}
        # Those that were started again.
        self._again = set()

    def update(self, now, seen, starts, host_kills, created, settings, slots):
        """Take one look. C(starts) lists (id, parent, name) of containers that were started since the last one,
        C(host_kills) is the machine's count, read before the tree, C(created) gives the time of a cgroup, C(slots)
        maps an id to (slot, release)."""
        self._ended_before, self._ended, self._again = self._ended, {}, set()
        explained, explained_of = 0, dict.fromkeys(seen.kills, 0)
        for record in self.records.values():
            record.figures = None

        for identity, parent, name in starts:
            record = self.records.get(identity)
            if record:
                record.start()
                # The run before it may have ended unseen.
                if record.gone is None:
                    self._end(identity)
                record.gone = None
                self._again.add(identity)
            else:
                record = self.records[identity] = Record(identity)
                record.path = f"{parent}/{name}"
                record.stack, record.service = seen.parents.get(parent, ("", ""))

        for figures in seen.containers:
            identity, owner = figures["id"], (figures["stack"], figures["service"])
            record = self.records.get(identity)
            if record is None:
                record = self.records[identity] = Record(identity)
            record.slot, record.release = slots.get(identity, (record.slot, record.release))
            kills, again = record.see(now, figures, created, settings)
            explained += kills
            if owner in explained_of:
                explained_of[owner] += kills
            if again and identity not in self._again:
                self._end(identity)
                self._again.add(identity)

        for identity, record in self.records.items():
            if record.gone is None and identity not in seen.present:
                record.leave(now)
                self._end(identity)

        candidates = self._candidates()
        for owner, total in seen.kills.items():
            balance = self._services.setdefault(owner, Balance())
            balance.settle(now, total, explained_of[owner])
            explained += balance.attribute([pair for pair in candidates if pair[0].owner == owner])
        self._host.settle(now, host_kills, explained)
        self._host.attribute(candidates)
        self._forget(now)

    def _end(self, identity):
        self._ended[identity] = self._ended.get(identity, 0) + 1

    def _candidates(self):
        """(record, how often it ended), the likeliest to have been killed first: one that was started again at once,
        then one that ended in this round, then by how full it was. A kill comes before the end of its container, but
        may have been read one round after it."""
        ends = {**self._ended_before, **self._ended}
        found = [(self.records[identity], number) for identity, number in ends.items() if identity in self.records]
        found.sort(key=lambda pair: (pair[0].id in self._again, pair[0].id in self._ended, pair[0].last_share))
        return found[::-1]

    def _forget(self, now):
        gone = sorted((r for r in self.records.values() if r.gone is not None), key=lambda r: r.gone, reverse=True)
        for number, record in enumerate(gone):
            if number >= MOST_GONE or now - record.gone > MEMORY_SECONDS:
                del self.records[record.id]
