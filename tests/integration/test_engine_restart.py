# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine stops under requests. Only with SIXTY_TEST_ENGINE_RESTART=1: others on the machine notice it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    breakage,
    containers,
    deploy,
    docker,
    eventually,
    info,
)

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
    pid = int(Path("/run/docker.pid").read_text())
    with breakage("engine restarted"):
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), "the engine ends")
        assert all(Path(f"/proc/{process}").exists() for _since, process in before.values())
        # Where systemd does not do it.
        deploy(playbook="playbooks/setup.yml")
        eventually(lambda: docker("info"), "the engine answers")
    assert started() == before
