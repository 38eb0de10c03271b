# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget import Host, judge
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_report import failure, report, table
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.budget_profiles import (
    BIG,
    TWO_GB,
    check,
    service,
)

BROKEN = {
    "budget": {"total": "1500M"},
    "services": {"redis": {"limit": "512Q"}, "postgres": {"limit": "900M"}, "rediss": {}},
}


def lines(text):
    """Lines with single blanks, so that a test does not pin the width of columns."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_rows_show_what_the_budget_says():
    rows = lines(table(check(), "documented"))
    assert "MEMORY BUDGET, profile documented: 13 services, 2,048 MB for containers. 0 errors, 6 warnings." in rows
    assert "api 384 192 320 326 0.75 ####################----" in rows
    assert "+ 1 more 384 192 0.75 only in a switch; young: as reserved" in rows
    assert "postgres 512 256 400 435 1 #########################-------" in rows


def test_timeline_shows_both_answers():
    rows = lines(table(check(host=TWO_GB), "documented"))
    assert "overlap (both APIs) 2,000 ok, 48 left OVER by 476 1,476 ok, 48 left" in rows
    assert "host: 1,978 MB - 300 MB system - 14 x 11 MB beside containers = 1,524 MB at the peak" in rows
    assert "kernel limit above all containers: min(2,048 MB, 1,978 MB - 300 MB) = 1,678 MB" in rows


def test_rounds_to_the_worse_side():
    verdict = check(host=Host(TWO_GB.memory + 100_000))
    assert "OVER by 476" in table(verdict, "documented")
    verdict = check(host=Host(TWO_GB.memory - 100_000))
    assert "OVER by 477" in table(verdict, "documented")


def test_unknown_host():
    rows = lines(table(check(host=Host()), "documented"))
    assert "host: memory unknown" in rows
    assert "steady 1,616 ok, 432 left unknown 1,284 unknown" in rows


@pytest.mark.parametrize("host", [BIG, TWO_GB, Host()])
@pytest.mark.parametrize("overrides", [None, BROKEN, service("api", colours=12)])
def test_a_terminal_of_a_hundred_columns_is_enough(overrides, host):
    verdict = check(overrides, host=host)
    for line in [*report(verdict, "documented").splitlines(), *failure(verdict, "documented", False).splitlines()]:
        assert len(line) <= 100
        assert line == line.rstrip()
        assert line.isascii()


def test_the_report_has_every_finding_with_arithmetic_and_mend():
    verdict = check(BROKEN)
    text = " ".join(report(verdict, "documented").split())
    assert len(verdict.findings) > 5
    for finding in verdict.findings:
        assert f"{finding.severity.upper()} {finding.rule}" in text
        assert finding.message in text
        assert finding.arithmetic in text
        assert finding.mend in text


def test_the_failure_has_every_error_and_says_what_was_left_alone():
    verdict = check(BROKEN)
    text = failure(verdict, "documented", False)
    assert f"{len(verdict.of('error'))} errors.\nNothing was changed; what ran before still runs." in text
    assert all(finding.rule in text for finding in verdict.of("error"))
    assert "WARNING" not in text
    assert "6 errors. memory_budget_strict makes warnings errors." in failure(check(strict=True), "documented", True)


def test_an_empty_budget_has_a_table_too():
    assert "0 services, no total for containers. 2 errors, 0 warnings." in table(judge({}), "none")
