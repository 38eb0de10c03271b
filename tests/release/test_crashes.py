# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy that is killed, cut off, or not alone: the site serves throughout, and the next run leaves nothing over."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import subprocess
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    UNLIMITED,
    Load,
    Play,
    ask,
    containers,
    deploy,
    eventually,
    play,
    routed,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults

pytestmark = pytest.mark.usefixtures("restored")
WATCH = {**UNLIMITED, "release_watch_seconds": 6, "release_watch_period": 1, "release_ready_timeout": 20}
BACK = {"playbook": "rollback.yml"}


def name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def old():
    """A release that serves before each test."""
    made = name("old")
    deploy(release_id=made, **{**WATCH, "release_watch_seconds": 0})
    return made


@pytest.fixture
def hook(tmp_path):
    """A program for SIXTY_TEST_HOOK: it does something once, when a phase is reached."""

    def make(phase: str, command: str) -> dict[str, str]:
        path = tmp_path / f"hook-{phase}"
        path.write_text(
            textwrap.dedent(
                f"""\
                #!/bin/sh
                if [ "$1" = {phase} ] && mkdir {tmp_path}/once-{phase} 2>/dev/null; then
                  {command}
                fi
                """
            )
        )
        path.chmod(0o755)
        return {"SIXTY_TEST_HOOK": str(path)}

    return make


def kill_module(_release: str) -> str:
    """The program's parent is the guard itself."""
    return "kill -9 $PPID"


def kill_play(release: str) -> str:
    """The play and its workers, by the release id on their command lines; the guard's has none."""
    return f"pkill -9 -f -- 'extra-vars.*{release}'"


def state() -> dict[str, Any]:
    return json.loads((HOME / "state.json").read_text())


def is_clean(release: str) -> bool:
    """One release runs and is served, and nothing is under way."""
    running = [one["Name"] for one in containers() if one["Config"]["Labels"]["sixty.service"] == "api"]
    one_off = [one["Name"] for one in containers(NAME, "--all") if one["Config"]["Labels"]["sixty.service"] == "once"]
    page, data = ask("/"), ask("/api/release")
    return (
        running == [f"/{NAME}-api-{release}"]
        and one_off == []
        and (page.release, data.release, routed()) == (release, release, release)
        and "deploy" not in state()
        and not (HOME / "lock.json").exists()
    )


@contextlib.contextmanager
def served_throughout() -> Iterator[Load]:
    with Load(40) as load:
        eventually(lambda: load.is_well(load.began), "the load is served before anything breaks")
        yield load
        done = time.monotonic()
        eventually(lambda: load.is_well(done), "the load is served at the end")
    assert load.failed == [], load.report()
    assert load.lost() == []


KILLS: dict[str, Callable[[str], str]] = {"module": kill_module, "play": kill_play}
PHASES = ("begun", "staged", "healthy", "routed", "switched", "watching", "watched")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("victim", KILLS)
def test_killed_and_deployed_again(old, hook, phase, victim):
    new = name("new")
    with served_throughout():
        first = play(release_id=new, environment=hook(phase, KILLS[victim](new)), **WATCH)
        assert first.code != 0, first.tail
        if victim == "module":
            assert "The guard ended without a word, most likely killed" in first.said, first.tail
        else:
            # Nobody listens to the guard any more, and it comes to its end.
            eventually(lambda: not (HOME / "lock.json").exists(), "the guard ends")
            assert is_clean(new)
        again = deploy(release_id=new, **WATCH)
        assert is_clean(new)
    if victim == "module" and phase in ("routed", "switched", "watching"):
        assert f"{new} watched" in again.said, "the watch that was broken off goes on"


@pytest.mark.parametrize("phase", ["staged", "switched"])
def test_killed_and_another_release_is_deployed(old, hook, phase):
    new, other = name("new"), name("other")
    with served_throughout():
        assert play(release_id=new, environment=hook(phase, "kill -9 $PPID"), **WATCH).code != 0
        ended = deploy(release_id=other, **WATCH)
        assert f"The deploy of release {new} was broken off" in ended.said
        assert is_clean(other)


@pytest.mark.parametrize("phase", ["healthy", "switched"])
def test_killed_and_rolled_back(old, hook, phase):
    new = name("new")
    with served_throughout():
        assert play(release_id=new, environment=hook(phase, "kill -9 $PPID"), **WATCH).code != 0
        deploy(**BACK, **({"release_id": old} if phase == "healthy" else {}))
        assert is_clean(old)


@pytest.mark.parametrize("phase", ["rolling_back", "rolled_back"])
def test_killed_on_the_way_back(old, hook, phase):
    new = name("bad")
    fault = faults.variables("unhealthy-after:2")
    with Load(40) as load:
        eventually(lambda: load.is_well(load.began), "the load is served before anything breaks")
        ended = play(
            release_id=new,
            environment=hook(phase, "kill -9 $PPID"),
            **{**WATCH, **fault, "release_watch_seconds": 30},
        )
        assert ended.code != 0
        deploy(**BACK)
        assert is_clean(old)
    # The release is unhealthy by its own word only; what people asked it for was answered.
    assert load.failed == [], load.report()


def test_the_play_is_killed_and_then_a_trigger_fires(old, hook):
    new = name("bad")
    fault = faults.variables("unhealthy-after:6")
    with served_throughout():
        ended = play(
            release_id=new,
            environment=hook("watching", kill_play(new)),
            **{**WATCH, **fault, "release_watch_seconds": 60},
        )
        assert ended.code == -signal.SIGKILL
        eventually(lambda: is_clean(old), "the guard goes back by itself")
    last = json.loads((HOME / "journal.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["from"], last["trigger"]) == ("rolled_back", new, "health")


def test_a_rollback_during_the_watch(old):
    new = name("new")
    with served_throughout(), concurrent.futures.ThreadPoolExecutor() as pool:
        deploying = pool.submit(play, release_id=new, **{**WATCH, "release_watch_seconds": 60})
        eventually(lambda: state().get("deploy", {}).get("phase") == "switched", "the release is watched")
        back = deploy(**BACK)
        assert f"Rolled back from release {new}. Release {old} is served now" in back.said
        ended = deploying.result()
    assert ended.code != 0 and "was ended by somebody else while it was watched" in ended.said, ended.tail
    assert is_clean(old)


def test_two_deploys_at_once(old):
    first, second = name("first"), name("second")
    with served_throughout(), concurrent.futures.ThreadPoolExecutor() as pool:
        deploying = pool.submit(play, release_id=first, **{**WATCH, "release_watch_seconds": 25})
        eventually(lambda: state().get("deploy", {}).get("phase") == "switched", "the release is watched")
        followed = pool.submit(deploy, playbook="playbooks/monitor_deployment.yml")
        refused = play(release_id=second, **WATCH)
        assert refused.code != 0 and refused.recap["changed"] == 0, refused.tail
        assert f"Another deploy is under way: release {first} is switched" in refused.said, refused.tail
        locked = play(playbook="playbooks/unlock.yml")
        assert locked.code != 0 and "To remove the lock all the same" in locked.said
        assert deploying.result().code == 0, deploying.result().tail
        assert f"{first} watched" in followed.result().said and f"{first} promoted" in followed.result().said
        # Both from the beginning.
        both = [pool.submit(play, release_id=one, **WATCH) for one in (second, name("third"))]
        ended: list[Play] = [one.result() for one in both]
    assert 0 in {one.code for one in ended}, [one.tail for one in ended]
    assert is_clean(routed())
    deploy(release_id=name("last"), **WATCH)
    assert is_clean(routed())
    assert "Nobody holds the lock" in deploy(playbook="playbooks/unlock.yml").said


# -- a connection that is lost


@pytest.fixture
def sshd(tmp_path):
    """A daemon of its own on 127.0.0.1, with a key of its own; and how to start it and to cut it off."""
    if not shutil.which("sshd", path="/usr/sbin:/usr/bin"):
        subprocess.run(["apt-get", "install", "--yes", "-qq", "openssh-server"], check=True, stdout=subprocess.DEVNULL)
    os.makedirs("/run/sshd", exist_ok=True)
    for key in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)], check=True)
    (tmp_path / "authorized").write_text((tmp_path / "client.pub").read_text())
    (tmp_path / "config").write_text(
        f"Port 18022\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\n"
        f"StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPidFile {tmp_path}/pid\n"
    )
    command = ["/usr/sbin/sshd", "-D", "-f", str(tmp_path / "config")]
    daemons: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        daemons.append(subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL))

    def cut() -> None:
        """The daemon and every session of it."""
        daemon = daemons.pop()
        children = subprocess.run(["pgrep", "-P", str(daemon.pid)], capture_output=True, text=True, check=False).stdout
        daemon.kill()
        daemon.wait()
        for child in children.split():
            for one in [child, *Path(f"/proc/{child}/task/{child}/children").read_text().split()]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(one), signal.SIGKILL)

    start()
    yield start, cut, tmp_path / "client"
    while daemons:
        cut()


def test_the_connection_is_lost_and_then_a_trigger_fires(old, sshd):
    start, cut, key = sshd
    new = name("bad")
    by_ssh = {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 18022,
        "ansible_user": "root",
        "ansible_become": False,
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlPersist=60s",
    }
    with served_throughout(), concurrent.futures.ThreadPoolExecutor() as pool:
        settings = {**WATCH, **faults.variables("unhealthy-after:5"), "release_watch_seconds": 60}
        deploying = pool.submit(play, release_id=new, **settings, **by_ssh)
        eventually(lambda: state().get("deploy", {}).get("phase") == "switched", "the release is watched", 120)
        cut()
        eventually(lambda: is_clean(old), "the guard goes back by itself, with nobody connected")
        start()
        ended = deploying.result()
    assert "the connection is lost; the guard goes on by itself" in ended.said, ended.tail
    # It is reached again, and the play says what happened meanwhile.
    assert ended.code != 0 and f"Release {new} was rolled back" in ended.said and "Trigger health" in ended.said, (
        ended.tail
    )
