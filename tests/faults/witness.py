# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that notice: what was acknowledged to them, and when the site was away. Without a host, so tested alone."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Ask = Callable[..., tuple[int, dict[str, str], bytes]]


class Answer(NamedTuple):
    """What became of a request; times are seconds of one clock. A status of 0 is none, and why is in the text."""

    kind: str
    begun: float
    ended: float
    status: int
    text: str = ""

    @property
    def good(self) -> bool:
        return self.status == (201 if self.kind == "write" else 200)

    @property
    def said(self) -> str:
        return f"{self.kind}: {self.status or ''} {self.text}".replace(":  ", ": ").strip()


class Outage(NamedTuple):
    """The site was away: from a request that failed until one that was sent later was answered; None is not yet."""

    start: float
    end: float | None
    statuses: tuple[str, ...]


def outages(answers: Iterable[Answer]) -> list[Outage]:
    """The times in which pages, reads or writes failed; of several kinds at once it is one outage."""
    ordered = sorted(answers, key=lambda answer: answer.begun)
    found: list[Outage] = []
    for position, failed in enumerate(ordered):
        if failed.good:
            continue
        # A request that hung says nothing of the time in which others were answered.
        later = [one.ended for one in ordered[position:] if one.good and one.kind == failed.kind]
        end = min(later, default=None)
        last = found[-1] if found else None
        if last is None or (last.end is not None and failed.begun > last.end):
            found.append(Outage(failed.begun, end, (failed.said,)))
        else:
            until = None if end is None or last.end is None else max(end, last.end)
            found[-1] = Outage(last.start, until, (*last.statuses, failed.said))
    return found


class Witness:
    """Pages, reads and writes while the block lasts, each kind at a rate of its own, whether it is answered or not.

    A read is one that no cache knows, a write is a row of its own. What each acknowledged write had in it is kept.
    """

    # Of a kind, under way at once: more would only wait for the same.
    UNANSWERED = 40

    def __init__(self, connect: Callable[[], Any], ask: Ask, rate: float = 2, writes: float = 2) -> None:
        self.connect, self.ask = connect, ask
        self.mark = f"witness {uuid.uuid4().hex[:12]}"
        self.answers: list[Answer] = []
        self.acknowledged: dict[int, str] = {}
        self._over = threading.Event()
        rates = {"page": rate, "read": rate, "write": writes}
        self._threads = [threading.Thread(target=self._run, args=one, daemon=True) for one in rates.items()]

    def __enter__(self) -> Witness:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kind: str, rate: float) -> None:
        waiting: list[threading.Thread] = []
        while not self._over.wait(1 / rate):
            waiting = [thread for thread in waiting if thread.is_alive()]
            if len(waiting) < self.UNANSWERED:
                waiting.append(threading.Thread(target=self._request, args=(kind,), daemon=True))
                waiting[-1].start()
        for thread in waiting:
            thread.join()

    def _request(self, kind: str) -> None:
        begun = time.monotonic()
        status, text = self._once(kind)
        self.answers.append(Answer(kind, begun, time.monotonic(), status, text))

    def _once(self, kind: str) -> tuple[int, str]:
        token = uuid.uuid4().hex
        client = self.connect()
        try:
            if kind == "write":
                row = {"name": token, "company": self.mark, "owner": "witness"}
                status, _, body = self.ask(client, "/api/deals", "POST", row)
                if status == 201:
                    self.acknowledged[json.loads(body)["id"]] = token
            else:
                status, _, body = self.ask(client, "/" if kind == "page" else f"/api/deals?q={token}")
            return status, "" if status < 400 else code_of(body)
        except (OSError, http.client.HTTPException) as error:
            return 0, type(error).__name__
        finally:
            client.close()

    def is_well(self, since: float, seconds: float = 2) -> bool:
        """All that was sent in the last seconds, and since a moment, was answered, of every kind."""
        start = time.monotonic() - seconds
        latest = [one for one in list(self.answers) if one.begun >= start]
        return start >= since and {(one.kind, one.good) for one in latest} == {
            (kind, True) for kind in ("page", "read", "write")
        }

    @property
    def failed(self) -> Counter[str]:
        return Counter(one.said for one in list(self.answers) if not one.good)

    def lost(self, kept: Mapping[int, str]) -> list[int]:
        """Writes that were acknowledged and are not there as they were; given the rows that there are."""
        return sorted(row for row, token in self.acknowledged.items() if kept.get(row) != token)


def code_of(body: bytes) -> str:
    """Why a request failed, by the answer itself."""
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "without a reason"
