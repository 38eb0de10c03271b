# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk is full in the middle of a switch: nothing is lost but the record, and the next run writes that."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import Play, deploy, play
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults

# A stack of its own, whose directory is a small file system.
STACK = {"stack_name": "disk_full", "stack_subnet_prefix": "10.83", "nginx_http_port": 18083}
HOME = Path("/srv/disk_full")
WATCH = {"release_watch_seconds": 5, "release_watch_period": 1, "release_ready_timeout": 20, "release_backup": False}
SETTINGS = {**STACK, **WATCH, "release_seed_rows": 0}


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    HOME.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0755", "tmpfs", str(HOME)], check=True)
    try:
        deploy(release_id="r1", **SETTINGS)
        yield
    finally:
        (HOME / "fill").unlink(missing_ok=True)
        # The directory itself is busy; what is in it goes.
        play(playbook="playbooks/destroy.yml", docker_host_purge=True, **STACK)
        subprocess.run(["umount", str(HOME)], check=True)
        HOME.rmdir()


@pytest.fixture
def filled_at(tmp_path):
    """Deploys a release while the disk fills up at a phase."""

    def run(phase: str, release: str, **variables) -> Play:
        hook = tmp_path / "hook"
        hook.write_text(f'#!/bin/sh\n[ "$1" != {phase} ] || dd if=/dev/zero of={HOME}/fill bs=4k 2>/dev/null\n')
        hook.chmod(0o755)
        try:
            ended = play(release_id=release, environment={"SIXTY_TEST_HOOK": str(hook)}, **{**SETTINGS, **variables})
            assert (HOME / "fill").exists(), ended.tail
            return ended
        finally:
            (HOME / "fill").unlink(missing_ok=True)

    return run


def serving() -> str:
    connection = http.client.HTTPConnection("127.0.0.1", STACK["nginx_http_port"], timeout=5)
    connection.request("GET", "/api/release")
    return json.loads(connection.getresponse().read())["release"]


def is_clean(release: str) -> bool:
    state = json.loads((HOME / "state.json").read_text())
    return (serving(), state["active"]["release"], "deploy" in state) == (release, release, False)


def test_full_before_the_switch(filled_at):
    ended = filled_at("begun", "r2")
    assert ended.code != 0 and "No space left on device" in ended.said, ended.tail
    assert "Release r1 goes on serving" in ended.said, ended.tail
    assert serving() == "r1"
    deploy(release_id="r2", **SETTINGS)
    assert is_clean("r2")


def test_full_after_the_rename(filled_at):
    """It is served and watched to the end; what could not be written is said, and the next run writes it."""
    ended = filled_at("routed", "r3")
    assert "r3 watched" in ended.said and "could not be put on record" in ended.said, ended.tail
    assert serving() == "r3"
    deploy(release_id="r3", **SETTINGS)
    assert is_clean("r3")


def test_full_when_it_has_to_go_back(filled_at):
    """A rename needs no room."""
    bad = {**faults.variables("unhealthy-after:2"), "release_watch_seconds": 30}
    ended = filled_at("switched", "r4", **bad)
    assert ended.code != 0 and "Trigger health" in ended.said and "Release r3 is served again" in ended.said, ended.tail
    assert serving() == "r3"
    deploy(playbook="rollback.yml", release_id="r3", **STACK)
    deploy(release_id="r5", **SETTINGS)
    assert is_clean("r5")
