# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with a stand-in for the engine."""

from __future__ import annotations

import json
import types

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import image_prune
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.module_runner import run_main
from docker.errors import APIError, DockerException

IMAGES = [
    {"Id": str(age), "RepoTags": [f"sixty/redis:{age}"], "Size": 10, "Created": age} for age in (0, 1, 2, 3, 9)
] + [{"Id": "none", "RepoTags": None, "Size": 10, "Created": 0}]


class Engine:
    """Has four old images: one that nobody has had, two that are on record, and one of a container that is stopped."""

    def __init__(self, refuses=()):
        self.api, self.refuses, self.removed = self, refuses, []

    def containers(self, all):
        assert all
        return [
            {"ImageID": "2", "Image": "sixty/redis:2", "Labels": {"sixty.stack": "trial"}},
            {"ImageID": "7", "Image": "sixty/redis:0", "Labels": {"sixty.stack": "another"}},
        ]

    def images(self):
        return IMAGES

    def remove_image(self, tag):
        if tag in self.refuses:
            raise APIError("conflict", response=types.SimpleNamespace(status_code=self.refuses[tag], reason="", url=""))
        self.removed.append(tag)


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "images.json"
    path.write_text('["sixty/redis:1", "sixty/redis:3", "sixty/redis:8"]')
    return path


@pytest.fixture
def prune(monkeypatch, record):
    def run(engine, check=False, budget=0):
        monkeypatch.setattr(image_prune.docker, "from_env", lambda: engine)
        given = {"wanted": ["sixty/redis:9"], "budget": budget, "stack": "trial", "record": str(record)}
        return run_main(monkeypatch, image_prune.main, given, check)

    return run


def test_what_the_stack_had_and_no_container_uses_is_removed(prune, record):
    engine = Engine()
    result = prune(engine)
    assert (result["changed"], result["removed"], result["bytes"]) == (True, ["sixty/redis:1", "sixty/redis:3"], 20)
    assert engine.removed == result["removed"]
    # What is gone is forgotten, and what its container may leave one day is not.
    assert json.loads(record.read_text()) == ["sixty/redis:2", "sixty/redis:9"]


def test_without_a_record_only_what_is_there_now_is_the_stacks(prune, record):
    record.unlink()
    assert prune(Engine())["removed"] == []
    assert json.loads(record.read_text()) == ["sixty/redis:2", "sixty/redis:9"]


@pytest.mark.parametrize("text", ["{", "7"])
def test_a_record_that_cannot_be_read_removes_nothing(prune, record, text):
    record.write_text(text)
    engine = Engine()
    result = prune(engine)
    assert result["failed"] and "No image was removed" in result["msg"] and engine.removed == []


def test_a_check_says_the_same_and_changes_nothing(prune, record):
    engine, before = Engine(), record.read_text()
    planned = prune(engine, check=True)["removed"]
    assert engine.removed == [] and record.read_text() == before
    assert prune(Engine())["removed"] == planned


def test_within_the_budget_nothing_is_removed(prune):
    assert prune(Engine(), budget=20) == {
        **{"failed": False, "changed": False, "removed": [], "bytes": 0, "left": []},
        "diff": {"before": "", "after": ""},
    }


def test_an_image_that_others_are_built_on_stays(prune):
    result = prune(Engine({"sixty/redis:1": 409}))
    assert (result["removed"], result["left"], result["failed"]) == (["sixty/redis:3"], ["sixty/redis:1"], False)


@pytest.mark.parametrize("error", [DockerException("away"), ConnectionError("away")])
def test_an_engine_that_does_not_answer_is_told(prune, monkeypatch, error):
    engine = Engine()
    monkeypatch.setattr(engine, "containers", lambda all: (_ for _ in ()).throw(error))
    result = prune(engine)
    assert result["failed"] and "could not be noted which the stack has: away. 0 were removed" in result["msg"]


def test_another_refusal_is_told(prune):
    result = prune(Engine({"sixty/redis:3": 500}))
    assert result["failed"] and "1 were removed" in result["msg"]
