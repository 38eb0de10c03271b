# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP/1.1 server: GET and HEAD in one thread, with every buffer, time and number bounded.

A WSGI server copies each answer for each client: with 200 scrapes of 100 KB at once that alone is 20 MB of the 32.
Here all clients share one body, what the kernel may buffer for each is small, and a client that is slow to ask or
slow to read is cut off. At the limit the one that has waited longest makes room, so that slow ones keep nobody out.
"""

from __future__ import annotations

import selectors
import socket
import time
import traceback

MOST_CONNECTIONS = 256
LONGEST_REQUEST = 8192
# Seconds: to send a request once it has begun, to take an answer, to be silent in between.
REQUEST_SECONDS, ANSWER_SECONDS, IDLE_SECONDS = 5.0, 10.0, 60.0
# Seconds for answers under way at the end.
GRACE_SECONDS = 2.0
# The kernel doubles it. Of a client that does not read, no more is kept. (Measured: 800 KB take 0.2 ms over a bridge.)
SEND_BUFFER = 16384
REASONS = {
    **{200: "OK", 304: "Not Modified", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"},
    **{413: "Content Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error"},
    **{503: "Service Unavailable", 505: "HTTP Version Not Supported"},
}
HEADERS = (
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
)


class Response:
    """Status, body, content type; with an ETag it may be kept and asked for again, without one it may not."""

    __slots__ = ("body", "etag", "kind", "status")

    def __init__(self, status, body, kind="text/plain; charset=utf-8", etag=""):
        self.status, self.body, self.kind, self.etag = status, body, kind, etag


class Refused(Exception):
    """A request that is answered with an error, after which the connection ends."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


def parse(head):
    """(method, path, query, headers) of a request without its empty line. Raises Refused."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[1].startswith("/"):
        raise Refused(400)
    if parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(505)
    headers = {"": parts[2]}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refused(400)
        headers[name.lower()] = value.strip()
    if parts[2] == "HTTP/1.1" and "host" not in headers:
        raise Refused(400)
    # Nothing that is asked here has a body, and one that is not read would be the next request.
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise Refused(413)
    path, _mark, query = parts[1].partition("?")
    pairs = (pair.partition("=") for pair in query.split("&"))
    return parts[0], path, {name: value for name, _equals, value in pairs}, headers


class Connection:
    __slots__ = ("deadline", "given", "keep", "left", "since", "socket")

    def __init__(self, given_socket, now):
        self.socket, self.given, self.left, self.keep = given_socket, bytearray(), [], True
        self.since, self.deadline = now, now + REQUEST_SECONDS


class Server:
    """C(answer) takes a path and its query and gives a Response."""

    def __init__(self, address, answer, clock=time.monotonic):
        self._answer, self._clock = answer, clock
        self._connections = set()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(address, backlog=MOST_CONNECTIONS)
        # Accepted connections inherit it.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stopping = False
        self.address = self._listener.getsockname()

    def stop(self):
        """Take no more connections, and end when those that are being answered are."""
        self._stopping = True

    def run(self):
        swept, last = self._clock(), None
        while True:
            if self._stopping and last is None:
                last = self._clock() + GRACE_SECONDS
                self._selector.unregister(self._listener)
                self._listener.close()
                for connection in [each for each in self._connections if not each.left]:
                    self._close(connection)
            if last is not None and (not self._connections or self._clock() > last):
                break
            for key, events in self._selector.select(0.25):
                if key.data is None:
                    self._accept()
                else:
                    self._serve(key.data, events)
            if self._clock() - swept >= 0.25:
                swept = self._clock()
                for connection in [each for each in self._connections if each.deadline < swept]:
                    self._close(connection)
        for connection in list(self._connections):
            self._close(connection)
        self._selector.close()

    def _accept(self):
        try:
            given, _address = self._listener.accept()
        except OSError:
            return
        given.setblocking(False)
        given.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._connections) >= MOST_CONNECTIONS:
            self._close(min(self._connections, key=lambda each: (bool(each.left), each.since)))
        connection = Connection(given, self._clock())
        self._connections.add(connection)
        self._selector.register(given, selectors.EVENT_READ, connection)

    def _serve(self, connection, events):
        # It made room for another one in this round.
        if connection not in self._connections:
            return
        try:
            if events & selectors.EVENT_WRITE:
                self._advance(connection)
            else:
                self._receive(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _receive(self, connection):
        data = connection.socket.recv(LONGEST_REQUEST)
        if not data:
            self._close(connection)
            return
        if not connection.given:
            connection.since = self._clock()
            connection.deadline = connection.since + REQUEST_SECONDS
        connection.given += data
        self._advance(connection)

    def _advance(self, connection):
        """Answer what was asked, one request after the other, as far as the client reads."""
        while connection.left or self._take(connection):
            try:
                while connection.left:
                    sent = connection.socket.send(connection.left[0])
                    connection.left[0] = connection.left[0][sent:]
                    if not connection.left[0]:
                        connection.left.pop(0)
            except BlockingIOError:
                # Nothing more is read from a client before it has read.
                self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
                return
            if self._stopping or not connection.keep:
                self._close(connection)
                return
            connection.since = self._clock()
            connection.deadline = connection.since + (REQUEST_SECONDS if connection.given else IDLE_SECONDS)
        self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _take(self, connection):
        """Whether a whole request was there, whose answer is now in C(left)."""
        end = connection.given.find(b"\r\n\r\n")
        if end < 0 and len(connection.given) < LONGEST_REQUEST:
            return False
        method, headers = "GET", {"": "HTTP/1.1", "connection": "close"}
        try:
            if not 0 <= end < LONGEST_REQUEST:
                raise Refused(431)
            method, path, query, headers = parse(bytes(connection.given[:end]))
            del connection.given[: end + 4]
            if method not in ("GET", "HEAD"):
                raise Refused(405)
            response = self._answer(path, query)
        except Refused as refused:
            response = self._refuse(connection, headers, refused.status)
        # An error here ends one connection, and not the service.
        except Exception:
            traceback.print_exc()
            response = self._refuse(connection, headers, 500)
        wishes = headers.get("connection", "").lower()
        connection.keep = wishes != "close" and headers[""] == "HTTP/1.1"
        connection.left = list(written(method, headers, response, connection.keep))
        connection.since = self._clock()
        connection.deadline = connection.since + ANSWER_SECONDS
        return True

    @staticmethod
    def _refuse(connection, headers, status):
        connection.given.clear()
        headers["connection"] = "close"
        return Response(status, f"{REASONS[status]}\n".encode())

    def _close(self, connection):
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()


def written(method, headers, response, keep):
    """The parts of an answer, as views: the body itself is shared by all who get it."""
    status, body = response.status, response.body
    if response.etag and headers.get("if-none-match") == response.etag:
        status, body = 304, b""
    lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}",
        f"Cache-Control: {'no-cache' if response.etag else 'no-store'}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    if response.etag:
        lines.append(f"ETag: {response.etag}")
    if status == 405:
        lines.append("Allow: GET, HEAD")
    if status != 304:
        lines += [f"Content-Type: {response.kind}", f"Content-Length: {len(body)}"]
    yield memoryview(("\r\n".join(lines) + "\r\n" + HEADERS + "\r\n").encode("latin-1"))
    if method != "HEAD" and body:
        yield memoryview(body)
