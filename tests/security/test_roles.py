# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API's users of PostgreSQL and Redis may do, that is what a stolen API container can.

The exporters' users: tests/integration/test_exporters.py.
"""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import NAME, docker, run_in, sql
from ansible_collections.sixty_sales.memory_optimized.tests.security.inside import places, secrets


def as_application(statement: str, user: str = "sixty", password: str = "", database: str = "sixty") -> str:
    """What PostgreSQL says to the API's role, which comes over the network db."""
    command = ["docker", "exec", "--interactive", places()["postgres"].found["Name"][1:], "sh", "-c"]
    address = places()["postgres"].addresses["db"]
    command += [
        'read -r PGPASSWORD; export PGPASSWORD; exec psql --no-psqlrc -qtA --host="$1" -U "$2" --dbname="$3" -c "$4"',
        *("sh", address, user, database, statement),
    ]
    ended = subprocess.run(
        command,
        input=(password or secrets()["postgres_app_password"]) + "\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.stdout.strip()


def redis(user: str, password: str, *words: str) -> str:
    command = ["docker", "exec", "--interactive", places()["redis"].found["Name"][1:], "sh", "-c"]
    command += [
        'read -r REDISCLI_AUTH; export REDISCLI_AUTH; exec redis-cli --no-auth-warning "$@"',
        "sh",
        "--user",
        user,
    ]
    ended = subprocess.run(
        [*command, *words], input=password + "\n", capture_output=True, text=True, timeout=30, check=False
    )
    return (ended.stdout + ended.stderr).strip()


# -- PostgreSQL


def test_there_are_three_roles():
    """The superuser, who comes through the socket alone; the API's, which owns its database; the exporter's."""
    rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    roles = sql(f"SELECT rolname, {rights} FROM pg_roles WHERE rolcanlogin ORDER BY 1")
    assert roles.splitlines() == ["monitor|f|f|f|f|f", "postgres|t|t|t|t|t", "sixty|f|f|f|f|f"]
    groups = "SELECT roleid::regrole, member::regrole FROM pg_auth_members WHERE member::regrole::text !~ '^pg_'"
    assert sql(groups) == "pg_monitor|monitor"
    assert sql("SELECT count(*) FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%'") == "0"


def test_the_superuser_does_not_come_over_the_network():
    said = as_application("SELECT 1", "postgres", secrets()["postgres_password"], "postgres")
    assert "pg_hba.conf rejects connection" in said


def test_a_wrong_password_is_refused_from_within_the_container_too():
    assert "password authentication failed" in as_application("SELECT 1", password="not-the-password")
    for line in sql("SELECT DISTINCT auth_method FROM pg_hba_file_rules").splitlines():
        assert line in ("peer", "scram-sha-256", "reject")


@pytest.mark.parametrize(
    "statement",
    [
        *("ALTER SYSTEM SET fsync = off", "CREATE ROLE other", "CREATE DATABASE other", "ALTER ROLE sixty SUPERUSER"),
        *("COPY (SELECT 1) TO PROGRAM 'id'", "COPY (SELECT 1) TO '/tmp/x'", "SELECT pg_read_file('/etc/passwd')"),
        *("SELECT * FROM pg_authid", "SELECT pg_ls_dir('/')", "SELECT lo_import('/etc/passwd')", "LOAD '/tmp/x.so'"),
        *("CREATE EXTENSION file_fdw", "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x', 'f'"),
        *("SET ROLE postgres", "SELECT pg_reload_conf()", "SET session_preload_libraries = '/tmp/x'"),
    ],
)
def test_the_api_leaves_its_database_by_no_door(statement):
    said = as_application(statement)
    assert any(part in said for part in ("permission denied", "must be superuser", "is not allowed")), said


def test_the_api_sees_no_other_database():
    """It owns sixty. In postgres and template1, which everybody may enter, it can make nothing."""
    for database in ("postgres", "template1"):
        said = as_application("CREATE TABLE mine (id int)", database=database)
        assert "permission denied" in said, (database, said)


def test_the_api_may_change_its_own_tables():
    """Not a wish but a fact that docs/security.md names: migrations run as the same role."""
    assert as_application("BEGIN; CREATE TABLE mine (id int); DROP TABLE mine; ROLLBACK") == ""
    assert sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "sixty"


def test_postgresql_logs_no_password_that_is_set():
    """Even where every statement is slow enough to be logged."""
    bootstrap = ("sh", "/etc/sixty/current/bootstrap.sh")
    began = docker("exec", f"{NAME}-postgres", "date", "+%s")
    try:
        sql("ALTER ROLE postgres SET log_min_duration_statement = 0")
        sql("ALTER ROLE monitor NOLOGIN")
        assert "role monitor" in run_in("postgres", *bootstrap)
        assert run_in("postgres", *bootstrap) == ""
    finally:
        sql("ALTER ROLE postgres RESET log_min_duration_statement")
    log = docker("logs", "--since", began, f"{NAME}-postgres")
    # What it asked is logged, so what it set would be.
    assert (
        "SELECT rolconnlimit = 2" in log
        and "ALTER ROLE monitor LOGIN" not in log
        and secrets()["postgres_exporter_password"] not in log
    )


# -- Redis

COMMANDS = {"get", "set", "client|setname"}


def test_redis_has_four_users_and_no_default():
    listed = redis("admin", secrets()["redis_admin_password"], "ACL", "LIST").splitlines()
    users = {line.split()[1]: line.split()[2:] for line in listed}
    assert users.keys() == {"default", "health", "api", "exporter", "admin"}
    assert "off" in users["default"]
    assert [name for name, words in users.items() if "nopass" in words] in (["health"], ["default", "health"])
    rights = {name: {word for word in words if word[0] in "+-~&%@"} for name, words in users.items()}
    assert rights["health"] == {"-@all", "+ping"}
    assert rights["api"] == {"-@all", "~sixty:api:*", *(f"+{command}" for command in COMMANDS)}
    assert rights["exporter"] == {"-@all", "+info", "+slowlog|len"}


@pytest.mark.parametrize(
    "words",
    [
        *(
            ("KEYS", "*"),
            ("SCAN", "0"),
            ("DEL", "sixty:api:x"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("ACL", "WHOAMI"),
        ),
        *(("CONFIG", "SET", "dir", "/tmp"), ("SAVE",), ("REPLICAOF", "10.0.0.1", "6379"), ("MODULE", "LIST")),
        *(("EVAL", "return 1", "0"), ("MONITOR",), ("CLIENT", "LIST"), ("SHUTDOWN", "NOSAVE")),
        *(("GET", "other:key"), ("SET", "other:key", "1"), ("SUBSCRIBE", "x"), ("MIGRATE", "h", "1", "k", "0", "1")),
    ],
)
def test_the_api_cannot_do_more_in_redis(words):
    assert "NOPERM" in redis("api", secrets()["redis_api_password"], *words)


def test_nobody_comes_into_redis_without_a_password():
    for user in ("api", "exporter", "admin", "default"):
        assert "WRONGPASS" in redis(user, "not-the-password", "PING"), user
    assert "NOAUTH" in run_in("redis", "redis-cli", "PING")
    assert (
        docker(
            "exec", places()["redis"].found["Name"][1:], "redis-cli", "--user", "health", "--pass", "x", "GET", "a"
        ).count("NOPERM")
        == 1
    )
