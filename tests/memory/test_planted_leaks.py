# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory tests themselves: they find a planted leak, and none in the product. `make test-memory-selfcheck`."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.memory import api, browser
from ansible_collections.sixty_sales.memory_optimized.tests.memory.own_stack import deploy, own_stack, preloaded

# As short as a verdict can be had for.
SECONDS, ROUNDS = 75, 48


@pytest.fixture(scope="module", autouse=True)
def stack():
    with own_stack():
        yield


def leaks(result: dict) -> set[str]:
    return {name for name, found in result["growth"].items() if found["leak"]}


def test_the_dashboard_does_not_leak():
    assert browser.measure(ROUNDS)["problems"] == []


def test_a_node_and_a_listener_for_each_navigation_are_found():
    result = browser.measure(ROUNDS, Path(__file__).parent / "fixtures/page_leak.js")
    assert leaks(result) >= {"nodes", "listeners"}, result["growth"]
    assert any("its nodes grew" in problem for problem in result["problems"])


def test_the_api_does_not_leak():
    assert api.measure(SECONDS)["problems"] == []


def test_an_api_that_keeps_every_request_is_found():
    """Deployed as a release of its own, over the product's."""
    deploy(**preloaded("probe.mjs", "fixtures/api_leak.mjs"))
    result = api.measure(SECONDS)
    assert "heap" in leaks(result), result["growth"]
    assert any(problem.startswith("The API leaks") for problem in result["problems"])
