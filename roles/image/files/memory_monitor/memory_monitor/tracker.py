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

from collections import Counter

from memory_monitor.leak import Trend

# The engine removes a cgroup some moments after the kill: for so long (seconds) a kill may wait for its container.
PATIENCE = 10.0
# A container that went is remembered, so that what was counted last can still be scraped. Those of other stacks go
# first, since nobody scrapes them here, then the oldest.
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
        self.last_share = 1.0

    def start(self):
        """Its cgroup was made once more."""
        self.restarts += 1
        self._unmatched += 1

    def see(self, now, figures, created, settings):
        """A sample. Returns (kills that its cgroup explains, whether it is another run that nobody told of)."""
        untold = self.inode not in (None, figures["inode"]) and not self._unmatched
        self.restarts += untold
        if self.inode != figures["inode"]:
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
        return kills, untold

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

    def attribute(self, now, candidates):
        """Put what waits down to candidates, the likeliest first; returns how many kills that were.

        Each takes as many as it ended. Where some were started again, as the engine does with what was killed, the
        others have to wait one round for what is left: the end that belongs to it may not have been seen yet.
        """
        before = len(self.waiting)
        for candidate in [each for each in candidates if each.again and each.ends] or candidates:
            self._give(candidate, candidate.ends)
        if candidates and any(time < now for time in self.waiting):
            for candidate in candidates:
                self._give(candidate, candidate.ends)
            # More processes were killed than containers ended.
            self._give(candidates[0], len(self.waiting))
        return before - len(self.waiting)

    def _give(self, candidate, most):
        number = min(most, len(self.waiting))
        candidate.record.oom_kills += number
        candidate.ends -= min(number, candidate.ends)
        del self.waiting[:number]


class Candidate:
    """A container that ended: how often, whether it was started again, in which round it did so last."""

    __slots__ = ("again", "ends", "moment", "record")

    def __init__(self, record):
        self.record, self.ends, self.again, self.moment = record, 0, False, 0.0


class Tracker:
    """All containers over time."""

    def __init__(self):
        self.records = {}
        self._host, self._services = Balance(), {}
        self._candidates, self._moment = {}, 0.0
        self._forgotten = Counter()

    @property
    def stack_kills(self):
        """OOM kills by stack, of the containers that are forgotten too; those of no stack are left out."""
        kills = self._forgotten.copy()
        for record in self.records.values():
            kills[record.stack] += record.oom_kills
        del kills[""]
        return kills

    def update(self, now, seen, starts, host_kills, created, settings, slots):
        """Take one look. C(starts) lists (id, parent, name) of containers that were started since the last one,
        C(host_kills) is the machine's count, read before the tree, C(created) gives the time of a cgroup, C(slots)
        maps an id to (slot, release)."""
        explained, explained_of = 0, dict.fromkeys(seen.kills, 0)
        for record in self.records.values():
            record.figures = None

        for identity, parent, name in starts:
            record = self.records.get(identity)
            if record:
                record.start()
                # Unless it was seen to have gone, the run before ended just now.
                self._end(now, record, ends=record.gone is None, again=True)
                record.gone = None
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
            kills, untold = record.see(now, figures, created, settings)
            explained += kills
            if owner in explained_of:
                explained_of[owner] += kills
            if untold:
                self._end(now, record, again=True)

        for identity, record in self.records.items():
            if record.gone is None and identity not in seen.present:
                record.leave(now)
                self._end(now, record)

        # A kill comes before the end of its container, but may have been read one round after it. The likeliest come
        # first: started again, ended in this round, the fullest; of one that was never seen nothing is known but that.
        recent = [each for each in self._candidates.values() if each.moment in (self._moment, now)]
        recent.sort(key=lambda each: (each.again, each.moment, each.record.last_share), reverse=True)
        self._candidates, self._moment = {each.record.id: each for each in recent}, now
        for owner, total in seen.kills.items():
            balance = self._services.setdefault(owner, Balance())
            balance.settle(now, total, explained_of[owner])
            explained += balance.attribute(now, [each for each in recent if each.record.owner == owner])
        self._host.settle(now, host_kills, explained)
        self._host.attribute(now, recent)
        self._forget(now, settings.stack)

    def _end(self, now, record, ends=True, again=False):
        candidate = self._candidates.setdefault(record.id, Candidate(record))
        candidate.ends += ends
        candidate.again |= again
        candidate.moment = now

    def _forget(self, now, own):
        gone = [record for record in self.records.values() if record.gone is not None]
        gone.sort(key=lambda record: (record.stack == own, record.gone), reverse=True)
        for number, record in enumerate(gone):
            if number >= MOST_GONE or now - record.gone > MEMORY_SECONDS:
                self._forgotten[record.stack] += record.oom_kills
                del self.records[record.id]
