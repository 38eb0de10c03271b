# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/security.md claims what a test shows: each test that it names exists, and each of these tests is named."""

from __future__ import annotations

import re

from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import ROOT

DOCUMENT = ROOT / "docs/security.md"
# The tests that say nothing of the stack, but that the others can fail.
OF_THE_TESTS = {"test_the_search_finds_what_is_there", "test_the_words_are_those_that_are_looked_for"}


def cited() -> set[tuple[str, str]]:
    """(file, test) of every link whose text is the name of a test."""
    return set(re.findall(r"\[`(test_\w+)`\]\(\.\./([\w./-]+\.py)\)", DOCUMENT.read_text()))


def names_in(path: str) -> set[str]:
    return set(re.findall(r"^ *def (test_\w+)\(", (ROOT / path).read_text(), re.MULTILINE))


def test_every_test_that_it_names_exists():
    links = cited()
    assert len(links) > 30
    assert [(test, path) for test, path in sorted(links) if test not in names_in(path)] == []


def test_it_names_every_test_of_this_folder():
    named = {test for test, path in cited() if path.startswith("tests/security/")}
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "tests/security").glob("test_*.py"))
    here = {test for path in paths if path.name != "test_document.py" for test in names_in(str(path))}
    assert here - OF_THE_TESTS - named == set()
