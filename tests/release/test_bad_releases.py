# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad releases under load: refused before the switch at no cost, or flipped back, with the right reason each time."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
import uuid
from typing import Any

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    UNLIMITED,
    Load,
    Play,
    ask,
    container,
    deploy,
    docker,
    eventually,
    inspect,
    play,
    routed,
    sql,
    untouched,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults

pytestmark = pytest.mark.usefixtures("restored")

# As short as the faults allow. The defaults are shown by the unit tests; the numbers of the triggers stay.
WATCH = {"release_watch_seconds": 45, "release_watch_period": 1, "release_ready_timeout": 10}
# Most of an answer's time is the application's, so that 30 % of it is more than the machine's noise.
GOOD_LATENCY = "latency:100"
LOCK_OF_MIGRATIONS = 7241865325823964


@pytest.fixture(scope="module")
def good():
    """The release that has to go on serving."""
    name = f"good-{uuid.uuid4().hex[:6]}"
    deploy(release_id=name, release_watch_seconds=0, **UNLIMITED, **faults.variables(GOOD_LATENCY))
    return name


def bad(name: str, fault: str = "none", **variables: Any) -> Play:
    return play(release_id=name, **{**UNLIMITED, **WATCH, **faults.variables(fault), **variables})


def journal(name: str) -> list[dict[str, Any]]:
    """What the history says of one release."""
    lines = [json.loads(line) for line in (HOME / "journal.jsonl").read_text().splitlines()]
    return [line for line in lines if name in (line["release"], line.get("from"))]


def moment(line: dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(line["time"]).timestamp()


def still_served(good: str) -> None:
    page, data = ask("/"), ask("/api/release")
    assert (page.status, page.release, data.status, data.release) == (200, good, 200, good)
    assert routed() == good


def nothing_left(name: str) -> None:
    """The bad release is stopped, and nothing is under way."""
    running = docker("ps", "--format", "{{.Names}}", "--filter", f"name={NAME}-").split()
    assert not [one for one in running if one.endswith(name)], running
    assert not (HOME / "lock.json").exists()
    assert "deploy" not in json.loads((HOME / "state.json").read_text())


BEFORE = {
    "exits at once": ("exit:3", {}, "ended with exit code 3"),
    "never ready": ("never-ready", {}, "did not become ready"),
    "another's id": ("wrong-id", {}, "HTTP 200 from release another-release"),
    "the migration fails": (
        "none",
        {"release_migrate_command": ["node", "-e", "console.error('no such column: owner_id'); process.exit(1)"]},
        "its migrations ended with exit code 1. Their last words: no such column: owner_id",
    ),
    "the migration never ends": (
        "none",
        {"release_migrate_command": ["sleep", "600"], "release_migrate_timeout": 4},
        "its migrations went on for 4 s and were stopped",
    ),
}


@pytest.mark.parametrize("case", BEFORE)
def test_refused_before_the_switch(good, case):
    fault, variables, reason = BEFORE[case]
    name = f"bad-{uuid.uuid4().hex[:6]}"
    with Load(50) as load:
        eventually(lambda: load.is_well(load.began), "the load is served before the deploy")
        ended = bad(name, fault, **variables)
    assert ended.code != 0 and ended.recap["failed"] == 1, ended.tail
    assert reason in ended.said, ended.tail
    assert f"Release {good} goes on serving" in ended.said, ended.tail
    assert load.failed == [], load.report()
    assert {request.release for request in load.requests} == {good}
    assert [line["event"] for line in journal(name) if line["event"] == "failed"] == ["failed"]
    still_served(good)
    nothing_left(name)


def test_the_migration_hangs_on_a_lock(good):
    name = f"bad-{uuid.uuid4().hex[:6]}"
    hold = f"SELECT pg_advisory_lock({LOCK_OF_MIGRATIONS}); SELECT pg_sleep(60)"
    command = ["docker", "exec", container("postgres"), "psql", "--username=postgres", "--dbname=sixty", "-c", hold]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as holder:
        try:
            with Load(50) as load:
                eventually(lambda: load.is_well(load.began), "the load is served before the deploy")
                ended = bad(name, release_migrate_lock_timeout=3)
        finally:
            holder.terminate()
    # Ending the client does not end its session.
    sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    assert ended.code != 0, ended.tail
    assert (
        "another session held a lock for too long" in ended.said and f"Release {good} goes on serving" in ended.said
    ), ended.tail
    assert load.failed == [], load.report()
    still_served(good)
    # The lock is free now, and the same release is deployed.
    assert bad(name, release_watch_seconds=0).code == 0
    deploy(playbook="rollback.yml")
    still_served(good)


def test_an_image_that_does_not_exist(good, tmp_path):
    (tmp_path / "index.html").write_text("<p>page</p>")
    with untouched():
        ended = bad("no-image", release_image=f"{NAME}/nothing:1", release_bundle=str(tmp_path))
    assert ended.code != 0 and f"{NAME}/nothing:1" in ended.said, ended.tail
    still_served(good)


def test_a_bundle_without_a_page(good, tmp_path):
    (tmp_path / "main.js").write_text("")
    image = inspect(container("api"))["Config"]["Image"]
    with untouched():
        ended = bad("no-page", release_image=image, release_bundle=str(tmp_path))
    assert ended.code != 0 and "has no index.html" in ended.said, ended.tail
    still_served(good)


# Fault, settings, trigger, reason.
AFTER = {
    "errors": ("latency:100,errors-after:3", {}, "health", "/api/deals?page_size=20: HTTP 500"),
    "unhealthy": ("latency:100,unhealthy-after:3", {}, "health", "/health/ready: HTTP 503"),
    "30 % slower": ("latency:100,slower-after:1:30", {}, "degradation", "% slower"),
    "leaks 20 MB/s": ("latency:100,leak:20:8", {}, "oom", "the kernel killed it for memory"),
    "leaks up to 93 %": (
        "latency:100,leak:100:8:320",
        {"release_watch_memory_seconds": 12},
        "memory",
        "memory over 90 % of its limit for 1",
    ),
    "allocates over its limit": ("latency:100,allocate:500:10", {}, "oom", "the kernel killed it for memory"),
    "restart loop": ("latency:100,exit-after:9", {}, "restarts", "it was restarted 3 times"),
}


@pytest.mark.parametrize("case", AFTER)
def test_flipped_back(good, case):
    fault, variables, trigger, reason = AFTER[case]
    name = f"bad-{uuid.uuid4().hex[:6]}"
    with Load(50) as load:
        offset = time.time() - time.monotonic()
        eventually(lambda: load.is_well(load.began), "the load is served before the deploy")
        ended = bad(name, fault, **variables)
        done = time.monotonic()
        eventually(lambda: load.is_well(done), "the load is served after the way back")
    assert ended.code != 0 and ended.recap["failed"] == 1, ended.tail
    assert f"Trigger {trigger}:" in ended.said and reason in ended.said, ended.tail
    assert f"Release {good} is served again" in ended.said, ended.tail
    lines = {line["event"]: line for line in journal(name)}
    assert lines["rolled_back"]["trigger"] == trigger and lines["rolled_back"]["evidence"], lines
    # Requests that were sent between the rename and the way back may fail, others not.
    began, over = moment(lines["switched"]) - 1, moment(lines["rolled_back"])
    outside = [r for r in load.failed if not began <= load.began + r.sent + offset <= over]
    assert outside == [], (load.report(), outside[:5], began - load.began - offset, over - load.began - offset)
    assert {request.release for request in load.requests} <= {good, name, ""}
    assert load.lost() == []
    print(
        case,
        json.dumps(
            {
                "failed": len(load.failed),
                "of": len(load.requests),
                "seconds": lines["rolled_back"]["seconds"],
                "served_for": round(over - moment(lines["switched"]), 1),
            }
        ),
    )
    assert lines["rolled_back"]["seconds"] < 5
    still_served(good)
    nothing_left(name)
