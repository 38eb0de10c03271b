# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real budget data, merged as the role merges it (combine's own function), for the tests."""

from __future__ import annotations

import copy
from pathlib import Path

import yaml
from ansible.utils.vars import merge_hash
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget import Host, Verdict, judge
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size

ROLE = Path(__file__).parents[3] / "roles" / "memory_budget"
BIG = Host(64 * 1024**3, 16)
# A Debian 12 machine with 2,048 MB (measured).
TWO_GB = Host(parse_size("1978M"), 2)


def load(profile):
    """The literal data of one profile."""
    data = yaml.safe_load((ROLE / "vars" / "main" / f"{profile}.yml").read_text(encoding="utf-8"))
    return data[f"__memory_budget_{profile}"]


DOCUMENTED = load("documented")
HARDENED = load("hardened")


def merged(profile="documented", overrides=None):
    """memory_budget_data for a profile and overrides."""
    chosen = {"documented": {}, "hardened": HARDENED}[profile]
    data = merge_hash(copy.deepcopy(DOCUMENTED), chosen, recursive=True)
    return merge_hash(data, overrides or {}, recursive=True)


def check(overrides=None, profile="documented", host=BIG, strict=False) -> Verdict:
    """The verdict on a profile with overrides, as the role asks for it."""
    return judge(merged(profile, overrides), DOCUMENTED, overrides or {}, host, strict)


def rules(verdict, severity=None):
    """Rule ids of a verdict with their service, sorted."""
    return sorted((f.rule, f.service) for f in verdict.findings if severity in (None, f.severity))


def service(name, **changes):
    """Overrides for one service; settings of an engine as settings={...}."""
    return {"services": {name: changes}}
