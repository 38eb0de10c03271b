# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups as systemd makes them: on time, in the sandbox of their unit, and told whatever becomes of them."""

from __future__ import annotations

import json
import time

import pytest


@pytest.fixture
def unit(stack):
    return f"{stack}-backup"


@pytest.fixture
def told(host, stack):
    """What monitoring reads."""
    return lambda: json.loads(host.file(f"/srv/{stack}/status/backup.json").content_string)


@pytest.fixture
def dumps(host, stack):
    return lambda: host.check_output("find /srv/%s/backups -name '*.dump' -printf '%%p\n'", stack).split()


@pytest.fixture
def sql(containers):
    return lambda text: containers["postgres"].output("psql", "-XAtU", "postgres", "-d", "sixty", "-c", text)


def test_it_is_due_every_night_and_after_a_night_that_the_host_was_off(host, unit):
    timer = host.service(f"{unit}.timer")
    assert timer.is_enabled and timer.is_running
    shown = host.check_output("systemctl show --property TimersCalendar --property Persistent %s.timer", unit)
    assert "OnCalendar=*-*-* 03:17:00" in shown
    assert "Persistent=yes" in shown


def test_what_the_unit_makes_was_restored_and_compared(host, stack, unit, told, dumps, sql):
    sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS row")
    began = int(time.time())
    host.check_output("systemctl start %s.service", unit)
    [path] = dumps()
    news = told()
    assert (news["path"], news["verified_path"]) == (path, path)
    assert news["verified"] >= began and "failed" not in news
    assert (host.file(path).mode, host.file(path).user) == (0o600, "root")
    record = json.loads(host.file(path.removesuffix(".dump") + ".json").content_string)
    assert record["tables"]["public kept"][0] == 1000
    assert host.check_output("docker ps --all --quiet --filter name=%s-backup_verify", stack) == ""


def test_it_changes_no_other_file_of_the_host(host, unit):
    held = ["ProtectSystem=strict", "ProtectHome=yes", "NoNewPrivileges=yes"]
    assert set(held) <= set(host.check_output("systemctl show %s.service", unit).splitlines())


def test_a_database_that_is_away_is_told(host, unit, told, containers, dumps, play):
    before = dumps()
    play(backup_timeout=30)
    host.check_output("docker stop %s", containers["postgres"].name)
    try:
        assert host.run("systemctl start %s.service", unit).rc != 0
    finally:
        host.check_output("docker start %s", containers["postgres"].name)
    assert told()["error"] == "systemd ended the backup: timeout"
    assert told()["failed"] >= told()["finished"]
    assert dumps() == before


def test_the_next_one_that_succeeds_ends_that(host, unit, told, eventually, containers):
    eventually(lambda: containers["postgres"].run("pg_isready", "--quiet", "--host=/run/postgresql").rc == 0)
    host.check_output("systemctl start %s.service", unit)
    assert not {"failed", "error"} & told().keys()


def test_a_time_that_is_none_is_refused(host, unit, play):
    recap = play(fails=True, backup_schedule="every night")
    assert "backup_schedule is no OnCalendar= of systemd.time(7)" in " ".join(recap.output.split())
    assert "OnCalendar=*-*-* 03:17:00" in host.check_output("systemctl show --property TimersCalendar %s.timer", unit)


def test_another_time_is_known_at_once(host, unit, play):
    assert play("--check", backup_schedule="*-*-* 04:30:00").changed > 0
    assert play(backup_schedule="*-*-* 04:30:00").changed > 0
    assert "OnCalendar=*-*-* 04:30:00" in host.check_output("systemctl show --property TimersCalendar %s.timer", unit)
