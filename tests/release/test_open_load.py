# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load that proves that nothing is lost sees it when something is."""

from __future__ import annotations

import time

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    container,
    docker,
    eventually,
    routed,
    serves,
    sql,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release.release_stack import OpenLoad

pytestmark = pytest.mark.usefixtures("restored")

# Below the limit for one address, and nothing that a release of faults.mjs would be needed for.
GENTLE = {"rate": 20, "streams": 3, "slow": 0, "uploads": 0}


def test_what_is_well():
    with OpenLoad(**GENTLE) as load:
        load.serving(routed())
        time.sleep(3)
    told = load.result
    assert told["failed"] == 0 and told["read_back"]["wrong"] == 0 < told["read_back"]["checked"]
    assert told["streams"]["rows_told_to_all"] == len(told["acknowledged"]) > 0
    assert told["latency_ms"]["steady"]["count"] >= 55


def test_a_wrong_release_and_a_cut():
    with OpenLoad(**GENTLE) as load:
        load.serving("another")
        time.sleep(2)
        load.phase("switch")
        docker("restart", "--time", "0", container("nginx"))
        eventually(serves, "nginx serves again")
        time.sleep(6)
    told, failures = load.result, load.result["failures"]
    assert told["read_back"]["wrong"] == told["read_back"]["checked"] > 20
    # nginx is killed, so no stream was told to connect again.
    assert sum(one["count"] for key, one in failures.items() if key in ("stream: cut", "stream: ECONNRESET")) >= 3
    assert told["streams"]["drained"] == 0
    assert any(key.endswith(": ECONNREFUSED") or key.endswith(": ECONNRESET") for key in failures)
    assert all(sample["phase"] == "switch" for sample in told["samples"] if sample["kind"] == "page")


def test_an_event_and_a_row_that_are_lost():
    with OpenLoad(**GENTLE) as load:
        sql("ALTER TABLE deals DISABLE TRIGGER deals_events")
        try:
            time.sleep(3)
        finally:
            sql("ALTER TABLE deals ENABLE TRIGGER deals_events")
        time.sleep(1)
    told = load.result
    assert told["streams"]["rows_lost"] == told["failures"]["stream: a row was not told"]["count"] > 2
    assert load.lost() == []
    gone = told["acknowledged"][-1]
    sql(f"DELETE FROM deals WHERE id = {gone}")
    assert load.lost() == [gone]
