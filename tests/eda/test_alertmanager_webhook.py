# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source that Alertmanager calls: who is let in, and what of it becomes an event."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest
from ansible_collections.sixty_sales.memory_optimized.extensions.eda.plugins.event_source import (
    alertmanager_webhook as webhook,
)

TOKEN, OTHER = "t" * 64, "u" * 64
FIRING = {"labels": {"release": "r2", "rollback_trigger": "memory"}, "status": "firing"}
RESOLVED = {**FIRING, "status": "resolved"}
BODY = json.dumps({"version": "4", "status": "firing", "alerts": [FIRING, RESOLVED]}).encode()
EVENT = {"host": "web1", "alerts": [FIRING]}


@pytest.fixture
def tokens(tmp_path):
    """Files with the tokens of two hosts."""
    for name, text in (("web1", TOKEN), ("web2", OTHER)):
        path = tmp_path / f"{name}.token"
        path.write_text(text + "\n")
        path.chmod(0o600)
    return {name: str(tmp_path / f"{name}.token") for name in ("web1", "web2")}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def served(scenario, tokens, **args):
    """What a scenario returns, and the events that came of it; the source has to be alive afterwards."""

    async def run():
        queue, port = asyncio.Queue(), free_port()
        task = asyncio.create_task(webhook.main(queue, {"tokens": tokens, "port": port, **args}))
        for _number in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            await asyncio.sleep(0.02)
        async with aiohttp.ClientSession() as session:
            result = await scenario(session, port)
        assert not task.done(), "the source ended"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return result, [queue.get_nowait() for _number in range(queue.qsize())]

    return asyncio.run(run())


def post(tokens, body=BODY, headers=None, path="/alerts", method="POST"):
    async def scenario(session, port):
        given = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        async with session.request(method, f"http://127.0.0.1:{port}{path}", data=body, headers=given) as answer:
            return answer.status

    return served(scenario, tokens)


def test_alerts_that_fire_become_an_event(tokens):
    assert post(tokens) == (204, [EVENT])


def test_the_token_says_which_host_it_is(tokens):
    lying = json.dumps({"alerts": [FIRING], "host": "web1", "receiver": "web1"}).encode()
    assert post(tokens, lying, {"Authorization": f"Bearer {OTHER}"}) == (204, [{**EVENT, "host": "web2"}])


def test_what_is_resolved_is_no_event(tokens):
    assert post(tokens, json.dumps({"alerts": [RESOLVED]}).encode()) == (204, [])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer \u00e9\u00e9"},
        {"X-Token": TOKEN},
    ],
)
def test_a_caller_without_the_secret_changes_nothing(tokens, headers):
    assert post(tokens, BODY, headers) == (401, [])


def test_a_caller_without_the_secret_is_not_read(tokens):
    """He is answered before he has sent what he said he would."""

    async def scenario(_session, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n{")
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return line

    line, events = served(scenario, tokens)
    assert b" 401 " in line and events == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'{"alerts": {}}',
        b'{"alerts": null}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"alerts": ' + b"[" * 200_000,
    ],
)
def test_what_is_no_webhook_is_refused(tokens, body):
    assert post(tokens, body) == (400, [])


def test_alerts_that_are_none_are_left_out(tokens):
    assert post(tokens, json.dumps({"alerts": [1, None, "a", [], {}, FIRING]}).encode()) == (204, [EVENT])


def test_a_body_that_is_too_large_is_refused(tokens):
    assert post(tokens, b" " * (webhook.LARGEST + 1)) == (413, [])

    async def without_length():
        for _number in range(20):
            yield b" " * (webhook.LARGEST // 10)

    async def scenario(session, port):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.post(f"http://127.0.0.1:{port}/alerts", data=without_length(), headers=headers) as answer:
            return answer.status

    assert served(scenario, tokens) == (413, [])


def test_a_body_that_does_not_come_is_given_up(tokens, monkeypatch):
    monkeypatch.setattr(webhook, "PATIENCE", 0.3)

    async def scenario(session, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 900\r\n\r\n{{"
        writer.write(head.encode())
        # Others are served meanwhile.
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.post(f"http://127.0.0.1:{port}/alerts", data=BODY, headers=headers) as answer:
            assert answer.status == 204
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return line

    line, events = served(scenario, tokens)
    assert b" 408 " in line and events == [EVENT]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/alerts", 405), ("POST", "/", 404), ("POST", "/x", 404)]
)
def test_there_is_nothing_else(tokens, method, path, status):
    assert post(tokens, path=path, method=method) == (status, [])


def test_over_tls(tokens, tmp_path):
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    trusted = ssl.create_default_context(cafile=str(certificate))

    async def scenario(session, port):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"https://localhost:{port}/alerts"
        async with session.post(url, data=BODY, headers=headers, ssl=trusted) as answer:
            return answer.status

    args = {"certfile": str(certificate), "keyfile": str(key)}
    assert served(scenario, tokens, **args) == (204, [EVENT])


def mode(tokens):
    Path(tokens["web1"]).chmod(0o640)


def short(tokens):
    Path(tokens["web1"]).write_text("secret")


def same(tokens):
    Path(tokens["web1"]).write_text(OTHER)


@pytest.mark.parametrize(
    ("harm", "part"), [(mode, "chmod 0600"), (short, "6 characters, at least 32"), (same, "same token")]
)
def test_a_secret_that_is_none_is_refused(tokens, harm, part):
    harm(tokens)
    with pytest.raises(ValueError, match=part):
        webhook.check({"tokens": tokens})


@pytest.mark.parametrize("files", [None, {}, "token", ["token"]])
def test_without_a_secret_it_does_not_begin(files):
    with pytest.raises(ValueError, match="tokens has to name"):
        webhook.check({"tokens": files})


def test_a_token_is_not_sent_in_the_clear(tokens):
    for address in ("0.0.0.0", "::", "10.0.0.1"):
        with pytest.raises(ValueError, match="in the clear"):
            webhook.check({"tokens": tokens, "host": address})
    assert webhook.check({"tokens": tokens, "host": "::1"})[1] == "::1"
