# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL as it runs: the requirement's numbers, who comes in, and that a row is never lost."""

from __future__ import annotations

import time

import pytest


@pytest.fixture
def sql(container):
    """Ask as the superuser, over the socket."""

    def ask(statement, database="sixty"):
        return container.output(
            "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--user=postgres",
            f"--dbname={database}", f"--command={statement}",
        )  # fmt: skip

    return ask


@pytest.fixture
def log_in(container):
    """Log in over the network db, as the application does; gives testinfra's result."""
    address = container.now("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def connect(user, password, statement="SELECT current_user"):
        return container.run(
            "env", f"PGPASSWORD={password}", "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--host={address}",
            f"--username={user}", "--dbname=sixty", f"--command={statement}",
        )  # fmt: skip

    return connect


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # The requirement.
        ("shared_buffers", "96MB"),
        ("effective_cache_size", "256MB"),
        ("work_mem", "2MB"),
        ("maintenance_work_mem", "32MB"),
        # Fitted to the limit.
        ("max_connections", "16"),
        ("superuser_reserved_connections", "3"),
        ("autovacuum_max_workers", "2"),
        ("autovacuum_work_mem", "16MB"),
        ("max_parallel_workers", "0"),
        ("max_parallel_maintenance_workers", "0"),
        ("wal_buffers", "3MB"),
        ("jit", "off"),
        # Safety.
        ("password_encryption", "scram-sha-256"),
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("server_encoding", "UTF8"),
    ],
)
def test_the_running_configuration(sql, name, value):
    assert sql(f"SHOW {name}") == value


def test_every_line_of_its_files_is_understood(sql):
    assert sql("SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL OR NOT applied") == ""
    assert sql("SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL") == ""


def test_nobody_is_trusted(sql, log_in):
    assert set(sql("SELECT DISTINCT auth_method FROM pg_hba_file_rules").split()) == {"peer", "scram-sha-256", "reject"}
    assert sql("SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'") == ""
    refused = log_in("sixty", "not-the-password")
    assert refused.rc != 0
    assert "password authentication failed" in refused.stderr


def test_the_superuser_does_not_come_over_the_network(log_in, secrets):
    refused = log_in("postgres", secrets["postgres_password"])
    assert refused.rc != 0
    assert "pg_hba.conf rejects connection" in refused.stderr


def test_the_application_owns_its_database_and_nothing_else(sql, log_in, secrets):
    answer = log_in("sixty", secrets["postgres_app_password"])
    assert (answer.rc, answer.stdout.strip()) == (0, "sixty")
    rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    assert sql(f"SELECT {rights} FROM pg_roles WHERE rolname = 'sixty'") == "f|f|f|f|f"
    assert sql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'sixty'") == "sixty"
    assert sql("SELECT has_database_privilege('public', 'sixty', 'CONNECT')") == "f"
    for statement in ("ALTER SYSTEM SET fsync = off", "COPY (SELECT 1) TO PROGRAM 'id'", "CREATE ROLE other"):
        refused = log_in("sixty", secrets["postgres_app_password"], statement)
        assert "permission denied" in refused.stderr, statement


def test_a_second_bootstrap_is_silent(container):
    assert container.output("sh", "/etc/sixty/current/bootstrap.sh") == ""
    assert container.output("sh", "/etc/sixty/current/bootstrap.sh", "check") == ""


def test_it_is_not_reachable_from_outside(reachable):
    assert not reachable(5432)


def test_it_stops_at_once_and_cleanly_under_a_client(container, sql, host, eventually):
    assert container.inspect["Config"]["StopSignal"] == "SIGINT"
    host.check_output("docker exec --detach %s psql --user=postgres --command='SELECT pg_sleep(600)'", container.name)
    eventually(lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'") == "1")
    started = time.monotonic()
    host.check_output("docker stop %s", container.name)
    assert time.monotonic() - started < 8
    assert container.now("{{.State.ExitCode}}") == "0"
    host.check_output("docker start %s", container.name)
    eventually(lambda: container.run("pg_isready", "--quiet", "--host=/run/postgresql").rc == 0)
    log = host.run("docker logs --since 2m %s", container.name).stderr
    assert "database system was shut down at" in log
    assert "not properly shut down" not in log


def test_check_mode_shows_a_change_and_touches_nothing(play, container, sql):
    before = container.now("{{.Id}}")
    recap = play("--check", "--diff", postgres_log_min_duration=250)
    assert recap.changed > 0
    assert "+log_min_duration_statement = 250" in recap.output
    assert sql("SHOW log_min_duration_statement") == "500ms"
    assert container.now("{{.Id}}") == before


def test_a_new_password_and_a_new_setting_arrive_and_every_row_stays(play, container, sql, log_in, secrets):
    sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS row")
    before = container.now("{{.Id}} {{.State.StartedAt}}")
    play(
        postgres_log_min_duration=250,
        stack_secrets=secrets | {"postgres_app_password": "molecule-another-password"},
    )
    assert container.now("{{.Id}} {{.State.StartedAt}}") == before
    assert sql("SHOW log_min_duration_statement") == "250ms"
    assert sql("SELECT count(*) FROM kept") == "1000"
    assert log_in("sixty", "molecule-another-password").rc == 0
    assert log_in("sixty", secrets["postgres_app_password"]).rc != 0


def test_committed_rows_survive_a_kill(container, sql, host, eventually):
    sql("INSERT INTO kept VALUES (1001)")
    host.check_output("kill -KILL %s", container.status["Pid"])
    eventually(lambda: container.run("pg_isready", "--quiet", "--host=/run/postgresql").rc == 0, 60)
    assert sql("SELECT count(*) FROM kept") == "1001"
    assert container.now("{{.RestartCount}}") == "1"
