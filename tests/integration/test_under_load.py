# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack under requests: a switch of releases costs none of them, and what breaks comes back by itself.

What each breakage costs is counted and written to .dev/reports/recovery.json.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    UNLIMITED,
    Load,
    breakage,
    container,
    deploy,
    docker,
    eventually,
    inspect,
    routed,
    run_in,
)

pytestmark = pytest.mark.usefixtures("unlimited")


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


def restarted(service: str, pid: int) -> bool:
    state = inspect(container(service))["State"]
    return state["Running"] and state["Pid"] not in (0, pid)


def killed(service: str, kill: Callable[[int], None]) -> None:
    """Kill a container's processes from outside, as the kernel would; the engine starts the container again.

    Not with docker kill, after which the engine leaves the container stopped, as it was told to (moby/moby#41302).
    """
    pid = inspect(container(service))["State"]["Pid"]
    kill(pid)
    eventually(lambda: restarted(service, pid), f"the engine restarts {service}")


def test_redis_killed():
    """The API serves on from PostgreSQL and its own memory: no request fails for a cache."""
    with breakage("redis killed") as load:
        killed("redis", lambda pid: os.kill(pid, signal.SIGKILL))
        login = ("--no-auth-warning", "--user", "health", "--pass", "health")
        eventually(lambda: run_in("redis", "redis-cli", *login, "ping") == "PONG", "Redis answers")
    assert load.failed == []


def test_nginx_killed_after_a_reload():
    """A container whose configuration was reloaded is restarted like any other."""
    deploy(nginx_client_max_body_size="2m", **UNLIMITED)
    with breakage("nginx killed"):
        killed("nginx", lambda pid: os.kill(pid, signal.SIGKILL))


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

    def leak(pid: int) -> None:
        os.kill(pid, signal.SIGUSR1)
        client = ("node", "--input-type=module", "--eval", LEAK)
        eventually(lambda: docker("exec", name, *client) == "", "the inspector answers")

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
    assert before["Id"] in said.rpartition("oom-kill:constraint=CONSTRAINT_MEMCG")[2].partition("\n")[0]
