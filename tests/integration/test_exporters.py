# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporters: what they tell, what their users may do, and what becomes of them when a backend is down."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import container_memory_info
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    NAME,
    ROOT,
    SETTINGS,
    container,
    deploy,
    docker,
    eventually,
    info,
    inspect,
    run_in,
    sql,
)

pytestmark = pytest.mark.usefixtures("stack")

PORTS = {"redis": 9121, "postgres": 9187, "nginx": 9113}
UP = {"redis": "redis_up", "postgres": "pg_up", "nginx": "nginx_up"}
PROGRAMS = {service: f"prometheus-{service}-exporter" for service in PORTS}


def secret(name: str) -> str:
    return (ROOT / ".dev/secrets" / NAME / name).read_text().strip()


def scrape(service: str) -> dict[str, float]:
    """Series -> value, as Prometheus gets them over the network metrics."""
    networks = inspect(container(f"{service}_exporter"))["NetworkSettings"]["Networks"]
    url = f"http://{networks[f'{NAME}-metrics']['IPAddress']}:{PORTS[service]}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def up(service: str) -> float:
    return scrape(service)[UP[service]]


def memory(service: str) -> dict[str, int]:
    """An exporter's figures, from its cgroup."""
    pid = inspect(container(f"{service}_exporter"))["State"]["Pid"]
    return container_memory_info.kernel_view(pid, int(info().get("CgroupVersion") or 1))


def redis(*words: str, password: str | None = None) -> str:
    """What Redis answers to the exporter's user."""
    login = ("--env", f"REDISCLI_AUTH={password or secret('redis_exporter_password')}")
    return docker("exec", *login, container("redis"), "redis-cli", "--user", "exporter", *words)


def monitor(statement: str, database: str = "sixty", password: str | None = None) -> subprocess.CompletedProcess[str]:
    """A statement by the exporter's role, over the network db as the exporter comes."""
    address = inspect(container("postgres"))["NetworkSettings"]["Networks"][f"{NAME}-db"]["IPAddress"]
    command = ["docker", "exec", "--env", f"PGPASSWORD={password or secret('postgres_exporter_password')}"]
    command += [container("postgres"), "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--host={address}"]
    command += ["--username=monitor", f"--dbname={database}", f"--command={statement}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


# -- what they tell


@pytest.mark.parametrize("service", PORTS)
def test_it_reads_its_backend(service):
    eventually(lambda: up(service) == 1, f"{service} is up", 10)


def test_what_is_read_is_enough_and_costs_little():
    of_redis, of_postgres, of_nginx = map(scrape, ("redis", "postgres", "nginx"))
    assert of_redis["redis_memory_max_bytes"] == 64 << 20
    assert of_postgres['pg_database_size_bytes{datname="sixty"}'] > 0
    assert of_nginx["nginx_connections_active"] >= 1
    # Three kilobytes each in Prometheus.
    assert len(of_redis) < 300 and len(of_postgres) < 700 and len(of_nginx) < 100
    assert not [name for name in of_postgres if name.startswith(("pg_settings", "pg_stat_statements"))]
    assert [name for name, value in of_postgres.items() if "scrape_collector_success" in name and value != 1] == []


@pytest.mark.parametrize("service", PORTS)
def test_it_fits_its_target(service):
    planned = BUDGET["services"][f"{service}_exporter"]
    for _turn in range(5):
        scrape(service)
    figures = memory(service)
    assert figures["limit"] == parse_size(planned["limit"]) == 16 << 20
    assert figures["unreclaimable"] < parse_size(planned["usage_target"]), figures
    environment = inspect(container(f"{service}_exporter"))["Config"]["Env"]
    assert f"GOMEMLIMIT={planned['settings']['gomemlimit']}iB" in environment


@pytest.mark.parametrize("service", PORTS)
def test_it_reaches_its_backend_and_no_other_network(service):
    wanted = {"redis": {"cache", "metrics"}, "postgres": {"db", "metrics"}, "nginx": {"status", "metrics"}}[service]
    found = inspect(container(f"{service}_exporter"))
    assert set(found["NetworkSettings"]["Networks"]) == {f"{NAME}-{network}" for network in wanted}
    assert not found["HostConfig"]["PortBindings"]
    assert not [value for value in found["Config"]["Env"] if secret("postgres_exporter_password") in value]


# -- what their users may do


def test_redis_tells_its_exporter_numbers():
    assert "used_memory:" in redis("INFO") and redis("SLOWLOG", "LEN").isdigit()


@pytest.mark.parametrize(
    "words",
    [
        *(("GET", "sixty:api:x"), ("SET", "sixty:api:x", "1"), ("KEYS", "*"), ("SCAN", "0"), ("DEL", "sixty:api:x")),
        *(("FLUSHALL",), ("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", "1gb"), ("SLOWLOG", "GET")),
        *(("SLOWLOG", "RESET"), ("CLIENT", "LIST"), ("MONITOR",), ("ACL", "LIST"), ("EVAL", "return 1", "0")),
        *(("SUBSCRIBE", "x"), ("SHUTDOWN", "NOSAVE")),
    ],
)
def test_redis_tells_its_exporter_nothing_else(words):
    assert "NOPERM" in redis(*words)


def test_the_role_of_the_exporter_is_a_member_of_pg_monitor_and_nothing_else():
    rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin, rolconnlimit, rolconfig"
    assert sql(f"SELECT {rights} FROM pg_roles WHERE rolname = 'monitor'") == "f|f|f|f|f|t|2|{statement_timeout=5s}"
    groups = "SELECT roleid::regrole FROM pg_auth_members WHERE member = 'monitor'::regrole"
    assert sql(groups) == "pg_monitor"
    assert sql("SELECT count(*) FROM pg_shdepend WHERE refobjid = 'monitor'::regrole AND deptype = 'o'") == "0"


def test_it_reads_statistics():
    ended = monitor("SELECT n_live_tup >= 0 FROM pg_stat_user_tables WHERE relname = 'deals'")
    assert ended.stdout.strip() == "t", ended.stderr


@pytest.mark.parametrize(
    "statement",
    [
        *(
            "SELECT * FROM deals LIMIT 1",
            "INSERT INTO deals (name) VALUES ('x')",
            "DELETE FROM deals",
            "DROP TABLE deals",
        ),
        *("CREATE TABLE mine (id int)", "CREATE TEMPORARY TABLE mine (id int)", "CREATE SCHEMA mine"),
        *("CREATE DATABASE mine", "CREATE ROLE other", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"),
        *("COPY (SELECT 1) TO PROGRAM 'id'", "SELECT pg_read_file('/etc/passwd')", "SELECT * FROM pg_authid"),
    ],
)
def test_it_reads_no_table_and_writes_nothing(statement):
    ended = monitor(statement)
    assert ended.returncode != 0
    assert re.search("permission denied|must be owner", ended.stderr), ended.stderr


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_it_comes_to_no_other_database(database):
    assert "pg_hba.conf rejects connection" in monitor("SELECT 1", database).stderr


def test_it_has_two_connections():
    """The exporter keeps one of them, so that it can take no more than its two of the sixteen."""
    sleepers = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'monitor'"
    login = ("--env", f"PGPASSWORD={secret('postgres_exporter_password')}")
    psql = ("psql", "--host=127.0.0.1", "--username=monitor", "--dbname=sixty", "--command=SELECT pg_sleep(3)")
    for _turn in range(2):
        docker("exec", "--detach", *login, container("postgres"), *psql)
    eventually(lambda: sql(sleepers) == "2", "both are taken", 10)
    assert 'too many connections for role "monitor"' in monitor("SELECT 1").stderr
    # A deploy meanwhile sees that the password works.
    assert run_in("postgres", "sh", "/etc/sixty/current/bootstrap.sh") == ""
    eventually(lambda: up("postgres") == 1, "the exporter has its connections again", 15)


@pytest.mark.parametrize(
    "harm",
    [
        "ALTER ROLE monitor CONNECTION LIMIT 9",
        "GRANT pg_read_all_data TO monitor",
        "ALTER ROLE monitor SUPERUSER",
        "ALTER ROLE monitor RESET ALL",
        "GRANT TEMPORARY ON DATABASE sixty TO PUBLIC",
        "ALTER ROLE monitor NOLOGIN",
        "REVOKE CONNECT ON DATABASE sixty FROM monitor",
        "ALTER ROLE monitor PASSWORD 'another-password'",
    ],
)
def test_what_somebody_changed_by_hand_is_put_back(harm):
    sql(harm)
    bootstrap = ("sh", "/etc/sixty/current/bootstrap.sh")
    said = "role monitor reads the statistics of database sixty, and nothing else"
    assert run_in("postgres", *bootstrap, "check") == f"{said} would be made so"
    assert run_in("postgres", *bootstrap) == said
    assert run_in("postgres", *bootstrap) == "" and run_in("postgres", *bootstrap, "check") == ""


# -- a backend that is down


@contextmanager
def stopped(service: str) -> Iterator[None]:
    docker("stop", container(service))
    try:
        yield
    finally:
        docker("start", container(service))


@pytest.mark.parametrize("service", PORTS)
def test_a_backend_that_is_down_is_told_within_the_limit(service):
    name = container(f"{service}_exporter")
    with stopped(service):
        assert up(service) == up(service) == 0
        assert memory(service)["unreclaimable"] < 16 << 20
    eventually(lambda: up(service) == 1, f"{service} is up again", 20)
    assert inspect(name)["RestartCount"] == 0 and memory(service)["oom_kills"] == 0


# -- passwords and official images


@pytest.fixture
def official() -> Iterator[dict[str, str]]:
    """Images as the official ones are: the program is the entry point."""
    ours = inspect(container("redis_exporter"))["Config"]["Image"]
    images = {}
    for service, program in PROGRAMS.items():
        images[f"{service}_exporter"] = f"{NAME}/test-official-{service}:1"
        recipe = f'FROM {ours}\nENTRYPOINT ["{program}"]\n'
        docker("build", "--quiet", "--tag", images[f"{service}_exporter"], "-", text=recipe)
    yield images
    docker("image", "rm", *images.values())


@pytest.mark.slow
def test_new_passwords_arrive_and_official_images_work(official):
    names = ["postgres_password", "postgres_app_password", "redis_api_password", "redis_admin_password"]
    names += ["redis_exporter_password", "postgres_exporter_password", "grafana_admin_password"]
    old = {name: secret(name) for name in names}
    new = {**old, "redis_exporter_password": "r" * 32, "postgres_exporter_password": "p" * 32}
    tags = ("--tags", "postgres,redis,monitoring")
    images = {**SETTINGS.get("stack_image_overrides", {}), **official}
    try:
        deploy(*tags, stack_secrets=new, stack_image_overrides=images)
        for service in PORTS:
            eventually(lambda service=service: up(service) == 1, f"{service} is up", 20)
            found = inspect(container(f"{service}_exporter"))
            assert found["Config"]["Image"] == official[f"{service}_exporter"]
            assert found["Config"]["Healthcheck"]["Test"] == ["NONE"]
        assert "used_memory:" in redis("INFO", password="r" * 32) and "WRONGPASS" in redis("INFO")
        assert monitor("SELECT 1", password="p" * 32).returncode in (0, 2)
        assert "password authentication failed" in monitor("SELECT 1").stderr
    finally:
        deploy(*tags)
    for service in PORTS:
        eventually(lambda service=service: up(service) == 1, f"{service} is up again", 20)
