# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup refuses, and the throw-away PostgreSQL that a dump is restored into."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import backup as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.postgres_dump import Dump
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB

ARGUMENTS = {
    **{"name": "scheduled", "database": "sixty", "keep": 5, "timeout": 60, "directory": "/srv/sixty/backups"},
    **{"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 3, "disk_budget": 0, "copy": None},
}
VERIFY = {
    **{"stack": "sixty", "image": "sixty/postgres:1", "user": "999:998", "memory": 256 * MIB, "cpus": 0.5},
    **{"pids_limit": 64, "settings": {"shared_buffers": "32MB"}},
}
COPY = {"recipients": ["age1x"], "command": ["cp", "{}", "/mnt"]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "a b"}, "cannot name a dump"),
        ({"keep_weekly": -1}, "keep_weekly is -1"),
        ({"disk_budget": -1}, "disk_budget is -1"),
        ({"copy": {**COPY, "recipients": []}}, "recipients is missing: what leaves the host is encrypted"),
        ({"copy": {**COPY, "command": []}}, "command is missing"),
        ({"copy": {**COPY, "command": ["cp", "/mnt"]}}, "cp /mnt does not name the file"),
    ],
)
def test_arguments_that_are_refused(changed, said):
    error = core.check_arguments({**ARGUMENTS, **changed})
    assert said in error and "Nothing was changed" in error


@pytest.mark.parametrize("copy", [None, {}, COPY])
def test_arguments_that_are_taken(copy):
    assert core.check_arguments({**ARGUMENTS, "copy": copy}) is None


def dumps(*names):
    return [Dump(f"202611{day:02d}T031700.000Z", name, f"/b/{day}-{name}", 1) for day, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    ("changed", "made", "verified", "gone"),
    [
        # Counted, and the timer's are not among them.
        ({"name": "r3", "keep": 2}, 4, True, ["/b/1-r1"]),
        ({"name": "r3", "keep": 0}, 4, True, []),
        ({"name": "scheduled", "keep_daily": 1}, 5, True, ["/b/2-scheduled"]),
        # The last that was verified stays until another one is.
        ({"name": "scheduled", "keep_daily": 1}, 5, False, []),
        ({"name": "r3", "keep": 1, "verified_path": "/b/1-r1"}, 4, False, ["/b/3-r2"]),
        ({"name": "r3", "keep": 1, "verified_path": "/b/1-r1"}, 4, True, ["/b/3-r2", "/b/1-r1"]),
    ],
)
def test_what_is_removed(tmp_path, changed, made, verified, gone):
    status = tmp_path / "backup.json"
    status.write_text(json.dumps({"verified_path": "/b/2-scheduled", **changed}))
    there = dumps("r1", "scheduled", "r2", "r3", "scheduled")[:made]
    params = {**ARGUMENTS, "keep_weekly": 0, "keep_monthly": 0, "status": str(status), **changed}
    assert core.removable(params, there, there[-1].path, verified) == gone


def test_a_copy_that_was_not_taken_does_not_stay(tmp_path):
    directory = core.host.Directory(str(tmp_path))
    with pytest.raises(core.DumpError), core.working(directory, False) as work:
        open(f"{work}/half.tar.age", "w", encoding="utf-8").close()
        raise core.DumpError("no route to the other host")
    assert list((tmp_path / ".work").iterdir()) == []


@pytest.mark.parametrize("failure", [core.DumpError("no room"), KeyError("odd")])
def test_whatever_ends_a_backup_is_told(tmp_path, monkeypatch, failure):
    def fail(*_arguments):
        raise failure

    monkeypatch.setattr(core, "steps", fail)
    status = tmp_path / "status/backup.json"
    params = {**ARGUMENTS, "directory": str(tmp_path / "dumps"), "status": str(status)}
    for check in (True, False):
        with pytest.raises(type(failure)):
            core.run(core.Task(params, print, check))
        assert status.exists() is not check
    told = json.loads(status.read_text())
    assert told["failed"] > 0 and failure.args[0] in told["error"]
    with pytest.raises(core.DumpError, match="keep_daily is -1"):
        core.run(core.Task({**params, "keep_daily": -1}, print))
    assert "keep_daily is -1" in json.loads(status.read_text())["error"]


@pytest.mark.parametrize(
    ("driver", "parent"), [("cgroupfs", "/sixty/backup_verify"), ("systemd", "sixty-backup_verify.slice")]
)
def test_the_throw_away_postgresql_is_bounded_and_alone(driver, parent):
    command = core.verify_command(VERIFY, driver)
    before, after = command[: command.index("sixty/postgres:1")], command[command.index("sixty/postgres:1") :]
    for option in (
        *("--memory=268435456", "--memory-swap=268435456", "--cpus=0.5", "--pids-limit=64", "--oom-score-adj=1000"),
        *("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=999:998"),
        *(f"--cgroup-parent={parent}", "--label=sixty.stack=sixty", "--name=sixty-backup_verify", "--pull=never"),
    ):
        assert option in before, option
    assert not [option for option in before if option.startswith(("--publish", "--privileged", "--restart"))]
    assert {"--shared_buffers=32MB", "--listen_addresses=", "--restart_after_crash=off"} < set(after)


@pytest.mark.parametrize(
    ("said", "answers", "fault"),
    [
        ("pg_restore ended with 1:\n  violates check constraint", True, True),
        # One of its processes was killed, and it ends.
        ("pg_restore ended with 1:\n  server closed the connection unexpectedly", False, False),
        ("pg_restore ended with 1:\n  could not extend file: No space left on device", True, False),
        ("pg_restore did not end within 3600 s.", True, False),
    ],
)
def test_what_befell_the_throw_away_postgresql_is_not_the_dumps_fault(said, answers, fault):
    class Scratch:
        def sql(self, _script, timeout):
            if not answers:
                raise core.DumpError("psql ended with 2")

    assert core.at_fault(said, Scratch()) is fault
