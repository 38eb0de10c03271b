# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source that asks Alertmanager, against a server that answers what it likes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.sixty_sales.memory_optimized.extensions.eda.plugins.event_source import (
    alertmanager_poll as poll,
)

ALERTS = [{"labels": {"release": "r2", "rollback_trigger": "memory"}}]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, *_arguments):
        """Quiet."""


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.answers = [], [(200, json.dumps(ALERTS).encode())]
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def events(url, number, seconds=5.0):
    """The first events of a source, or as many as there are in time."""

    async def run():
        queue: asyncio.Queue = asyncio.Queue()
        args = {"alertmanagers": [{"host": "web1", "url": url}], "interval": 0.01, "timeout": 1}
        task = asyncio.create_task(poll.main(queue, args))
        found = []
        with contextlib.suppress(asyncio.TimeoutError):
            while len(found) < number:
                found.append(await asyncio.wait_for(queue.get(), seconds))
        assert not task.done(), "the source ended"
        task.cancel()
        return found

    return asyncio.run(run())


def test_it_asks_again_and_again(server):
    assert events(server.url + "/", 3) == [{"host": "web1", "alerts": ALERTS}] * 3
    path = urllib.parse.urlsplit(server.asked[0])
    query = urllib.parse.parse_qs(path.query)
    assert path.path == "/api/v2/alerts"
    assert query == {
        **{"active": ["true"], "silenced": ["false"], "inhibited": ["false"], "unprocessed": ["false"]},
        "filter": ['rollback_trigger!=""'],
    }


def test_without_alerts_nothing_happens(server):
    server.answers = [(200, b"[]")]
    assert events(server.url, 1, seconds=0.3) == [] and len(server.asked) > 3


@pytest.mark.parametrize(
    "bad",
    [
        (500, b"no"),
        (200, b""),
        (200, b"<html>"),
        (200, b'{"status": "ok"}'),
        (200, b"\xff\xfe"),
        (200, b"[" * 100_000),
        (200, b" " * (poll.LARGEST + 1)),
    ],
)
def test_what_is_no_answer_is_told_once_and_survived(server, caplog, bad):
    caplog.set_level(logging.WARNING)
    server.answers = [bad, bad, bad, (200, json.dumps(ALERTS).encode())]
    assert events(server.url, 1) == [{"host": "web1", "alerts": ALERTS}]
    told = [record.getMessage() for record in caplog.records if record.name == poll.logger.name]
    assert len(told) == 2, told
    assert "no release of web1 is rolled back by itself" in told[0] and "answers again" in told[1]


def test_nobody_listens(server, caplog):
    server.shutdown()
    server.server_close()
    assert events(server.url, 1, seconds=0.3) == []
    assert [record.levelno for record in caplog.records if record.name == poll.logger.name] == [logging.ERROR]


def test_no_proxy_is_asked(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert events(server.url, 1)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"alertmanagers": []},
        {"alertmanagers": "http://127.0.0.1:9093"},
        {"alertmanagers": [{"url": "http://127.0.0.1:9093"}]},
        {"alertmanagers": [{"host": "web1", "url": "file:///etc/passwd"}]},
        {"alertmanagers": [{"host": "web1"}]},
        {"alertmanagers": [{"host": "web1", "url": "http://a"}], "interval": 0},
        {"alertmanagers": [{"host": "web1", "url": "http://a"}], "timeout": -1},
    ],
)
def test_arguments_that_cannot_be_used(args):
    with pytest.raises(ValueError, match=r"alertmanagers has to be|above 0"):
        poll.check(args)
