# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine stops under requests. Only with SIXTY_TEST_ENGINE_RESTART=1: others on the machine notice it."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import uuid
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    UNLIMITED,
    ask,
    breakage,
    containers,
    deploy,
    docker,
    eventually,
    info,
    play,
    routed,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults

pytestmark = pytest.mark.usefixtures("unlimited")


def started() -> dict[str, tuple[str, int]]:
    return {entry["Name"]: (entry["State"]["StartedAt"], entry["State"]["Pid"]) for entry in containers()}


def test_the_engine_restarted():
    """Containers run on without their engine, the set-up of a host starts it again, and it knows them all.

    A port on the loopback address is a process of the engine, so these requests miss it; from other hosts they would
    go through the kernel.
    """
    assert info()["LiveRestoreEnabled"]
    before = started()
    with breakage("engine restarted"):
        stop_engine()
        assert all(Path(f"/proc/{process}").exists() for _since, process in before.values())
        start_engine()
    assert started() == before


def stop_engine() -> None:
    pid = int(Path("/run/docker.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the engine ends")


def start_engine() -> None:
    """Where systemd does not do it."""
    deploy(playbook="playbooks/setup.yml")
    eventually(lambda: docker("info"), "the engine answers")


def phase() -> str:
    return json.loads((HOME / "state.json").read_text()).get("deploy", {}).get("phase", "")


@pytest.mark.parametrize("fault", ["none", "unhealthy-after:12"])
def test_the_engine_is_away_during_a_watch(fault):
    """The watch goes on without it, and so does the way back to a release that is warm."""
    old, new = routed(), f"watched-{uuid.uuid4().hex[:6]}"
    settings = {**UNLIMITED, **faults.variables(fault), "release_watch_seconds": 40, "release_watch_period": 1}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        deploying = pool.submit(play, release_id=new, **settings)
        eventually(lambda: deploying.done() or phase() == "switched", "the release is watched", 120)
        stop_engine()
        if fault != "none":
            eventually(lambda: routed() == old, "the guard goes back without the engine")
        start_engine()
        ended = deploying.result()
    if fault == "none":
        assert ended.code == 0 and f"{new} promoted" in ended.said, ended.tail
    else:
        assert ended.code != 0 and f"Release {new} was rolled back" in ended.said, ended.tail
        # Where the engine was still away when the bad one was to be stopped, the next run does that.
        deploy(playbook="rollback.yml", release_id=old)
    served = old if fault != "none" else new
    eventually(lambda: ask("/api/release").release == served, "it is served")
    running = [one["Name"] for one in containers() if one["Config"]["Labels"]["sixty.service"] == "api"]
    assert running == [f"/{NAME}-api-{served}"]
