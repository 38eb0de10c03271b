# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on record of a stack's releases: state.json, journal.jsonl, and who is changing them.

Two locks. The kernel's (C(lock)) is held while something changes, and is free when its process is gone. A watch of
minutes must not keep the emergency exit out, so it holds C(lock.json) instead: a deploy is under way, of this process
of this boot. Another deploy is refused as long as that process lives; a rollback is not.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
import time
import uuid

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core


class Failed(Exception):
    """A step failed; the message is for the person who reads it at night. C(more) is for the module's result."""

    def __init__(self, message, **more):
        super().__init__(message)
        self.more = more


def now():
    """This moment in UTC; the text sorts as the time does."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def boot_id():
    """Of this boot of the machine (random(4)); a process id means nothing in another one."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()


def started(pid):
    """When a process was started, in ticks since the boot (proc(5), stat, field 22); None for one that is gone.

    One that ended and is not yet reaped is gone.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            # The second field is the program's name, which may hold spaces and brackets.
            fields = handle.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Records:
    """Files in the stack's directory C(root).

    C(tolerant): a state that cannot be understood counts as lost, and is kept beside the new one. An emergency does
    not wait for somebody to mend a file.
    """

    def __init__(self, root, tolerant=False):
        self.root = root
        self.tolerant = tolerant
        self.state = os.path.join(root, "state.json")
        self.lock = os.path.join(root, "lock.json")
        self.found_broken, self.set_aside = None, False

    def read(self):
        try:
            with open(self.state, encoding="utf-8") as handle:
                state = json.load(handle)
            if not all(isinstance(entry["manifest"], str) for entry in state["releases"].values()):
                raise ValueError("a manifest is no text")
            return state
        except FileNotFoundError:
            return {"releases": {}}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.found_broken = f"{self.state} is not what this module wrote ({type(error).__name__}: {error})."
            if self.tolerant:
                return {"releases": {}}
            raise Failed(
                f"{self.found_broken} Nothing was changed. Move it away: the next run takes the served release from "
                "the route link and writes it anew."
            ) from error

    def write(self, state):
        if self.found_broken and not self.set_aside:
            os.replace(self.state, self.state + ".broken")
            self.set_aside = True
        write_whole(self.state, state)

    def note(self, event, release, **line):
        """Put an event on record and into the history."""
        state = self.read()
        core.put_on_record(state["releases"], event, release, now(), line)
        self.write(state)
        self.journal(event, release, **line)

    def journal(self, event, release, **more):
        line = json.dumps(dict(time=now(), event=event, release=release, **more), sort_keys=True)
        with open(os.path.join(self.root, "journal.jsonl"), "a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    # -- the deploy that is under way

    def deploy(self):
        """The deploy that is under way or was broken off, or None."""
        return self.read().get("deploy")

    def holder(self):
        """Who holds lock.json, with C(alive); None where nobody does."""
        try:
            with open(self.lock, encoding="utf-8") as handle:
                holder = json.load(handle)
            alive = not core.gone(holder, boot_id(), started(holder["pid"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            # Cut short by a full disk: nobody can say who that is, so nobody is kept out.
            holder, alive = {}, False
        return {**holder, "alive": alive}

    def begin(self, deploy, owner):
        """Put a deploy on record, and hold lock.json for this process."""
        deploy = {**deploy, "id": uuid.uuid4().hex[:12], "since": now()}
        state = self.read()
        holder = {"pid": os.getpid(), "boot": boot_id(), "started": started(os.getpid()), "owner": owner}
        self.held = {**holder, "host": socket.gethostname(), "release": deploy["release"], "taken": now()}
        # The lock comes last: one of a run that was killed in between would be nobody's to remove.
        self.write({**state, "version": 1, "deploy": deploy})
        try:
            write_whole(self.lock, {**self.held, "heartbeat": now()})
        except OSError:
            with contextlib.suppress(OSError):
                self.write(state)
            raise
        return deploy

    def beat(self):
        """Say that the holder lives, unless somebody took the lock away."""
        holder = self.holder() or {}
        if holder.get("taken") == self.held["taken"]:
            write_whole(self.lock, {**self.held, "heartbeat": now()})

    def phase(self, deploy, phase, **more):
        """Note how far a deploy came, unless it is no longer the one under way."""
        state = self.read()
        if (state.get("deploy") or {}).get("id") == deploy["id"]:
            state["deploy"].update(phase=phase, **more)
            self.write(state)

    def finish(self):
        """Nothing is under way any more. The lock goes first: what is still on record is taken up by the next run."""
        self.unlock()
        state = self.read()
        if state.pop("deploy", None):
            self.write(state)

    def unlock(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.lock)

    # -- history

    def known(self):
        """Release id -> record, from the state, and from the journal what the state has lost."""
        try:
            with open(os.path.join(self.root, "journal.jsonl"), encoding="utf-8", errors="replace") as handle:
                told = core.history(handle)
        except FileNotFoundError:
            told = {}
        return {**told, **self.read()["releases"]}


def write_whole(path, content):
    """JSON that is there as a whole or not at all, also after a crash."""
    with open(path + ".new", "w", encoding="utf-8") as handle:
        json.dump(content, handle, indent=2, sort_keys=True)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(path + ".new", path)


@contextlib.contextmanager
def lock(root, timeout=0):
    """One switch at a time; another is waited for at most C(timeout) seconds.

    The kernel frees the lock of a process that died. It is on the directory itself, so that check mode leaves nothing
    behind.
    """
    if not os.path.isdir(root):
        yield
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise Failed(
                        "Another switch of this stack is under way. Nothing was changed; wait for it "
                        "(make monitor-deployment follows it)."
                    ) from error
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)
