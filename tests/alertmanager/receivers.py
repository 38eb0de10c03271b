# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of alerts: HTTPS for Slack, PagerDuty, a webhook and a heartbeat; a mail server with TLS and a login."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificate(NamedTuple):
    """A self-made certificate: its PEM text, and what a server does with it."""

    text: str
    context: ssl.SSLContext


def certificate(address: str, directory: Path) -> Certificate:
    """One that is valid for an IP address and for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    text = signed.public_bytes(serialization.Encoding.PEM)
    path = directory / f"{signed.serial_number}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + text
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return Certificate(text.decode(), context)


class Request(NamedTuple):
    """A request that arrived; when, by the monotonic clock in seconds."""

    at: float
    path: str
    headers: dict[str, str]
    json: Any


class Web(ThreadingHTTPServer):
    """Remembers what is posted to it. Answers as Slack's incoming webhook does, unless a path has its own answer."""

    daemon_threads = True
    # A burst is more than the five that wait by default.
    request_queue_size = 128

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        super().__init__((address, 0), _Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.requests: list[Request] = []
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://{self.server_address[0]}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not believe the certificate ends here, which the tests see by what does not arrive."""

    def at(self, path: str) -> list[Request]:
        return [request for request in list(self.requests) if request.path == path]

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """The tests read ``requests`` instead."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(time.monotonic(), self.path, headers, json.loads(body)))
        status, more = self.server.answers.get(self.path, (200, {}))
        self.send_response(status)
        for name, value in {"Content-Length": "2", **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"ok")


class Mail:
    """A mail server and what it was sent. ``tls`` is starttls, always (from the first byte) or never."""

    def __init__(
        self, address: str, context: ssl.SSLContext, login: tuple[str, str], tls: str = "starttls", port: int = 0
    ) -> None:
        self.login = login
        self.messages: list[tuple[list[str], str, EmailMessage]] = []
        self.logins: list[tuple[str, str]] = []
        options: dict[str, Any] = {"auth_require_tls": tls != "never", "authenticator": self.authenticate}
        if tls == "starttls":
            options.update(tls_context=context, require_starttls=True, auth_required=True)
        if tls == "always":
            # To aiosmtpd, TLS from the first byte is none; a password may be asked for all the same.
            options.update(ssl_context=context, auth_required=True, auth_require_tls=False)
        # Its prompts of LOGIN are not those that Go's clients know.
        options["auth_exclude_mechanism"] = ["LOGIN"]
        self.controller = Controller(self, hostname=address, port=port or free_port(address), **options)
        self.controller.start()

    @property
    def port(self) -> int:
        return self.controller.port

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        self.logins.append(given)
        return AuthResult(success=given == self.login, handled=False)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.messages.append((envelope.rcpt_tos, envelope.mail_from, message))
        return "250 OK"

    def close(self) -> None:
        self.controller.stop()


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as probe:
        return probe.getsockname()[1]
