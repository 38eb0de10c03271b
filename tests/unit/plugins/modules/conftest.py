# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a switch have in common."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import blue_green_host as host
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import blue_green, release_guard
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules import release_world
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.module_runner import run_main


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = release_world.World(tmp_path)
    release_world.patch_engine(made, monkeypatch)
    pause = time.sleep
    monkeypatch.setattr(host.time, "sleep", lambda seconds: pause(seconds / 20))
    old_mask = os.umask(0o077)
    with release_world.servers(made) as made.port:
        yield made
    os.umask(old_mask)


@pytest.fixture
def switch(world, monkeypatch):
    """Runs blue_green for a release."""

    def run(release, check=False, **more):
        return run_main(monkeypatch, blue_green.main, release_world.arguments(world, release, **more), check)

    return run


@pytest.fixture
def served(world, switch):
    """Release r1 is served, r2 is prepared."""
    world.prepare("r1", "r2")
    assert not switch("r1")["failed"]
    world.events.clear()
    return world


@pytest.fixture
def broken():
    """For what is mended in the middle of a test."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def watching(world, monkeypatch):
    """Time passes only as the world says."""
    release_world.patch_time(world, monkeypatch)
    return world


@pytest.fixture
def guard(watching, monkeypatch):
    """Runs release_guard for a release; its process is gone afterwards."""

    def run(release, check=False, **more):
        watched = {"watch_seconds": 10, "period": 2, "probes": 4, "latency_samples": 20, "memory_seconds": 4}
        given = release_world.arguments(watching, release, **{**watched, "restarts": 3, "owner": "ann", **more})
        try:
            return run_main(monkeypatch, release_guard.main, given, check)
        finally:
            watching.process += 1

    return run
