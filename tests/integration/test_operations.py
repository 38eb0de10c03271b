# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person calls while the stack runs: health, resources, restarts."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    LOCAL,
    ROOT,
    SETTINGS,
    container,
    containers,
    deploy,
    docker,
    eventually,
    inspect,
    play,
    refused,
    untouched,
)

pytestmark = pytest.mark.usefixtures("stack")


# What make adds, so that nothing but the report is printed.
ALONE = {"ANSIBLE_STDOUT_CALLBACK": "sixty_sales.memory_optimized.report"}


def report(playbook: str, code: int = 0, **variables: Any) -> dict[str, Any]:
    """The one JSON document that a play of the local inventory prints; after it comes only why it failed."""
    ended = play(playbook=f"playbooks/{playbook}", environment=ALONE, output="json", **variables)
    document, end = json.JSONDecoder().raw_decode(ended.text)
    assert ended.code == code and bool(code) == bool(ended.text[end:].strip()), ended.tail
    return document


# -- health


def test_a_healthy_stack_says_so():
    with untouched():
        ended = deploy(playbook="playbooks/check_health.yml")
    assert "Everything is healthy and served." in ended.said and ended.recap["changed"] == 0
    assert "\x1b" not in ended.text, "no terminal, no colours"
    for entry in containers():
        assert entry["Name"].lstrip("/") in ended.said


def test_all_of_the_budgets_services_are_looked_at():
    document = report("check_health.yml")
    assert document["healthy"]
    assert {row["service"] for row in document["services"]} >= BUDGET["services"].keys()
    asked = {row["name"]: row["status"] for row in document["requests"]}
    assert asked == dict.fromkeys(["page", "API", "database", "Memory Monitor", "Prometheus", "Alertmanager"], 200)
    assert isinstance(document["alerts"], list)


@pytest.mark.parametrize("service", ["redis", "nginx_exporter"])
def test_a_stopped_service_fails_the_health_check(service):
    docker("stop", container(service))
    try:
        ended = play(playbook="playbooks/check_health.yml", environment=ALONE)
        assert ended.code == 2 and f"Something is not healthy: {container(service)}" in ended.said, ended.tail
        assert f"{container(service)} stopped" in ended.said
    finally:
        docker("start", container(service))


def test_a_monitor_that_does_not_answer_fails_the_health_check():
    document = report("check_health.yml", code=2, memory_monitor_port=1)
    [silent] = [row for row in document["requests"] if not row["ok"]]
    assert (silent["name"], silent["error"], document["healthy"]) == ("Memory Monitor", "Connection refused", False)


# -- memory


def test_the_memory_is_what_the_kernel_says():
    document = report("check_resources.yml")
    rows = {row["name"]: row for row in document["containers"] if row["running"]}
    assert rows.keys() == {entry["Name"].lstrip("/") for entry in containers()}
    for entry in containers():
        row = rows[entry["Name"].lstrip("/")]
        assert row["limit"] == entry["HostConfig"]["Memory"] and 0 < row["unreclaimable"] <= row["usage"]
        assert row["percent"] == pytest.approx(100 * row["unreclaimable"] / row["limit"], abs=0.1)
        assert row["level"] == "ok" and row["differences"] == []
    assert document["total"]["unreclaimable"] >= max(row["unreclaimable"] for row in rows.values())
    assert document["monitor"] == {"answers": True, "problem": ""} and document["memory"]["memory_total"] > 0


def test_without_the_monitor_the_engine_says_it():
    document = report("check_resources.yml", memory_monitor_port=1)
    assert document["monitor"] == {"answers": False, "problem": "Connection refused"}
    assert container("redis") in {row["name"] for row in document["containers"]}
    ended = deploy(playbook="playbooks/check_resources.yml", environment=ALONE, memory_monitor_port=1)
    assert "The Memory Monitor does not answer (Connection refused)" in ended.said


def test_over_a_threshold_it_fails_and_names_the_container():
    ended = play(playbook="playbooks/check_resources.yml", environment=ALONE, check_resources_percent=1)
    assert ended.code == 2
    assert "Over 1 % of their limit: " in ended.said and container("postgres") in ended.said.partition("Over 1 %")[2]


def test_the_memory_is_shown_once_where_there_is_no_terminal():
    ended = deploy(playbook="playbooks/monitor_memory.yml", environment=ALONE)
    assert ended.text.count("all together") == 1 and "\x1b" not in ended.text


def test_the_memory_is_shown_live_in_a_terminal_until_somebody_ends_it():
    """As make monitor-memory does it; NO_COLOR leaves the cursor's movements."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(LOCAL),
        "playbooks/monitor_memory.yml",
    ]
    mark = uuid.uuid4().hex
    settings = {**SETTINGS, "monitor_memory_follow": True, "monitor_memory_period": 0.5, "mark": mark}
    command += ["-e", json.dumps(settings)]
    environment = {**os.environ, **ALONE, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", "TERM": "xterm"}
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, start_new_session=True
    ) as run:
        try:
            os.close(theirs)
            end, interrupted = time.monotonic() + 60, False
            # Read to the end: a program whose terminal is full cannot end.
            while run.poll() is None:
                assert time.monotonic() < end, shown
                if select.select([ours], [], [], 0.2)[0]:
                    with contextlib.suppress(OSError):  # the terminal's other side is closed
                        shown += os.read(ours, 65536)
                if shown.count(b"end with Ctrl-C.") >= 3 and not interrupted:
                    run.send_signal(signal.SIGINT)
                    interrupted = True
            assert run.returncode == 99
        finally:
            run.kill()
            os.close(ours)
    frames = shown.decode().split("\x1b[H")[2:]
    assert len(frames) >= 3 and all(container("redis") in frame for frame in frames[:3])
    assert b"\x1b[0;3" not in shown, "NO_COLOR"
    eventually(lambda: subprocess.run(["pgrep", "-f", mark], check=False).returncode == 1, "nobody goes on", 10)


# -- what a deploy puts back


def test_a_limit_moved_by_hand_is_reported_and_the_next_deploy_puts_it_back():
    name = container("redis")
    assert deploy(playbook="playbooks/check_resources.yml").recap["changed"] == 0
    docker("update", "--memory", "80m", "--memory-swap", "80m", name)
    refused("With a limit that is not the budget's: " + name, playbook="playbooks/check_resources.yml")
    started = inspect(name)["State"]["StartedAt"]
    assert deploy().changed == [f"Run {name}"]
    assert inspect(name)["HostConfig"]["Memory"] == 64 << 20
    assert inspect(name)["State"]["StartedAt"] == started, "a limit is updated while the container runs"


# -- restarts


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
