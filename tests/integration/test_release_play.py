# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release through the whole play: its migrations, the dump before them, its hooks, and what refuses it early."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    ask,
    deploy,
    docker,
    play,
    refused,
    routed,
    untouched,
)

BACK = {"playbook": "rollback.yml"}


def record(release: str) -> dict:
    return json.loads((HOME / "state.json").read_text())["releases"][release]


def events(release: str) -> list[str]:
    lines = [json.loads(line) for line in (HOME / "journal.jsonl").read_text().splitlines()]
    return [line["event"] for line in lines if line["release"] == release]


@pytest.fixture
def fresh(stack):
    return f"fresh-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def forgotten(stack):
    """Releases that the tests after this one must not meet: their contract bars the way back for all that are older."""
    names: list[str] = []
    yield names
    deploy()
    state = json.loads((HOME / "state.json").read_text())
    with (HOME / "journal.jsonl").open("a") as journal:
        for name in names:
            docker("rm", "--force", f"{NAME}-api-{name}")
            del state["releases"][name]
            journal.write(json.dumps({"event": "pruned", "release": "", "pruned": name, "time": "2026"}) + "\n")
    (HOME / "state.json").write_text(json.dumps(state))


def hook(path: Path, where: str = "host") -> dict:
    text = f'echo "$SIXTY_EVENT $SIXTY_RELEASE $SIXTY_PREVIOUS" >> {path}'
    return {"name": "note", "command": ["sh", "-c", text], "where": where}


def test_the_hooks_and_the_phases_of_a_release(fresh, tmp_path):
    old, told = routed(), tmp_path / "told"
    occasions = ("before_switch", "after_switch", "on_failure", "after_promote")
    hooks = {name: [hook(told)] for name in occasions}
    ended = deploy(release_id=fresh, release_hooks=hooks)
    assert told.read_text().splitlines() == [
        f"{name} {fresh} {old}" for name in ("before_switch", "after_switch", "after_promote")
    ]
    assert "Memory of the switch: in use now" in ended.said and f"{fresh} promoted" in ended.said
    assert events(fresh)[:2] == ["migrated", "switched"] and events(fresh)[-1] == "promoted"
    assert Path(record(fresh)["backup"]).stat().st_size > 1000
    assert Path(record(fresh)["backup"]).stat().st_mode & 0o777 == 0o600
    told.unlink()
    # Back and forth: migrations are the release's, and were run.
    deploy(**BACK)
    deploy(release_id=fresh, release_hooks=hooks)
    assert events(fresh).count("migrated") == 1
    told.unlink()
    failing = {**hooks, "before_switch": [{"name": "gate", "command": ["false"]}]}
    ended = play(release_id=f"{fresh}-2", release_hooks=failing)
    assert ended.code != 0 and "gate" in ended.said, ended.tail
    assert told.read_text().split()[0] == "on_failure"
    assert routed() == fresh and ask("/api/release").release == fresh


def test_an_id_that_is_taken_is_refused_before_anything_changes(stack):
    name = routed()
    deploy(release_id=name)
    with untouched():
        ended = refused("exists already and is made of something else", release_id=name, api_cache_ttl=29)
    assert ended.recap["changed"] == 0


def test_nobody_goes_back_across_a_contract_by_accident(fresh, forgotten):
    old = routed()
    deploy(release_id=fresh, release_migrations="contract")
    forgotten.append(fresh)
    with untouched():
        refused(
            f"Release {old} may not work with the database any more: {fresh} ran contract migrations since",
            record(fresh)["backup"],
            "release_force=true",
            **BACK,
        )
        refused("ran contract migrations since", release_id=old, **BACK)
    assert routed() == fresh
    deploy(release_force=True, **BACK)
    assert routed() == old and ask("/api/release").release == old
