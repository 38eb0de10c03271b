# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server over real sockets: what it answers, and what it does not let clients do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time

import pytest
from memory_monitor import server as module
from memory_monitor.server import Response, Server

BIG = bytes(range(256)) * 4096


def answer(path, query):
    if path == "/big":
        return Response(200, BIG, "application/octet-stream")
    if path == "/file":
        return Response(200, b"file", etag='"1"')
    if path == "/echo":
        return Response(200, repr(query).encode())
    if path == "/broken":
        raise RuntimeError("nobody thought of this")
    return Response(200 if path == "/" else 404, path.encode())


@pytest.fixture
def served(monkeypatch):
    """A server with short times; gives its address."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.6)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.8)
    monkeypatch.setattr(module, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.5)
    running = Server(("127.0.0.1", 0), answer)
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running
    running.stop()
    thread.join(5)
    assert not thread.is_alive() and not running._connections


def connect(served, timeout=5):
    return contextlib.closing(socket.create_connection(served.address, timeout))


def exchange(served, request):
    """All that comes back until the server closes."""
    with connect(served) as client:
        client.sendall(request)
        return read_all(client)


def read_all(client):
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            found += part
    return found


def status(text):
    return int(text.split()[1])


def test_get_and_keep_alive(served):
    client = http.client.HTTPConnection(*served.address, timeout=5)
    for _ in range(3):
        client.request("GET", "/")
        found = client.getresponse()
        assert (found.status, found.read()) == (200, b"/")
        port = client.sock.getsockname()
    assert client.sock.getsockname() == port
    client.close()


def test_headers(served):
    client = http.client.HTTPConnection(*served.address, timeout=5)
    client.request("GET", "/")
    found = client.getresponse()
    found.read()
    assert found.headers["X-Content-Type-Options"] == "nosniff" and found.headers["Cache-Control"] == "no-store"
    policy = found.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    client.close()


def test_head_is_get_without_a_body(served):
    client = http.client.HTTPConnection(*served.address, timeout=5)
    client.request("GET", "/big")
    get = client.getresponse()
    get.read()
    client.request("HEAD", "/big")
    head = client.getresponse()
    assert head.read() == b"" and head.headers["Content-Length"] == str(len(BIG))
    for found in (get, head):
        del found.headers["Date"]
    assert head.headers.items() == get.headers.items()
    client.close()


def test_an_etag_is_asked_for_again(served):
    client = http.client.HTTPConnection(*served.address, timeout=5)
    for given, expected in ((None, 200), ('"1"', 304), ('"2"', 200)):
        client.request("GET", "/file", headers={"If-None-Match": given} if given else {})
        found = client.getresponse()
        assert (found.status, found.read()) == (expected, b"file" if expected == 200 else b"")
        assert found.headers["ETag"] == '"1"' and found.headers["Cache-Control"] == "no-cache"
    client.close()


def test_an_answer_that_does_not_fit_the_buffers(served):
    client = http.client.HTTPConnection(*served.address, timeout=5)
    for _ in range(3):
        client.request("GET", "/big")
        assert client.getresponse().read() == BIG
    client.close()


def test_query(served):
    text = exchange(served, b"GET /echo?service=all&x HTTP/1.0\r\n\r\n")
    assert text.endswith(b"{'service': 'all', 'x': ''}")


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 8192, 431),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n", 500),
    ],
)
def test_what_is_refused_ends_the_connection(served, request_text, expected):
    text = exchange(served, request_text)
    assert status(text) == expected and b"Connection: close" in text
    assert (b"Allow: GET, HEAD" in text) == (expected == 405)
    # And nothing else.
    assert status(exchange(served, b"GET / HTTP/1.0\r\n\r\n")) == 200


def test_requests_that_do_not_wait(served):
    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    text = exchange(served, 200 * ask + b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert text.count(b"HTTP/1.1 200") == 200 and text.endswith(b"/last")


def test_a_request_in_pieces(served):
    with connect(served) as client:
        for byte in b"GET / HTTP/1.0\r\n\r\n":
            client.sendall(bytes([byte]))
            time.sleep(0.005)
        assert status(read_all(client)) == 200


def test_a_client_that_never_ends_its_request_is_cut_off(served):
    """However busily it sends."""
    with connect(served) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < 4:
                client.sendall(b"X: y\r\n")
                time.sleep(0.05)
        assert 0.5 < time.monotonic() - began < 2


def test_a_client_that_says_nothing_is_cut_off(served):
    with connect(served) as client:
        began = time.monotonic()
        assert read_all(client) == b"" and time.monotonic() - began < 2


def test_a_client_that_does_not_read_is_cut_off(served):
    with connect(served) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        began = time.monotonic()
        while served._connections:
            assert time.monotonic() - began < 3
            time.sleep(0.02)
        assert len(read_all(client)) < len(BIG)


def test_at_the_limit_the_oldest_makes_room(served, monkeypatch):
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 8)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(served)) for _ in range(8)]
        for client in slow:
            client.sendall(b"GET / HT")
        for _ in range(20):
            assert status(exchange(served, b"GET / HTTP/1.0\r\n\r\n")) == 200
        assert len(served._connections) <= 8


def test_many_at_once(served):
    texts = []

    def client():
        texts.append(exchange(served, b"GET /big HTTP/1.0\r\n\r\n"))

    threads = [threading.Thread(target=client) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text.endswith(BIG) for text in texts] == [True] * 100


def test_the_end_waits_for_an_answer_under_way(served, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 5)
    monkeypatch.setattr(module, "GRACE_SECONDS", 5)
    with connect(served) as client, connect(served) as idle:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        while not any(each.left for each in list(served._connections)):
            time.sleep(0.01)
        served.stop()
        assert read_all(idle) == b""
        assert read_all(client).endswith(BIG)
        with pytest.raises(OSError):
            socket.create_connection(served.address, 1).close()
