# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client sees that stands outside and asks all the time."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

# Asked in turn, since a release is page and API.
PATHS = ("/", "/api/release")
# A release is there when so many rounds in a row are its own, as many as the module itself reads back.
ROW = 3


class Answer(NamedTuple):
    """One request; times are seconds since 1970. The release is empty where there was no good answer in time."""

    sent: float
    received: float
    path: str
    release: str


def arrival(answers: Sequence[Answer], release: str, since: float) -> dict[str, float]:
    """Seconds from a moment to the first answer of a release, and until everything had answered as it.

    That is the end of the first ROW rounds of answers after which nothing else answered any more; ValueError, where
    there are none. ``longest_gap`` is the longest time without a good answer of any release.
    """
    paths = len({answer.path for answer in answers})
    later = [answer for answer in answers if answer.received >= since]
    others = [number for number, answer in enumerate(later) if answer.release != release]
    row = later[others[-1] + 1 if others else 0 :][: ROW * paths]
    if len(row) < ROW * paths:
        raise ValueError(f"{release} did not answer {ROW} times in a row; the last answers are {later[-8:]}")
    good = [since, *(answer.received for answer in later if answer.release)]
    return {
        "first": round(next(answer.received for answer in later if answer.release == release) - since, 3),
        "all": round(row[-1].received - since, 3),
        "longest_gap": round(max(after - before for before, after in zip(good, good[1:])), 3),
    }


class Outside:
    """Asks through nginx, each time on a new connection, while the block lasts."""

    PAUSE = 0.01
    # One that hangs must not hide when the next would be answered.
    TIMEOUT = 0.5

    def __init__(self, port: int, paths: tuple[str, ...] = PATHS) -> None:
        self.port, self.paths = port, paths
        self.answers: list[Answer] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Outside:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._over.wait(self.PAUSE):
            self.answers += [self._ask(path) for path in self.paths]

    def _ask(self, path: str) -> Answer:
        sent, release = time.time(), ""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.TIMEOUT)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                release = answer.getheader("X-Release", "")
        return Answer(sent, time.time(), path, release)

    def wait(self, release: str, seconds: float = 60) -> None:
        """Returns when everything has answered as this release for half a second."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            since = time.time() - 0.5
            recent = [one for one in list(self.answers) if one.sent > since]
            if len(recent) >= ROW * len(self.paths) and {one.release for one in recent} == {release}:
                return
            time.sleep(0.1)
        raise TimeoutError(f"{release} did not answer on port {self.port} within {seconds} s: {self.answers[-4:]}")
