# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes on a running stack changes by the least, is told before, and is refused where it would break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    HOME,
    NAME,
    ROOT,
    UNLIMITED,
    Load,
    container,
    containers,
    deploy,
    docker,
    inspect,
    refused,
    routed,
    sql,
    untouched,
)

# A deploy or three for each: with make test-release.
pytestmark = [pytest.mark.usefixtures("unlimited"), pytest.mark.slow]
MB = 1 << 20
REDIS = {"services": {"redis": {"limit": "72M"}}}


class Run(NamedTuple):
    """One run of a container: another id is another container, another start is a restart."""

    id: str
    started: str
    memory: int


def run_of(service: str) -> Run:
    found = inspect(container(service))
    return Run(found["Id"], found["State"]["StartedAt"], found["HostConfig"]["Memory"])


def redis(*command: str) -> str:
    """As the admin, who may do everything."""
    password = (ROOT / ".dev/secrets" / NAME / "redis_admin_password").read_text().strip()
    login = ("--env", f"REDISCLI_AUTH={password}", container("redis"), "redis-cli", "--user", "admin")
    return docker("exec", *login, *command)


@pytest.fixture
def put_back() -> Iterator[None]:
    """For a test that leaves the stack changed: it ends as it began."""
    yield
    deploy(**UNLIMITED)


# -- limits


def test_a_limit_is_changed_while_the_program_runs():
    before = run_of("redis")
    said = f"{NAME}-redis is changed in place: memory 64 MB -> 72 MB"
    with untouched():
        assert said in deploy("--check", memory_budget_overrides=REDIS, **UNLIMITED).said
    with Load() as load:
        assert said in deploy(memory_budget_overrides=REDIS, **UNLIMITED).said
        assert run_of("redis") == before._replace(memory=72 * MB)
        deploy(**UNLIMITED)
        assert run_of("redis") == before
    assert load.requests and load.failed == [], load.report()


def test_a_limit_is_not_lowered_below_what_is_in_use():
    name, before = container("redis"), run_of("redis")
    docker("update", "--memory", "256M", "--memory-swap", "256M", name)
    allowed = redis("CONFIG", "GET", "maxmemory").split()[-1]
    try:
        redis("CONFIG", "SET", "maxmemory", "200mb")
        # Redis fills up to an offset with zeros; a value that is sent would count against its clients.
        redis("SETRANGE", "sixty:test:ballast", str(80 * MB), "x")
        with untouched():
            refused("-redis uses ", "a limit of 64 MB", "It goes on with 256 MB", "SERVICES=redis", **UNLIMITED)
            # A check says the same, and is no failure: by the time of the deploy it may be otherwise.
            assert "-redis uses " in deploy("--check", **UNLIMITED).said
    finally:
        redis("DEL", "sixty:test:ballast")
        redis("CONFIG", "SET", "maxmemory", allowed)
        redis("MEMORY", "PURGE")
    assert f"{NAME}-redis is changed in place: memory 256 MB -> 64 MB" in deploy(**UNLIMITED).said
    assert run_of("redis") == before


# -- configuration


def test_postgresql_reads_its_settings_again_and_goes_on():
    before, process = run_of("postgres"), sql("SELECT pg_postmaster_start_time()")
    with Load() as load:
        deploy(postgres_log_min_duration=750, **UNLIMITED)
        assert sql("SHOW log_min_duration_statement") == "750ms"
        deploy(**UNLIMITED)
        assert sql("SHOW log_min_duration_statement") == "500ms"
    assert (run_of("postgres"), sql("SELECT pg_postmaster_start_time()")) == (before, process)
    assert load.requests and load.failed == [], load.report()


@pytest.mark.usefixtures("put_back")
def test_postgresql_is_restarted_only_for_what_takes_a_restart():
    before = run_of("postgres")
    deploy(postgres_settings={"max_locks_per_transaction": 65}, **UNLIMITED)
    after = run_of("postgres")
    assert sql("SHOW max_locks_per_transaction") == "65"
    assert after.id == before.id and after.started != before.started
    assert deploy(postgres_settings={"max_locks_per_transaction": 65}, **UNLIMITED).changed == []


@pytest.mark.parametrize("wrong", [{"work_memory": "4MB"}, {"work_mem": "4 parsecs"}])
def test_a_setting_that_postgresql_does_not_take_changes_nothing(wrong):
    with untouched():
        refused("the new configuration was refused, the old one keeps serving", *wrong, postgres_settings=wrong)


@pytest.mark.usefixtures("put_back")
def test_redis_is_restarted_and_keeps_its_cache():
    before, value = run_of("redis"), uuid.uuid4().hex
    redis("SET", "sixty:test:kept", value)
    deploy(redis_log_level="verbose", **UNLIMITED)
    after = run_of("redis")
    assert after.id == before.id and after.started != before.started
    assert redis("GET", "sixty:test:kept") == value
    redis("DEL", "sixty:test:kept")


@pytest.mark.usefixtures("put_back")
def test_a_new_password_of_the_database_costs_no_request(tmp_path):
    before, first = run_of("postgres"), routed()
    secrets = {path.name: path.read_text().strip() for path in (ROOT / ".dev/secrets" / NAME).iterdir()}
    file = tmp_path / "secrets.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"stack_secrets": {**secrets, "postgres_app_password": f"rotated{uuid.uuid4().hex}"}}))
    with Load() as load:
        deploy("-e", f"@{file}", **UNLIMITED)
        assert routed() != first
    assert run_of("postgres") == before
    assert load.requests and load.failed == [], load.report()


# -- versions


def test_another_major_version_of_postgresql_is_refused_with_what_to_do():
    image = f"sixty/postgres-next:{uuid.uuid4().hex[:8]}"
    recipe = f"FROM {inspect(container('postgres'))['Config']['Image']}\nENV PG_MAJOR=99\nENV PATH=/usr/bin:/bin\n"
    docker("build", "--tag", image, "-", text=recipe)
    try:
        with untouched():
            for check in [(), ("--check",)]:
                refused(
                    f"the data of PostgreSQL {sql('SHOW server_version').split('.')[0]}",
                    "is PostgreSQL 99, which does not read them",
                    "PostgreSQL was not changed",
                    "postgres_restore_across_versions=true",
                    arguments=check,
                    stack_image_overrides={"postgres": image},
                )
    finally:
        docker("rmi", image)


def test_a_check_of_a_rebuild_says_what_is_built_and_what_becomes_of_each():
    with untouched():
        ended = deploy("--check", stack_image_build="tomorrow", **UNLIMITED)
    for service in ("redis", "nginx", "postgres"):
        old = inspect(container(service))["Config"]["Image"]
        assert f"{NAME}-{service} is stopped and made anew: image {old} -> sixty/{service}:" in ended.said
    assert f"Release {routed()} is served; " in ended.said and "is due: " in ended.said


# -- what is no longer wanted


def test_a_service_that_the_inventory_no_longer_has_is_removed():
    deploy("--tags=monitoring", **UNLIMITED)
    config = HOME / "config/redis_exporter"
    assert config.is_dir() and f"{NAME}-redis_exporter" in names()
    without = {"stack_services_absent": ["redis_exporter"], **UNLIMITED}
    with untouched():
        said = deploy("--check", "--tags=monitoring", **without)
        assert "Remove the containers of services that are not wanted" in said.changed
    deploy("--tags=monitoring", **without)
    assert not config.exists() and f"{NAME}-redis_exporter" not in names()
    assert deploy("--tags=monitoring", **without).changed == []
    deploy("--tags=monitoring", **UNLIMITED)
    assert config.is_dir() and f"{NAME}-redis_exporter" in names()


def names() -> set[str]:
    return {entry["Name"].lstrip("/") for entry in containers(NAME, "--all")}


def test_what_serves_cannot_be_left_out():
    with untouched():
        refused("stack_services_absent has postgres", "Nothing was changed", stack_services_absent=["postgres"])


def test_images_that_nobody_uses_are_collected_within_a_budget(tmp_path):
    name, base = f"upgrades_test/{uuid.uuid4().hex[:8]}", inspect(container("nginx"))["Config"]["Image"]
    for number in range(4):
        docker("build", "--tag", f"{name}:{number}", "-", text=f"FROM {base}\nLABEL number={number}\n")
    used = docker("create", f"{name}:0", "nothing")
    try:
        given = {"wanted": [f"{name}:{number}" for number in (0, 1, 3)], "budget": 0, "stack": name}
        given["record"] = str(tmp_path / "images.json")
        assert prune(given)["removed"] == []
        given["wanted"] = [f"{name}:3"]
        # Another stack's, of the same name, is left alone.
        for check in (True, False):
            assert prune(given, check)["removed"] == [f"{name}:1"]
        assert not prune(given)["changed"]
        assert tags(name) == {f"{name}:{number}" for number in (0, 2, 3)}
    finally:
        docker("rm", used)
        docker("rmi", *tags(name))


def tags(name: str) -> set[str]:
    return set(docker("images", "--format", "{{.Repository}}:{{.Tag}}", name).split())


def prune(given: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Result of the module itself."""
    ended = subprocess.run(
        [sys.executable, "-m", "ansible_collections.sixty_sales.memory_optimized.plugins.modules.image_prune"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**given, "_ansible_check_mode": check}}),
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev/collections")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    result = json.loads(ended.stdout)
    assert not result.get("failed"), result["msg"]
    return result


def test_the_budget_that_these_tests_assume():
    assert BUDGET["services"]["redis"]["limit"] == "64M"
