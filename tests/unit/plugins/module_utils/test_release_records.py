# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of releases, on a real directory and with the kernel's own word on processes."""

from __future__ import annotations

import errno
import json
import os

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_records
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, Records

DEPLOY = {"release": "r2", "manifest": "m", "previous": None, "phase": "begun"}
DISK_FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def records(tmp_path):
    return Records(str(tmp_path))


def read(path):
    with open(path, encoding="utf-8") as handle:
        return json.load(handle)


def test_a_deploy_from_begin_to_finish(records):
    assert (records.deploy(), records.holder()) == (None, None)
    records.note("switched", "r1", manifest="m1")
    deploy = records.begin(DEPLOY, "ann@here")
    assert records.deploy() == deploy == {**DEPLOY, "id": deploy["id"], "since": deploy["since"]}
    holder = records.holder()
    assert holder == {**read(records.lock), "alive": True}
    assert (holder["pid"], holder["owner"], holder["release"]) == (os.getpid(), "ann@here", "r2")
    records.phase(deploy, "healthy", baseline=[0.1])
    assert (records.deploy()["phase"], records.deploy()["baseline"]) == ("healthy", [0.1])
    records.finish()
    assert (records.deploy(), records.holder()) == (None, None)
    # What was on record before is as it was.
    assert read(records.state)["releases"]["r1"]["manifest"] == "m1"
    # Nothing is under way: nothing is written.
    before = os.stat(records.state).st_ino
    records.finish()
    assert os.stat(records.state).st_ino == before


def test_a_phase_of_a_deploy_that_another_one_ended(records):
    old = records.begin(DEPLOY, "ann")
    new = records.begin({**DEPLOY, "release": "r3"}, "bob")
    assert old["id"] != new["id"]
    records.phase(old, "switched")
    assert records.deploy()["phase"] == "begun"
    records.finish()
    records.phase(new, "switched")
    assert records.deploy() is None


def test_a_heartbeat(records, monkeypatch):
    records.begin(DEPLOY, "ann")
    taken = read(records.lock)["taken"]
    monkeypatch.setattr(release_records, "now", lambda: "later")
    records.beat()
    assert (read(records.lock)["heartbeat"], read(records.lock)["taken"]) == ("later", taken)


def test_a_heartbeat_takes_no_lock(records, tmp_path):
    """Somebody took it away, by force, or holds it now."""
    records.begin(DEPLOY, "ann")
    records.unlock()
    records.beat()
    assert records.holder() is None
    another = {**records.held, "taken": "another time", "owner": "bob"}
    (tmp_path / "lock.json").write_text(json.dumps(another), encoding="utf-8")
    records.beat()
    assert records.holder()["owner"] == "bob"


@pytest.mark.parametrize("name", ["state.json", "lock.json"])
def test_a_begin_that_cannot_be_put_on_record_holds_nothing(records, monkeypatch, name):
    write = release_records.write_whole

    def full(path, content):
        if path.endswith(name):
            raise DISK_FULL
        write(path, content)

    monkeypatch.setattr(release_records, "write_whole", full)
    with pytest.raises(OSError, match="No space left"):
        records.begin(DEPLOY, "ann")
    assert (records.holder(), records.deploy()) == (None, None)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '{"pid": 1}', '{"pid": "x", "boot": 1, "started": 2}'])
def test_a_lock_that_says_nothing_keeps_nobody_out(records, tmp_path, text):
    (tmp_path / "lock.json").write_text(text, encoding="utf-8")
    assert records.holder()["alive"] is False


def test_a_write_that_fails_leaves_what_was(records, monkeypatch):
    records.note("switched", "r1", manifest="m1")
    before = read(records.state)

    def full(handle):
        raise DISK_FULL

    monkeypatch.setattr(release_records.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        records.write({"releases": {}})
    assert read(records.state) == before


def test_what_the_state_lost_the_journal_tells(records):
    records.note("switched", "r1", manifest="m1")
    records.note("failed", "r2", manifest="m2", reason="no")
    told = records.known()
    os.unlink(records.state)
    assert {name: entry["manifest"] for name, entry in records.known().items()} == {"r1": "m1", "r2": ""}
    assert set(records.known()["r1"]) == set(told["r1"])
    # What is in the state counts more.
    records.write({"releases": {"r1": {"manifest": "newer"}}})
    assert records.known()["r1"] == {"manifest": "newer"}


@pytest.mark.parametrize("text", ["{", "[]", '{"releases": {"r1": {"manifest": 5}}}'])
def test_a_state_that_is_not_understood(tmp_path, text):
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    with pytest.raises(Failed, match="is not what this module wrote"):
        Records(str(tmp_path)).read()
    records = Records(str(tmp_path), tolerant=True)
    assert records.read() == {"releases": {}}
    records.write({"releases": {}})
    records.write({"releases": {}})
    assert (tmp_path / "state.json.broken").read_text(encoding="utf-8") == text


def test_the_lock_of_the_kernel(tmp_path):
    with release_records.lock(str(tmp_path)):
        with pytest.raises(Failed, match="Another switch of this stack is under way"), release_records.lock(tmp_path):
            pass
        assert os.listdir(tmp_path) == []
    with release_records.lock(str(tmp_path)):
        pass
    # A bare host has nothing to lock.
    with release_records.lock(str(tmp_path / "nothing")):
        assert not (tmp_path / "nothing").exists()


def test_the_lock_is_waited_for(tmp_path, monkeypatch):
    held = release_records.lock(str(tmp_path))
    held.__enter__()
    monkeypatch.setattr(release_records.time, "sleep", lambda seconds: held.__exit__(None, None, None))
    with release_records.lock(str(tmp_path), timeout=5):
        pass
