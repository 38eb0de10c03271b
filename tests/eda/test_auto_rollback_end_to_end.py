# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an alert in a real Alertmanager, through the rulebook, to a release that is gone back from: once, or not at all.

The stack is one of its own (tests/eda.sh names it), with two releases, the second of which answers with errors soon
after its watch has ended. Prometheus is the test: it says which alerts fire.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    ROOT,
    SETTINGS,
    ask,
    deploy,
    docker,
    eventually,
    routed,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release.faults import variables

# The last that a play tells before it asks the host: the name of a task comes with its result.
ASKS = "arg spec 'auto_rollback'"
RULEBOOKS = ROOT / "extensions/eda/rulebooks"
BROKEN = variables("errors-after:8")
# The rulebook looks again at an alert that fires on after minutes; here after seconds, so that it does so often.
SOON = "3 seconds"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# -- what the host says


def journal(event: str) -> list[dict[str, Any]]:
    lines = (HOME / "journal.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def left(release: str) -> int:
    """How often a release was gone back from."""
    return sum(line["from"] == release for line in journal("rolled_back"))


def works() -> bool:
    return ask("/api/summary").status == 200


def fails() -> bool:
    return ask("/api/summary").status == 500


# -- Alertmanager


class Alertmanager:
    """Debian's Alertmanager; it calls a webhook with the token that is in its file."""

    def __init__(self, directory: Path) -> None:
        self.port, self.webhook_port = free_port(), free_port()
        self.name, self.url = f"{NAME}-test-alertmanager", f"http://127.0.0.1:{self.port}"
        self.token = directory / "token"
        self.token.write_text("not the secret")
        webhook = {
            "url": f"http://127.0.0.1:{self.webhook_port}/alerts",
            "http_config": {"authorization": {"credentials_file": "/etc/alertmanager/token"}},
        }
        configuration = {
            "route": {"receiver": "eda", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "eda", "webhook_configs": [webhook]}],
        }
        (directory / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        docker("rm", "--force", self.name, check=False)
        docker(
            *("run", "--detach", "--name", self.name, "--network", "host", "--user", "0", "--memory", "64m"),
            *("--volume", f"{directory}:/etc/alertmanager:ro", "--entrypoint", "/usr/bin/prometheus-alertmanager"),
            *(os.environ["SIXTY_ALERTMANAGER_IMAGE"], "--config.file=/etc/alertmanager/alertmanager.yml"),
            *("--storage.path=/tmp", "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{self.port}"),
        )
        eventually(lambda: urllib.request.urlopen(f"{self.url}/-/ready", timeout=2).status == 200, "it is ready")

    def remove(self) -> None:
        docker("rm", "--force", self.name)

    def say(self, release: str, minutes: float, **labels: str) -> None:
        """As Prometheus does: an alert fires for so long from now; with 0 it is over."""
        now = datetime.datetime.now(datetime.timezone.utc)
        fixed = {"alertname": "HealthCheckFailing", "rollback_trigger": "health", "service": "api"}
        alert = {
            "labels": {**fixed, "stack": NAME, "release": release, **labels},
            # Whoever made a template of it would be known by this file.
            "annotations": {"summary": "{{ lookup('pipe', 'touch " + str(self.token.with_name("pwned")) + "') }}"},
            "startsAt": now.isoformat(),
            "endsAt": (now + datetime.timedelta(minutes=minutes)).isoformat(),
        }
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}
        )
        assert urllib.request.urlopen(request, timeout=5).status == 200

    @contextlib.contextmanager
    def firing(self, release: str, **labels: str) -> Iterator[None]:
        self.say(release, 10, **labels)
        try:
            yield
        finally:
            self.say(release, 0, **labels)


# -- the rulebook


class Rulebook:
    """ansible-rulebook as the service runs it, but for how soon it looks again."""

    def __init__(self, name: str, directory: Path, settings: dict[str, Any], inventory: Path) -> None:
        text = (RULEBOOKS / name).read_text()
        path, again = directory / name, re.sub(r"once_within: .*", f"once_within: {SOON}", text)
        assert again != text
        path.write_text(again)
        given = directory / "vars.yml"
        given.write_text(yaml.safe_dump(settings))
        given.chmod(0o600)
        self.log = directory / f"{name}.log"
        command = [str(Path(sys.executable).with_name("ansible-rulebook")), "--rulebook", str(path), "--verbose"]
        environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        with self.log.open("a") as output:
            self.start = output.tell()
            self.process = subprocess.Popen(
                [*command, "--inventory", str(inventory), "--vars", str(given)],
                env={**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: "Waiting for events" in self.text, "the rulebook runs", 60)

    @property
    def text(self) -> str:
        """What it said since it was started, with each sentence on one line."""
        with self.log.open() as handle:
            handle.seek(self.start)
            return " ".join(handle.read().split())

    @property
    def verdicts(self) -> list[str]:
        return re.findall(r"msg: '?(ROLLBACK|IGNORE|WAIT): ", self.text)

    def kill(self) -> None:
        """As a machine that goes down does: it, and the plays that it runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory) -> Iterator[Alertmanager]:
    made = Alertmanager(tmp_path_factory.mktemp("alertmanager"))
    yield made
    made.remove()


class Mails:
    """A mail server's handler that remembers."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def handle_DATA(self, server, session, envelope):
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.seen.append(f"{message['Subject']}\n{message.get_body().get_content()}")
        return "250 OK"


@pytest.fixture(scope="module")
def mails() -> Iterator[Mails]:
    handler = Mails()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    handler.port = controller.port
    yield handler
    controller.stop()


@pytest.fixture(scope="module")
def stack():
    """Release r1 is served."""
    assert NAME != "sixty", "this goes back and forth, so it has a stack of its own: tests/eda.sh"
    deploy(release_id="r1")
    yield
    deploy(playbook="playbooks/destroy.yml", docker_host_purge=True)


@pytest.fixture
def inventory(tmp_path, alertmanager, mails):
    """Writes the inventory of the service: the stack, and no secret of it."""

    def write(**settings: Any) -> Path:
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        mail = {"host": "127.0.0.1", "port": mails.port, "secure": "never", "from": "eda@example.com"}
        given = {
            **SETTINGS,
            "release_auto_rollback_alertmanager": alertmanager.url,
            # Tests follow each other more closely than deploys do.
            "release_auto_rollback_cooldown": 0,
            "release_notify_mail": {**mail, "to": "ops@example.com"},
            **settings,
        }
        directory = tmp_path / "inventory"
        directory.mkdir(exist_ok=True)
        (directory / "hosts.yml").write_text(yaml.safe_dump({"stack": {"hosts": {"localhost": local}, "vars": given}}))
        return directory

    return write


@pytest.fixture
def rulebook(tmp_path, alertmanager, inventory):
    """Starts the rulebook that polls, with variables of the inventory; all are gone afterwards."""
    started = []

    def start(name: str = "auto_rollback.yml", settings: dict[str, Any] | None = None, **variables: Any) -> Rulebook:
        places = [{"host": "localhost", "url": alertmanager.url}]
        polling = {"auto_rollback_alertmanagers": places, "auto_rollback_interval": 1}
        started.append(Rulebook(name, tmp_path, settings or polling, inventory(**variables)))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def bad(stack) -> str:
    """A release that was deployed, is served and fails; another one for each test."""
    if routed() != "r1":
        deploy(playbook="rollback.yml", release_id="r1")
    name = f"bad-{secrets.token_hex(3)}"
    deploy(release_id=name, **BROKEN)
    assert routed() == name and [line["release"] for line in journal("promoted")][-1] == name
    eventually(fails, f"{name} fails", 30)
    return name


def test_a_bad_release_is_gone_back_from_once(bad, alertmanager, rulebook, mails):
    runs = rulebook()
    with alertmanager.firing("another-release"):
        eventually(lambda: runs.verdicts, "the host was asked")
        time.sleep(5)
        assert set(runs.verdicts) == {"IGNORE"} and "HealthCheckFailing of another-release" in runs.text
        assert routed() == bad and left(bad) == 0
    with alertmanager.firing(bad, rollback_trigger="disk"), alertmanager.firing(bad, stack="another-stack"):
        time.sleep(5)
        assert routed() == bad and "ROLLBACK" not in runs.verdicts
    with alertmanager.firing(bad):
        fired = time.monotonic()
        eventually(lambda: routed() == "r1", "the release before is served", 60)
        took = time.monotonic() - fired
        print(f"from the alert to the release before: {took:.1f} s")
        eventually(works, "it answers", 10)
        # The alert fires on, and is looked at again and again; one about the release that serves now comes, too.
        with alertmanager.firing("r1"):
            seen = len(runs.verdicts)
            eventually(lambda: len(runs.verdicts) >= seen + 4, "it was looked at again", 60)
        assert routed() == "r1" and left(bad) == 1 and left("r1") == 0
        assert runs.verdicts.count("ROLLBACK") == 1 and runs.process.poll() is None
    reason = journal("rolled_back")[-1]["reason"]
    assert re.match(rf"HealthCheckFailing \(health\) fires for release {bad} since .*, \d+ s after the switch", reason)
    told = eventually(lambda: [text for text in mails.seen if bad in text], "somebody was told", 20)
    assert len(told) == 1 and "Rolled back by itself. Release r1 is served." in told[0] and reason in told[0]
    assert not alertmanager.token.with_name("pwned").exists()


def test_none_outside_the_window(bad, alertmanager, rulebook):
    runs = rulebook(release_auto_rollback_window=5)
    with alertmanager.firing(bad):
        eventually(lambda: len(runs.verdicts) >= 2, "the host was asked twice")
        assert set(runs.verdicts) == {"IGNORE"} and "and the window is 5 s" in runs.text
    assert routed() == bad and left(bad) == 0


def test_none_within_the_cool_down(bad, alertmanager, rulebook):
    runs = rulebook(release_auto_rollback_cooldown=86400)
    with alertmanager.firing(bad):
        eventually(lambda: runs.verdicts, "the host was asked")
        assert "the cool-down is 86400 s" in runs.text
    assert routed() == bad and left(bad) == 0


def test_a_silence_is_heard(bad, alertmanager, rulebook):
    matcher = {"name": "release", "value": bad, "isRegex": False, "isEqual": True}
    now = datetime.datetime.now(datetime.timezone.utc)
    silence = {
        **{"matchers": [matcher], "createdBy": "ann", "comment": "we know", "startsAt": now.isoformat()},
        "endsAt": (now + datetime.timedelta(minutes=5)).isoformat(),
    }
    request = urllib.request.Request(
        f"{alertmanager.url}/api/v2/silences", json.dumps(silence).encode(), {"Content-Type": "application/json"}
    )
    assert urllib.request.urlopen(request, timeout=5).status == 200
    runs = rulebook()
    with alertmanager.firing(bad):
        time.sleep(6)
    assert runs.verdicts == [] and routed() == bad


def test_a_persons_rollback_counts(bad, alertmanager, rulebook):
    """Somebody went back, and forward again: he knows."""
    for target in ("r1", bad):
        deploy(playbook="rollback.yml", release_id=target)
    before = len(journal("rolled_back"))
    runs = rulebook()
    with alertmanager.firing(bad):
        eventually(lambda: len(runs.verdicts) >= 2, "the host was asked twice")
        assert set(runs.verdicts) == {"IGNORE"} and "by a rollback, not by a deploy" in runs.text
    assert routed() == bad and len(journal("rolled_back")) == before


def test_a_running_deploy_is_waited_for(stack, alertmanager, rulebook):
    """The release is watched by its deploy, which finds nothing; the alert comes in the middle of that."""
    name, ended = f"watched-{secrets.token_hex(3)}", []
    runs = rulebook()
    # Other work on this machine slows it down, and is not to end the watch.
    long = {"release_watch_seconds": 25, "release_watch_degradation_percent": 100_000}
    deploying = threading.Thread(target=lambda: ended.append(deploy(release_id=name, **long)))
    deploying.start()
    eventually(lambda: routed() == name and (HOME / "lock.json").exists(), "it is switched to", 90)
    with alertmanager.firing(name):
        eventually(lambda: ASKS in runs.text, "the host is asked", 20)
        time.sleep(5)
        assert runs.verdicts == [] and routed() == name and (HOME / "lock.json").exists()
        deploying.join(90)
        assert ended and ended[0].code == 0
        eventually(lambda: left(name) == 1, "then it was gone back from", 60)
        eventually(lambda: runs.verdicts, "and that was told", 30)
    assert runs.verdicts[0] == "ROLLBACK"
    promoted, back = journal("promoted")[-1], journal("rolled_back")[-1]
    assert promoted["release"] == back["from"] == name and promoted["time"] < back["time"]


@pytest.mark.parametrize("moment", ["while it decides", "after the rename"])
def test_killed_and_started_again_it_does_not_go_back_twice(bad, alertmanager, rulebook, moment):
    runs = rulebook()
    with alertmanager.firing(bad):
        if moment == "while it decides":
            eventually(lambda: ASKS in runs.text, "the host is asked", 60)
        else:
            eventually(lambda: routed() != bad, "it was gone back from", 60)
        runs.kill()
        again = rulebook()
        eventually(lambda: routed() != bad, "it was gone back from", 60)
        seen = len(again.verdicts)
        eventually(lambda: len(again.verdicts) >= seen + 2, "the host was asked again", 60)
        assert again.verdicts[-2:] == ["IGNORE", "IGNORE"]
        eventually(works, "the release before answers", 30)
    assert left(bad) == 1 and routed() == "r1"


def call(port: int, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/alerts", body, headers)
        return connection.getresponse().status


def test_only_who_has_the_secret_is_heard(bad, alertmanager, rulebook, tmp_path):
    secret = secrets.token_hex(32)
    token = tmp_path / "localhost.token"
    token.write_text(secret)
    token.chmod(0o600)
    settings = {"auto_rollback_tokens": {"localhost": str(token)}, "auto_rollback_port": alertmanager.webhook_port}
    runs = rulebook("auto_rollback_webhook.yml", settings)
    labels = {"alertname": "A", "stack": NAME, "rollback_trigger": "health", "release": bad}
    body = json.dumps({"alerts": [{"status": "firing", "labels": labels}]}).encode()
    port = alertmanager.webhook_port
    # The alert fires, so that the host would go back if it were asked.
    with alertmanager.firing(bad):
        for headers in ({}, {"Authorization": "Bearer " + "x" * 64}, {"Authorization": f"Basic {secret}"}):
            assert call(port, body, headers) == 401
        authorized = {"Authorization": f"Bearer {secret}"}
        assert call(port, b"{" * 1000, authorized) == 400
        # The connection may be closed before all of it is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            assert call(port, b" " * (3 << 20), authorized) == 413
        eventually(lambda: "without a valid token was refused" in runs.text, "Alertmanager itself has another token")
        time.sleep(5)
        assert "PLAY" not in runs.text and routed() == bad and left(bad) == 0
        assert secret not in Path(f"/proc/{runs.process.pid}/cmdline").read_text()
        # Alertmanager gets the right one.
        alertmanager.token.write_text(secret)
        eventually(lambda: routed() == "r1", "the release before is served", 60)
        eventually(works, "it answers", 10)
        eventually(lambda: "ROLLBACK" in runs.verdicts, "and that was told", 30)
    assert left(bad) == 1 and secret not in runs.text


def test_who_has_the_secret_cannot_make_it_up(bad, alertmanager, rulebook, tmp_path):
    """A stolen token makes the host look, and no more: its own Alertmanager says whether something fires."""
    secret = secrets.token_hex(32)
    token = tmp_path / "localhost.token"
    token.write_text(secret)
    token.chmod(0o600)
    port = free_port()
    runs = rulebook(
        "auto_rollback_webhook.yml",
        {"auto_rollback_tokens": {"localhost": str(token)}, "auto_rollback_port": port},
    )
    labels = {"alertname": "A", "stack": NAME, "rollback_trigger": "health", "release": bad}
    body = json.dumps({"alerts": [{"status": "firing", "labels": labels}]}).encode()
    assert call(port, body, {"Authorization": f"Bearer {secret}"}) == 204
    eventually(lambda: runs.verdicts, "the host was asked")
    assert runs.verdicts == ["IGNORE"] and "No alert that asks for a rollback fires" in runs.text
    assert routed() == bad and left(bad) == 0
