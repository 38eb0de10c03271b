# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/production over SSH, from a bare host to a serving one and on; each test goes on from the last."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.conftest import STACK
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import NAME, Load, Operator, eventually

INVENTORY = "INVENTORY=inventories/production"
LOST = "the connection is lost; the guard goes on by itself"
# All files but those that a login, an inspection or time itself writes.
FILES = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/lib/sudo"
    " -o -path '/home/deploy/.ansible*' -o -path /var/lib/systemd \\) -prune"
    " -o -type f -printf '%p %s %m %T@\\n' | sort"
)


def state(operator: Operator) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(operator.ssh(f"cat /srv/{STACK}/state.json"))
    return found


@pytest.fixture
def new() -> str:
    """A name for a release."""
    return f"r-{uuid.uuid4().hex[:6]}"


def test_only_the_deploy_user_and_only_with_the_pinned_key(operator):
    assert operator.ssh("id -un", root=False) == "deploy"
    assert operator.ssh("id -un") == "root"
    as_root = operator.try_ssh("true", "-o", "User=root")
    assert as_root.returncode == 255 and "Permission denied" in as_root.stderr
    pinned = operator.known_hosts.read_text()
    try:
        operator.known_hosts.write_text(
            pinned.rpartition(" ")[0] + " " + operator.host.key.with_suffix(".pub").read_text().split()[1]
        )
        assert "Host key verification failed" in operator.try_ssh("true").stderr
    finally:
        operator.known_hosts.write_text(pinned)


def test_a_check_of_the_bare_host_changes_nothing(operator):
    before = operator.ssh(FILES)
    checked = operator.deploy("01-check-bare", "--check", "--diff")
    assert f"No container engine answers on {NAME}. One would be installed" in checked.said
    assert "MEMORY BUDGET" in checked.text and f"parent cgroup {STACK} limited to" in checked.said
    assert operator.ssh(FILES) == before


def parts(operator: Operator) -> set[str]:
    """The parts of the images that have arrived, and when each did."""
    return set(operator.ssh("find /srv -name 'part-*' -printf '%f %T@\\n'").splitlines())


def test_a_deploy_that_is_cut_off_fails_and_leaves_a_host_to_go_on_from(operator):
    with operator.making("02-deploy-cut", "deploy-production") as deploying:
        # A task's name is printed with its end, so the host is asked how far it is.
        eventually(lambda: len(parts(operator)) >= 2, "two parts of the images have arrived", 600)
        assert operator.cut_connections() > 0
        deploying.process.wait(120)
    assert deploying.play.recap["unreachable"] == 1, deploying.play.tail
    packed = len([*(operator.directory / "cache").rglob("part-*")])
    assert 2 <= len(parts(operator)) < packed


def test_the_next_run_goes_on_to_a_serving_stack(operator):
    before = parts(operator)
    packed = len([*(operator.directory / "cache").rglob("part-*")])
    with operator.making("03-deploy", "deploy-production") as deploying:
        eventually(lambda: len(parts(operator)) == packed, "all parts of the images have arrived", 300)
        assert before <= parts(operator), "what had arrived was sent again"
        deploying.process.wait(600)
    assert deploying.play.code == 0, deploying.play.tail
    assert operator.routed() == state(operator)["active"]["release"]
    status, headers, _ = operator.ask("/api/deals")
    assert status == 200 and "max-age" in headers["strict-transport-security"]


def test_it_is_well_by_its_own_commands(operator):
    operator.made("03-check-health", f"check-health {INVENTORY}")
    operator.made("03-check-resources", f"check-resources {INVENTORY}")


def test_a_second_run_changes_nothing(operator):
    recap = operator.deploy("04-deploy-again").recap
    assert (recap["changed"], recap["failed"]) == (0, 0)


def test_a_check_of_the_running_host_tells_the_truth_and_changes_nothing(operator):
    unchanged = operator.deploy("05-check-running", "--check", "--diff")
    assert unchanged.recap["changed"] == 0 and unchanged.differences == []
    changed = operator.deploy(
        "05-check-change", "--check", "--diff", nginx_client_max_body_size="2m", release_id="checked"
    )
    assert [line for line in changed.differences if "client_max_body_size" in line], changed.tail
    assert "checked is due" in changed.said
    assert operator.deploy("05-deploy-again").recap["changed"] == 0


def test_a_switch_under_load_and_the_way_back(operator, new):
    old = operator.routed()
    with operator.load(24) as load:
        operator.deploy("06-switch", release_id=new)
        assert operator.routed() == new
        operator.made("06-rollback-emergency", f"rollback-emergency {INVENTORY}")
        assert operator.routed() == old
    operator.note(load=load.report())
    assert not load.failed, load.report()
    assert load.releases == {old, new}
    status, _, body = operator.ask(f"/api/deals?q={Load.MARK.replace(' ', '%20')}")
    assert status == 200 and json.loads(body)["total"] == len(load.acknowledged) > 0


def test_a_connection_that_is_lost_in_a_watch_is_made_again(operator, new):
    with (
        operator.load(10) as load,
        operator.making("07-watch-cut", "deploy-production", release_id=new, release_watch_seconds=30) as deploying,
    ):
        deploying.wait_for(f"{new} watched", 300)
        # A cut between two questions costs nothing and is not seen, so until one meets a question.
        while deploying.process.poll() is None and LOST not in deploying.play.text:
            operator.cut_connections()
            time.sleep(0.1)
        deploying.process.wait(300)
    assert deploying.play.code == 0, deploying.play.tail
    assert LOST in deploying.play.text
    assert operator.routed() == new and not load.failed, load.report()


def test_a_watch_goes_on_without_the_control_machine_and_the_next_run_finds_it_done(operator, new):
    with operator.load(10) as load:
        with operator.making(
            "08-control-machine-lost", "deploy-production", release_id=new, release_watch_seconds=20
        ) as deploying:
            deploying.wait_for(f"{new} watched", 300)
            deploying.kill()
            operator.cut_connections()
        assert state(operator)["deploy"]["phase"] == "switched"
        eventually(lambda: not state(operator).get("deploy"), "the watch ends by itself", 120)
    assert operator.routed() == new and not load.failed, load.report()
    again = operator.deploy("08-deploy-again", release_id=new)
    assert again.recap["changed"] == 0 and f"Release {new} is served already" in again.said


def test_a_release_that_misbehaves_without_the_control_machine_is_left_by_the_host_itself(operator, new):
    old = operator.routed()
    with operator.making("09-misbehaves", "deploy-production", release_id=new, release_watch_seconds=120) as deploying:
        deploying.wait_for(f"{new} watched", 300)
        deploying.kill()
        operator.cut_connections()
    # As a crash of the process itself would be; the engine restarts it.
    for _ in range(4):
        operator.ssh(f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' {STACK}-api-{new}); sleep 3")
        if operator.routed() == old:
            break
    eventually(lambda: operator.routed() == old, "the host goes back by itself", 60)
    last = json.loads(operator.ssh(f"tail -n 1 /srv/{STACK}/journal.jsonl"))
    assert (last["event"], last["from"], last["trigger"]) == ("rolled_back", new, "restarts"), last


def test_no_secret_is_anywhere(operator):
    assert operator.assert_secrets_are_nowhere() > 100_000
