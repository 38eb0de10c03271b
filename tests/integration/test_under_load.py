# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack under requests: a switch of releases costs none of them, and what breaks comes back by itself.

What each breakage costs is counted and written to .dev/reports/recovery.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    ROOT,
    UNLIMITED,
    Load,
    ask,
    container,
    deploy,
    docker,
    eventually,
    inspect,
    routed,
    serves,
    sql,
)

pytestmark = pytest.mark.usefixtures("unlimited")


@pytest.fixture(autouse=True)
def rows(unlimited):
    """The load's rows are taken out again, also those of a run that was cut short."""
    yield
    sql(f"DELETE FROM deals WHERE name = '{Load.MARK}'")


def test_a_switch_costs_no_request():
    """Two switches, to a new release and back to the old one's kept container, and no request fails in either."""
    old, new = routed(), f"switched-{uuid.uuid4().hex[:6]}"
    with Load(rate=50) as load:
        deploy(release_id=new, **UNLIMITED)
        assert routed() == new
        deploy(**UNLIMITED)
        assert routed() == old
    print("switches", json.dumps(load.report(), indent=1))
    assert load.failed == []
    by_release = {release: {r.kind for r in load.requests if r.release == release} for release in (old, new)}
    assert by_release == {old: set(Load.MIX), new: set(Load.MIX)}
    assert {request.release for request in load.requests} == {old, new}
    assert load.lost() == [] and load.acknowledged


@contextlib.contextmanager
def breakage(name: str) -> Iterator[Load]:
    """A hundred requests a second around what the block breaks; then all is well again, and no row is lost."""
    with Load() as load:
        time.sleep(3)
        assert load.failed == [], load.report()
        load.broke = time.monotonic() - load.began
        yield load
        load.mended = eventually(lambda: serves() and time.monotonic() - load.began, "page and data are served again")
        time.sleep(3)
    report = load.report()
    path = ROOT / ".dev/reports/recovery.json"
    path.parent.mkdir(exist_ok=True)
    reports = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**reports, name: report}, indent=2, sort_keys=True) + "\n")
    print(name, json.dumps(report, indent=1))
    assert load.lost() == [], "acknowledged rows are gone"
    # Fresh rows among them: the writer got through before and afterwards.
    writes = [request.sent for request in load.requests if (request.kind, request.outcome) == ("write", "ok")]
    assert min(writes) < load.broke and max(writes) > load.mended
    late = [request for request in load.failed if request.sent > load.mended]
    assert late == []


def restarted(service: str, pid: int) -> bool:
    state = inspect(container(service))["State"]
    return state["Running"] and state["Pid"] not in (0, pid)


def killed(service: str, kill: Callable[[int], None]) -> None:
    """Kill the process of a container that PID 1 in it looks after; the engine starts the container again.

    Not with docker kill, after which the engine takes it that the container is meant to be stopped.
    """
    pid = inspect(container(service))["State"]["Pid"]
    kill(pid)
    eventually(lambda: restarted(service, pid), f"the engine restarts {service}")


def test_redis_killed():
    """The API serves on from PostgreSQL and its own memory: no request fails for a cache."""
    with breakage("redis killed") as load:
        killed("redis", lambda pid: os.kill(pid, signal.SIGKILL))
        eventually(lambda: docker("exec", container("redis"), "redis-cli", "--user", "health", "--pass", "health", "ping"), "PONG")
    assert load.failed == []


def test_postgresql_restarted():
    with breakage("postgresql restarted"):
        docker("restart", container("postgres"))


# Given to the API's own process through V8's inspector: memory beside the heap, as a leak of buffers takes it.
LEAK = """
const url = (await (await fetch('http://127.0.0.1:9229/json')).json())[0].webSocketDebuggerUrl;
const socket = new WebSocket(url);
socket.onopen = () => socket.send(JSON.stringify({id: 1, method: 'Runtime.evaluate', params: {expression:
  'globalThis.leak = []; setInterval(() => globalThis.leak.push(Buffer.alloc(8 << 20, 1)), 10); 0'}}));
socket.onmessage = () => process.exit(0);
"""


def test_the_api_killed_for_its_memory():
    """The API itself outgrows its container, and the kernel kills it: 137, which nobody else has sent."""
    name = container("api")
    began = int(time.time())

    def leak(_pid: int) -> None:
        docker("kill", "--signal=USR1", name)
        eventually(lambda: docker("exec", name, "node", "--input-type=module", "--eval", LEAK) == "", "the inspector answers")

    before = inspect(name)
    with breakage("API out of memory"):
        killed("api", leak)
    after = inspect(name)
    assert after["RestartCount"] == before["RestartCount"] + 1
    assert after["HostConfig"]["Memory"] == before["HostConfig"]["Memory"]
    events = docker(
        *("events", "--since", str(began), "--until", str(int(time.time()) + 1), "--filter", f"container={name}"),
        *("--filter", "event=die", "--format", "{{.Actor.Attributes.exitCode}}"),
    )
    assert events.split() == ["137"]
    said = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    assert f"/api/{before['Id']}" in said.rpartition("oom-kill:")[2] or "slice" in said.rpartition("oom-kill:")[2]
