# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest limit within which each service still serves: lowered step by step under light load."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.sixty_sales.memory_optimized.plugins.modules.container_memory_info import kernel_view
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    NAME,
    ROOT,
    Load,
    ask,
    container,
    docker,
    eventually,
    inspect,
    sql,
)
from ansible_collections.sixty_sales.memory_optimized.tests.memory.decisions import MB, Refused, Step, lower, smallest
from ansible_collections.sixty_sales.memory_optimized.tests.memory.own_stack import cgroup_version, deploy

PROFILES = ("documented", "hardened")
RATE = 10
STEP_SECONDS = 6
# For one service; what was found until then counts.
SERVICE_SECONDS = 90


def _api() -> None:
    # What nobody has asked for comes from no cache.
    answer = ask(f"/api/deals?q={uuid.uuid4()}")
    assert answer.status == 200 and json.loads(answer.body)["items"] == [], f"HTTP {answer.status}"


def _page() -> None:
    answer = ask("/")
    assert answer.status == 200 and b"<html" in answer.body, f"HTTP {answer.status}"


def _redis() -> None:
    key, value = "sixty:api:memory-test", uuid.uuid4().hex
    password = (ROOT / ".dev/secrets" / NAME / "redis_api_password").read_text().split()[0]
    # By standard input: arguments are there for all to see.
    commands = f"AUTH api {password}\nSET {key} {value} EX 60\nGET {key}\n"
    said = docker("exec", "--interactive", container("redis"), "redis-cli", text=commands)
    assert said.split() == ["OK", "OK", value], said


def _postgres() -> None:
    # A sort and a write, and nothing stays.
    said = sql(
        "BEGIN; UPDATE deals SET updated_at = now() WHERE id = (SELECT max(id) FROM deals);"
        " SELECT count(*) > 0 FROM (SELECT * FROM deals ORDER BY name, id LIMIT 100) AS sorted; ROLLBACK"
    )
    assert "t" in said.split(), said


PROBES: dict[str, Callable[[], None]] = {"nginx": _page, "api": _api, "redis": _redis, "postgres": _postgres}


def _update(service: str, memory: int, reservation: int) -> None:
    """New limits; the engine refuses a limit below the reservation, and the kernel one that is in use."""
    docker(
        *("update", "--memory", str(memory), "--memory-swap", str(memory)),
        *("--memory-reservation", str(min(memory, reservation)), container(service)),
    )


class Watched:
    """A service's container between two moments: kills, restarts and the most memory in use."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.before = self._look()
        self.most = self.before["unreclaimable"]

    def _look(self) -> dict[str, int]:
        state = inspect(container(self.service))
        figures = kernel_view(state["State"]["Pid"], cgroup_version()) or {"unreclaimable": 0, "oom_kills": 0}
        return {**figures, "restarts": state["RestartCount"], "killed": int(state["State"]["OOMKilled"])}

    def look(self) -> None:
        self.most = max(self.most, self._look()["unreclaimable"])

    def end(self) -> tuple[int, int]:
        after = self._look()
        restarts = after["restarts"] - self.before["restarts"]
        # A container that was started again is a new cgroup, which counts from zero.
        kills = after["oom_kills"] + after["killed"] if restarts else after["oom_kills"] - self.before["oom_kills"]
        return kills, restarts


def _observe(service: str, limit: int) -> Step:
    """A few seconds of probes within a limit."""
    watched, probes, failures = Watched(service), 0, []
    end = time.monotonic() + STEP_SECONDS
    while time.monotonic() < end:
        probes += 1
        try:
            PROBES[service]()
        except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            failures.append((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        watched.look()
        time.sleep(0.5)
    kills, restarts = watched.end()
    return Step(limit, watched.most, probes, tuple(failures), kills, restarts)


@contextlib.contextmanager
def _restored(service: str) -> Iterator[tuple[int, int]]:
    """(limit, reservation), which hold again after the block, and the service serves."""
    given = inspect(container(service))["HostConfig"]
    limit, reservation = given["Memory"], given["MemoryReservation"]
    try:
        yield limit, reservation
    finally:
        _update(service, limit, reservation)
        eventually(lambda: PROBES[service]() is None, f"{service} serves again within its own limit")
        kept = kernel_view(inspect(container(service))["State"]["Pid"], cgroup_version())
        if kept is None or kept["limit"] != limit:
            raise Refused(f"{service} does not have its limit of {limit / MB:.0f} MB again: {kept}.")


def search(service: str) -> dict[str, Any]:
    with _restored(service) as (limit, reservation):
        steps = [_observe(service, limit)]
        why, end = "as low as what is in use allows", time.monotonic() + SERVICE_SECONDS
        while steps[-1].well:
            wanted = lower(steps[-1].limit, steps[-1].in_use)
            if wanted is None:
                break
            if time.monotonic() > end:
                why = f"{SERVICE_SECONDS} s were over"
                break
            try:
                _update(service, wanted, reservation)
            except AssertionError as refusal:
                why = f"the engine refused {wanted / MB:.0f} MB: {str(refusal).splitlines()[-1]}"
                break
            steps.append(_observe(service, wanted))
        if not steps[-1].well:
            why = f"within {steps[-1].limit / MB:.0f} MB: {steps[-1].told}"
    found = smallest(steps)
    return {
        **{"limit": limit, "in_use": steps[0].in_use, "smallest": found, "ended": why},
        **{"oom_kills": sum(step.kills for step in steps), "steps": [step.facts() for step in steps]},
    }


def measure(say=print) -> dict[str, Any]:
    """Both profiles on the same stack; the second one is deployed over the first."""
    found: dict[str, dict[str, Any]] = {}
    for profile in PROFILES:
        say(f"--> Memory pressure, profile {profile}: each service's limit is lowered under {RATE} requests a second")
        deploy(memory_budget_profile=profile)
        found[profile] = {}
        with Load(RATE):
            for service in PROBES:
                one = found[profile][service] = search(service)
                least = "none" if one["smallest"] is None else f"{one['smallest'] / MB:.0f} MB"
                say(f"    {service}: limit {one['limit'] / MB:.0f} MB, smallest {least} ({one['ended']})")
    return {"rate": RATE, "seconds_a_step": STEP_SECONDS, "profiles": found, "problems": judge(found)}


def judge(found: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"{service} does not serve within its own limit of {one['limit'] / MB:.0f} MB, profile {profile}:"
        f" {one['ended']}. Look at make check-resources and docker logs; its budget is in"
        " roles/memory_budget/vars/main/."
        for profile, services in found.items()
        for service, one in services.items()
        if one["smallest"] is None
    ]


HEAD = ("service", *(f"{profile}: {what}" for profile in PROFILES for what in ("limit", "in use", "smallest", "kills")))


def rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """MB of both profiles side by side."""

    def cells(one: dict[str, Any]) -> list[str]:
        figures = [one["limit"], one["in_use"], one["smallest"]]
        return [*("none" if each is None else f"{each / MB:,.0f}" for each in figures), str(one["oom_kills"])]

    return [[service, *(cell for profile in PROFILES for cell in cells(found[profile][service]))] for service in PROBES]
