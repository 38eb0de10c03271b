# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that the tests of bad releases rely on, in the API's own image beside the stack."""

from __future__ import annotations

import contextlib
import http.client
import re
import time
from collections.abc import Iterator

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    NAME,
    container,
    docker,
    eventually,
    inspect,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults

FAULTY = f"{NAME}-faulty"
NGINX = {"X-Real-IP": "192.0.2.1"}


@contextlib.contextmanager
def faulty(fault: str) -> Iterator[str]:
    """A container of the served release's image, environment and limit, but for its fault; gives its address."""
    api = inspect(container("api"))
    variables = faults.variables(fault)
    given = [f"{key}={value}" for key, value in variables["api_environment"].items()]
    kept = [entry for entry in api["Config"]["Env"] if not entry.startswith(("FAULT=", "LOG_FILE=", "RELEASE_ID="))]
    flags = [part for part in api["Config"]["Cmd"] if part.startswith(("--max-", "--expose-gc"))]
    limit = str(api["HostConfig"]["Memory"])
    try:
        docker(
            *("create", "--name", FAULTY, "--network", f"{NAME}-db", "--memory", limit, "--memory-swap", limit),
            *("--user", "1000:1000", "--volume", api["HostConfig"]["Binds"][0]),
            *(part for entry in [*kept, *given, "RELEASE_ID=faulty"] for part in ("--env", entry)),
            *(api["Config"]["Image"], "node", *flags, *variables["api_node_flags"], "src/server.js"),
        )
        docker("network", "connect", f"{NAME}-cache", FAULTY)
        docker("start", FAULTY)
        yield inspect(FAULTY)["NetworkSettings"]["Networks"][f"{NAME}-db"]["IPAddress"]
    finally:
        docker("rm", "--force", "--volumes", FAULTY)


def ask(address: str, path: str = "/api/release", **headers: str) -> tuple[int, str, float, str]:
    """(status, X-Release, seconds, body)."""
    connection = http.client.HTTPConnection(address, 3000, timeout=10)
    began = time.monotonic()
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        return answer.status, answer.getheader("X-Release", ""), time.monotonic() - began, body


def listens(address: str) -> None:
    eventually(lambda: ask(address, "/health/live"), "the release listens", 15)


def is_ready(address: str) -> bool:
    return ask(address, "/health/ready")[:2] == (200, "faulty")


def code() -> int | None:
    """Exit code, once it has ended."""
    state = inspect(FAULTY)["State"]
    return None if state["Running"] else state["ExitCode"]


def memory(address: str) -> float:
    """Resident megabytes of the process."""
    found = re.search(r"^process_resident_memory_bytes (\S+)", ask(address, "/metrics")[3], re.MULTILINE)
    assert found
    return float(found[1]) / 2**20


def test_none_but_slow_where_asked_and_drained():
    with faulty("none") as address:
        eventually(lambda: is_ready(address), "ready", 15)
        assert ask(address)[2] < 0.2
        connection = http.client.HTTPConnection(address, 3000, timeout=10)
        connection.request("GET", "/api/release", headers={"X-Slow": "1.5"})
        began = time.monotonic()
        time.sleep(0.2)
        docker("stop", "--time", "10", FAULTY)
        # The application waited for it before it left.
        assert connection.getresponse().status == 200
        assert time.monotonic() - began > 1.3 and code() == 0


def test_latency():
    with faulty("latency:80") as address:
        eventually(lambda: is_ready(address), "ready", 15)
        for path in ("/api/release", "/api/deals", "/health/ready"):
            assert 0.08 <= ask(address, path)[2] < 0.5, path


@pytest.mark.parametrize(
    ("fault", "before", "after"),
    [
        ("slower-after:1:90", (200, 200), (200, 200)),
        ("errors-after:1", (200, 200), (500, 200)),
        ("unhealthy-after:1", (200, 200), (200, 503)),
    ],
)
def test_what_begins_after_the_switch(fault, before, after):
    def seen() -> tuple[int, int]:
        answers = ask(address, **NGINX), ask(address, "/health/ready")
        assert {release for _, release, _, _ in answers} == {"faulty"}
        return answers[0][0], answers[1][0]

    with faulty(fault) as address:
        eventually(lambda: is_ready(address), "ready", 15)
        # Whatever asks directly does not begin it.
        time.sleep(1.2)
        assert seen() == before
        assert ask(address)[2] < 0.08
        time.sleep(1.2)
        assert seen() == after
        assert (ask(address)[2] >= 0.09) == fault.startswith("slower")


def test_never_ready():
    with faulty("never-ready") as address:
        listens(address)
        assert ask(address, "/health/ready")[:2] == (503, "faulty")
        assert ask(address)[0] == 200


def test_wrong_id():
    with faulty("wrong-id") as address:
        listens(address)
        for path in ("/health/ready", "/api/release", "/api/deals"):
            assert ask(address, path)[:2] == (200, "another-release"), path


def test_leak_up_to_its_end():
    with faulty("leak:40:0:120") as address:
        listens(address)
        time.sleep(4)
        grown = memory(address)
        assert 150 < grown < 260
        time.sleep(1)
        assert abs(memory(address) - grown) < 30


def test_leak_to_the_limit():
    with faulty("leak:200:0") as address:
        listens(address)
        assert eventually(code, "killed", 15) == 137


def test_allocate():
    with faulty("allocate:500:2") as address:
        listens(address)
        assert memory(address) < 150
        assert eventually(code, "killed", 15) == 137


def test_exit():
    with faulty("exit:3"):
        assert eventually(code, "ended", 15) == 3


def test_exit_after():
    with faulty("exit-after:2") as address:
        eventually(lambda: is_ready(address), "ready", 15)
        assert eventually(code, "ended", 15) == 1


def test_two_at_once_and_one_that_is_not_known():
    with faulty("latency:80,errors-after:0") as address:
        listens(address)
        status, _, seconds, _ = ask(address, **NGINX)
        assert status == 500 and seconds >= 0.08
    with faulty("nonsense"):
        assert eventually(code, "ended", 15) == 1
        assert "no such fault: nonsense" in docker("logs", FAULTY)
