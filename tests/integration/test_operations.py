# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person calls while the stack runs: health, resources, restarts."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    container,
    containers,
    deploy,
    docker,
    inspect,
    play,
    refused,
    untouched,
)

pytestmark = pytest.mark.usefixtures("stack")


def test_a_healthy_stack_says_so():
    with untouched():
        ended = deploy(playbook="playbooks/check_health.yml")
    assert "Everything is healthy and served." in ended.said
    for entry in containers():
        assert entry["Name"].lstrip("/") in ended.said


def test_a_stopped_service_fails_the_health_check():
    docker("stop", container("redis"))
    try:
        ended = play(playbook="playbooks/check_health.yml")
        assert ended.code != 0 and "Something is not healthy" in ended.said, ended.tail
        assert f"{container('redis')} stopped" in ended.said
    finally:
        docker("start", container("redis"))


def test_a_limit_moved_by_hand_is_reported_and_the_next_deploy_puts_it_back():
    name = container("redis")
    assert deploy(playbook="playbooks/check_resources.yml").recap["changed"] == 0
    docker("update", "--memory", "80m", "--memory-swap", "80m", name)
    refused("With a limit that is not the budget's: " + name, playbook="playbooks/check_resources.yml")
    started = inspect(name)["State"]["StartedAt"]
    assert deploy().changed == [f"Run {name}"]
    assert inspect(name)["HostConfig"]["Memory"] == 64 << 20
    assert inspect(name)["State"]["StartedAt"] == started, "a limit is updated while the container runs"


def test_one_service_is_restarted_and_no_other():
    before = {entry["Name"]: entry["State"]["StartedAt"] for entry in containers()}
    deploy(playbook="playbooks/restart_services.yml", restart_services="redis")
    after = {entry["Name"]: entry["State"]["StartedAt"] for entry in containers()}
    assert {name for name in before if before[name] != after[name]} == {f"/{container('redis')}"}
    assert inspect(container("redis"))["State"]["Health"]["Status"] == "healthy"


def test_an_unknown_service_is_refused_before_any_restart():
    with untouched():
        refused(
            "mysql", "Nothing was restarted", playbook="playbooks/restart_services.yml", restart_services="redis,mysql"
        )
