# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notifications to a Slack and a mail server of the test's own, and the hooks of a release; no stack is needed.

Slack's own webhooks have a fixed address. The module still knows the older form, whose token has no slash and whose
domain is free, so what arrives here is what it would send there.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import subprocess
import threading
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import play
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PLAYBOOK = "tests/integration/playbooks/notify.yml"
TOKEN, PASSWORD = "tOkEn4711oFsLaCk", "pAsSw0rd4711oFmAiL"
EVENTS = ["started", "switched", "promoted", "failed", "rolled_back"]


class Slack(ThreadingHTTPServer):
    """Answers with a status, or not for as long as it hangs, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), SlackHandler)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.status = 200
        self.seen: list[tuple[str, dict]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def settings(self) -> dict:
        domain = f"127.0.0.1:{self.server_port}"
        return {"token": TOKEN, "domain": domain, "channel": "#ops", "username": "Deploys", "validate_certs": False}


class SlackHandler(BaseHTTPRequestHandler):
    server: Slack

    def log_message(self, format: str, *args: object) -> None:
        """Tests read ``seen`` instead."""

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.go_on.wait(60)
        self.server.seen.append((self.path, sent))
        with contextlib.suppress(OSError):  # who gave up is not there any more
            self.send_response(self.server.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")


class Mail:
    """A handler of the mail server; its receivers at refused.example are refused."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[str], str, EmailMessage]] = []
        self.logins: list[tuple[bytes, bytes]] = []

    def authenticate(self, server, session, envelope, mechanism, data) -> AuthResult:
        self.logins.append((data.login, data.password))
        # Not handled here: the server says 535 itself.
        return AuthResult(success=(data.login, data.password) == (b"deploys", PASSWORD.encode()), handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.endswith("@refused.example"):
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.seen.append((envelope.rcpt_tos, envelope.mail_from, message))
        return "250 OK"


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> ssl.SSLContext:
    """A self-made certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(path)
    return made


@pytest.fixture
def slack(context):
    server = Slack(context)
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def mail(context):
    handler = Mail()
    controller = Controller(
        handler, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True,
        auth_required=True, authenticator=handler.authenticate,
    )  # fmt: skip
    controller.start()
    handler.settings = {
        "host": "127.0.0.1", "port": controller.port, "secure": "starttls", "username": "deploys", "password": PASSWORD,
        "from": "Deploys <deploys@example.com>", "to": ["ops@example.com", "night@example.com"],
    }  # fmt: skip
    yield handler
    controller.stop()


@pytest.fixture
def silent():
    """The port of a server that takes a connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def notify(*arguments, event="switched", text="It answered 5 times in a row.", code=0, **variables):
    """A play that notifies, with settings that are none unless given; no secret may be in what it prints."""
    given = {
        "release_notify_slack": {}, "release_notify_mail": {}, "release_notify_events": EVENTS,
        "release_notify_timeout": 10, "release_event": event, "release_event_text": text, **variables,
    }  # fmt: skip
    ended = play(*arguments, playbook=PLAYBOOK, environment={"SUDO_USER": "alice"}, **given)
    assert ended.code == code, ended.tail
    assert code or "The deploy went on." in ended.said
    assert TOKEN not in ended.text and PASSWORD not in ended.text
    assert ended.recap["changed"] == 0
    return ended


@pytest.mark.parametrize(
    ("event", "color"),
    [
        ("started", "#439fe0"),
        ("switched", "good"),
        ("promoted", "good"),
        ("failed", "danger"),
        ("rolled_back", "warning"),
    ],
)
def test_the_message_arrives_whole(slack, mail, event, color):
    ended = notify(
        "-vvv",
        event=event,
        text="p95 < 20 ms & falling.\nSecond line.",
        release_event_details={"reason": "memory over 90 %", "previous": "r0"},
        release_notify_slack=slack.settings,
        release_notify_mail=mail.settings,
    )
    assert "NOT NOTIFIED" not in ended.said
    [(path, sent)] = slack.seen
    assert parse_qs(urlsplit(path).query) == {"token": [TOKEN]}
    assert (sent["channel"], sent["username"]) == ("#ops", "Deploys")
    [part] = sent["attachments"]
    assert part["color"] == color
    title = f"Release r2: {event.replace('_', ' ')}"
    lines = ["Host: localhost", "Release: r2", "Previous: r0", "User: alice", "Reason: memory over 90 %"]
    assert title in part["text"] and "p95 &lt; 20 ms &amp; falling.\nSecond line.\n" in part["text"]
    [(receivers, sender, message)] = mail.seen
    assert mail.logins == [(b"deploys", PASSWORD.encode())]
    assert (set(receivers), sender) == ({"ops@example.com", "night@example.com"}, "deploys@example.com")
    assert title in message["Subject"]
    body = next(message.iter_parts()).get_content()
    assert "p95 < 20 ms & falling.\nSecond line.\n" in body
    for text in (part["text"], body):
        assert [line for line in text.splitlines() if line in lines] == lines


def test_only_what_is_set_up_and_asked_for_is_told(slack, mail):
    both = {"release_notify_slack": slack.settings, "release_notify_mail": mail.settings}
    notify(event="switched", release_notify_events=["failed", "rolled_back"], **both)
    notify("--check", event="failed", **both)
    notify(event="failed")
    assert slack.seen == [] and mail.seen == []
    notify(event="failed", release_notify_events=["failed"], release_notify_slack=slack.settings)
    assert len(slack.seen) == 1 and mail.seen == []
    notify(event="failed", release_notify_events=["failed"], release_notify_mail=mail.settings)
    assert len(slack.seen) == 1 and len(mail.seen) == 1


def test_receivers_that_are_down(slack, mail):
    ended = notify(
        "-vvv",
        release_notify_slack={**slack.settings, "domain": f"127.0.0.1:{free_port()}"},
        release_notify_mail={**mail.settings, "port": free_port()},
    )
    assert "NOT NOTIFIED: Slack was not told" in ended.said
    assert "NOT NOTIFIED: not all of the mail was sent" in ended.said
    assert ended.said.count("Connection refused") >= 2
    assert ended.recap["failed"] == 0


def test_receivers_that_refuse(slack, mail):
    slack.status = 500
    ended = notify(
        "-vvv",
        release_notify_slack=slack.settings,
        release_notify_mail={**mail.settings, "password": PASSWORD + "x"},
    )
    assert "NOT NOTIFIED: Slack" in ended.said and "HTTP Error 500" in ended.said
    assert "NOT NOTIFIED: not all of the mail" in ended.said and "Authentication to 127.0.0.1" in ended.said, ended.tail
    assert len(slack.seen) == 1 and mail.seen == []
    settings = {**mail.settings, "to": ["ops@example.com", "gone@refused.example"]}
    ended = notify(release_notify_mail=settings)
    assert "NOT NOTIFIED: not all of the mail" in ended.said and "at least one recipient" in ended.said
    assert [receivers for receivers, _sender, _message in mail.seen] == [["ops@example.com"]]


def test_receivers_that_hang_are_given_up(slack, mail, silent):
    slack.go_on.clear()
    began = time.monotonic()
    ended = notify(
        "-vvv",
        release_notify_slack=slack.settings,
        release_notify_mail={**mail.settings, "port": silent, "secure": "try"},
        release_notify_timeout=2,
    )
    # Two receivers of 2 s, and what the play itself takes.
    assert time.monotonic() - began < 12
    assert ended.said.count("Timed out after 2 second(s)") >= 2, ended.tail
    assert ended.said.count("NOT NOTIFIED") == 2


def test_settings_without_sense_are_told_too(slack):
    ended = notify(release_notify_slack={"channel": "#ops"})
    assert "NOT NOTIFIED: Slack" in ended.said and "token" in ended.said


def test_a_failed_deploy_stays_failed_when_nobody_can_be_told(slack, mail):
    ended = notify(
        event="failed",
        code=2,
        deploy_fails=True,
        release_notify_slack={**slack.settings, "domain": f"127.0.0.1:{free_port()}"},
        release_notify_mail={**mail.settings, "port": free_port()},
    )
    assert ended.said.count("NOT NOTIFIED") == 2 and ended.recap["failed"] == 1
    assert "The deploy went on." not in ended.said


# -- hooks


def hooks(occasion, entries, *arguments, code=0, **variables):
    ended = play(
        *arguments, playbook=PLAYBOOK, release_hook_when=occasion, release_hooks={occasion: entries}, **variables
    )
    assert ended.code == code, ended.tail
    assert ("The deploy went on." in ended.said) == (code == 0)
    return ended


def write(path: Path, name: str) -> list[str]:
    """A command that writes its name and what it was told of the release."""
    facts = "$SIXTY_STACK $SIXTY_RELEASE $SIXTY_PREVIOUS $SIXTY_EVENT $SIXTY_HOST"
    return ["sh", "-c", f'echo "{name} {facts}" >> {path}']


@pytest.mark.parametrize("occasion", ["before_switch", "after_switch", "on_failure", "after_promote"])
def test_hooks_run_in_order_and_know_the_release(tmp_path, occasion):
    path, tasks = tmp_path / "ran", tmp_path / "warm up.yml"
    second = {"ansible.builtin.command": {"argv": write(path, "second")}, "name": "Write", "changed_when": True}
    tasks.write_text(json.dumps([second]))
    entries = [
        {"name": "first", "command": write(path, "first")},
        {"name": "second", "tasks": str(tasks)},
        {"name": "third", "command": write(path, "third"), "where": "controller", "timeout": 5},
    ]
    assert "first, second, third" in hooks(occasion, entries, "--check", stack_name="trial").said
    assert not path.exists()
    hooks(occasion, entries, stack_name="trial")
    told = f"trial r2 r1 {occasion} localhost"
    assert path.read_text().splitlines() == [f"first {told}", f"second {told}", f"third {told}"]


FAILING = {
    "exits": ({"command": ["sh", "-c", "echo no room >&2; exit 3"]}, "no room"),
    "hangs": ({"command": ["sleep", "4711"], "timeout": 1}, "it did not end within 1 s"),
    "unknown": ({"command": ["no-such-program"], "where": "controller"}, "no-such-program"),
    "missing": ({"tasks": "/nowhere/hook.yml"}, "/nowhere/hook.yml is not a file"),
    "tasks": ({"tasks": "{tmp_path}/fails.yml"}, "the cache is cold"),
}


@pytest.mark.parametrize(("entry", "reason"), FAILING.values(), ids=FAILING)
def test_a_failing_hook_stops_what_comes_before_the_switch_only(tmp_path, entry, reason):
    fails = {"ansible.builtin.fail": {"msg": "the cache is cold"}, "name": "Fail"}
    (tmp_path / "fails.yml").write_text(json.dumps([fails]))
    path = tmp_path / "ran"
    entry = {"name": "warm", **entry}
    if "tasks" in entry:
        entry["tasks"] = entry["tasks"].format(tmp_path=tmp_path)
    entries = [entry, {"name": "next", "command": write(path, "next")}]

    ended = hooks("before_switch", entries, code=2)
    assert 'The hook "warm" failed before the switch' in ended.said and reason in ended.said
    assert "the old release r1 goes on serving" in ended.said
    assert not path.exists() and ended.recap["failed"] == 1

    ended = hooks("after_switch", entries)
    assert 'HOOK FAILED: "warm" (after_switch)' in ended.said and reason in ended.said
    assert path.read_text().startswith("next ") and ended.recap["failed"] == 0
    left = subprocess.run(["pgrep", "--full", "^sleep 4711$"], capture_output=True, text=True, check=False)
    assert left.stdout == "", "what hangs is ended"


def test_the_first_release_has_none_that_goes_on_serving(tmp_path):
    entry = {"name": "warm", "command": ["false"]}
    ended = hooks("before_switch", [entry], code=2, __release_status={"previous": None})
    assert "there was no release before, so nothing is served" in ended.said
