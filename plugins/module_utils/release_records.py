# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on record of a stack's releases: state.json, journal.jsonl, and the lock on both."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core


class Failed(Exception):
    """A step failed; the message is for the person who reads it at night."""


def now():
    """This moment in UTC; the text sorts as the time does."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


class Records:
    """Files in the stack's directory C(root).

    C(tolerant): a state that cannot be understood counts as lost, and is kept beside the new one. An emergency does
    not wait for somebody to mend a file.
    """

    def __init__(self, root, tolerant=False):
        self.root = root
        self.tolerant = tolerant
        self.state = os.path.join(root, "state.json")
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
        with open(self.state + ".new", "w", encoding="utf-8") as handle:
            json.dump(state, handle, indent=2, sort_keys=True)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(self.state + ".new", self.state)

    def journal(self, event, release, **more):
        line = json.dumps(dict(time=now(), event=event, release=release, **more), sort_keys=True)
        with open(os.path.join(self.root, "journal.jsonl"), "a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    def known(self):
        """Release id -> record, from the state, and from the journal what the state has lost."""
        try:
            with open(os.path.join(self.root, "journal.jsonl"), encoding="utf-8", errors="replace") as handle:
                told = core.history(handle)
        except FileNotFoundError:
            told = {}
        return {**told, **self.read()["releases"]}


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
                        "Another switch of this stack is under way. Nothing was changed; wait for it."
                    ) from error
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)
