# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A changed setting is what the running program of each service uses, and so is the setting that is put back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    NAME,
    ROOT,
    ask,
    container,
    deploy,
    docker,
    inspect,
    routed,
    run_in,
    sql,
)


def redis_log_level() -> str:
    password = (ROOT / ".dev/secrets" / NAME / "redis_admin_password").read_text().strip()
    login = ("--env", f"REDISCLI_AUTH={password}", container("redis"), "redis-cli", "--user", "admin")
    return docker("exec", *login, "CONFIG", "GET", "loglevel").split()[-1]


def nginx_body_size() -> tuple[str, int]:
    """The setting in the file as the container sees it, and the answer to 3 KB without the fields of a deal."""
    lines = run_in("nginx", "cat", "/etc/sixty/current/conf.d/memory.conf").splitlines()
    [size] = [line.split()[1] for line in lines if line.startswith("client_max_body_size")]
    return size.rstrip(";"), ask("/api/deals", "POST", b'"' + b"x" * 3000 + b'"').status


def api_log_level() -> tuple[str, bool]:
    """Of the container that serves: by its environment, and whether nginx answers with its release."""
    return run_in("api", "printenv", "LOG_LEVEL"), ask("/api/release").release == routed()


# Service -> how to read it in the running container, the change, and what is read before and with it.
CASES: dict[str, tuple[Callable[[], object], dict[str, object], object, object]] = {
    "redis": (redis_log_level, {"redis_log_level": "verbose"}, "notice", "verbose"),
    "postgres": (
        lambda: sql("SHOW log_min_duration_statement"),
        {"postgres_log_min_duration": 750},
        "500ms",
        "750ms",
    ),
    "nginx": (nginx_body_size, {"nginx_client_max_body_size": "2k"}, ("1m", 400), ("2k", 413)),
    "api": (api_log_level, {"api_log_level": "debug"}, ("info", True), ("debug", True)),
}


@pytest.fixture(scope="module")
def readings(stack) -> dict[str, dict[str, object]]:
    """What the containers say before the change, with it, and after it was put back."""

    def read() -> dict[str, object]:
        return {service: case[0]() for service, case in CASES.items()} | {
            "release": routed(),
            "nginx container": inspect(container("nginx"))["Id"],
        }

    taken = {"before": read()}
    deploy(**{name: value for case in CASES.values() for name, value in case[1].items()})
    taken["changed"] = read()
    deploy()
    taken["put back"] = read()
    return taken


@pytest.mark.parametrize("service", CASES)
def test_a_change_reaches_the_running_container(readings, service):
    _read, _change, default, changed = CASES[service]
    assert {phase: taken[service] for phase, taken in readings.items()} == {
        "before": default,
        "changed": changed,
        "put back": default,
    }


def test_a_release_comes_back_as_it_was_and_nginx_was_only_reloaded(readings):
    releases = [taken["release"] for taken in readings.values()]
    assert releases[0] == releases[2] != releases[1]
    assert len({taken["nginx container"] for taken in readings.values()}) == 1
