# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the argument specs say of a variable is what the role has."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SPECIFICATION = importlib.util.spec_from_file_location("docs", ROOT / "scripts/docs.py")
docs = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(docs)

ROLES = sorted(path.parents[1].name for path in ROOT.glob("roles/*/meta/main.yml"))


def role(name):
    folder = ROOT / "roles" / name
    return docs.load(folder / "meta/argument_specs.yml")["argument_specs"], docs.load(folder / "defaults/main.yml")


@pytest.mark.parametrize("name", ROLES)
def test_specs_and_defaults_agree(name):
    assert list(docs.disagreements(name, *role(name))) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda entries, defaults: defaults.update(redis_log_level="debug"),
            "the default of redis_log_level is 'notice'",
        ),
        (lambda entries, defaults: defaults.pop("redis_log_level"), "redis_log_level has a default in meta"),
        (lambda entries, defaults: defaults.update(redis_new=1), "redis_new of defaults/main.yml is missing"),
        (
            lambda entries, defaults: entries["main"]["options"]["redis_log_level"].update(required=True),
            "redis_log_level is required by the spec and has a default",
        ),
        (
            lambda entries, defaults: entries.update(other={"options": {"redis_log_level": {"type": "int"}}}),
            "redis_log_level is specified differently in two entry points",
        ),
    ],
)
def test_a_disagreement_is_found(change, says):
    entries, defaults = (copy.deepcopy(part) for part in role("redis"))
    change(entries, defaults)
    assert any(says in problem for problem in docs.disagreements("redis", entries, defaults))
