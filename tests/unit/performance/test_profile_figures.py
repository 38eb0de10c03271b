# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What make benchmark-profiles reads out of its generators, and which profile it lets pass."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks/profiles"))

import figures  # noqa: E402

HEAD = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"'
)
# As redis-benchmark 8.0 prints it: a whole run, one whose server was killed, one without a server.
REDIS = f"""{HEAD}
"SET","117647.05","0.030","0.000","0.023","0.039","0.247","2.583"
"GET","249999.98","0.012","0.000","0.015","0.015","0.023","0.055"

ended 0
{HEAD}
"SET","117647.05","0.030","0.000","0.023","0.039","0.431","2.583"
Error: Connection reset by peer

ended 1
Could not connect to Redis at 10.76.2.3:6379: Connection refused

ended 1
"""
# As pgbench 17 prints it, killed in the first run.
PGBENCH = """pgbench (17.12 (Debian 17.12-0+deb13u1))
pgbench: error: client 0 aborted in command 8 (SQL) of script 0; perhaps the backend died while processing
pgbench: error: client 3 aborted in command 7 (SQL) of script 0; perhaps the backend died while processing
number of transactions actually processed: 4795
number of failed transactions: 5 (0.104%)
pgbench: error: Run was aborted; the above results are incomplete.
pgbench: error: connection to server at "bench-postgres" (10.76.1.2), port 5432 failed: Connection refused
pgbench: error: could not create connection for setup
number of transactions actually processed: 205
number of failed transactions: 0 (0.000%)
"""


def test_redis_counts_what_was_answered_as_a_whole():
    found = figures.redis_figures(REDIS, 1000, 10)
    assert (found["per_second"], found["p99_ms"]) == (300.0, 0.247)
    assert (found["failed"], found["of"]) == (2, 5)
    assert found["reasons"] == {
        "Error: Connection reset by peer": 1,
        "Could not connect to Redis at address:6379: Connection refused": 1,
    }


def test_redis_that_never_answered():
    found = figures.redis_figures("Could not connect\nended 1\n" * 3, 1000, 10)
    assert (found["per_second"], found["p99_ms"], found["failed"], found["of"]) == (0, None, 3, 3)


def test_postgres_counts_what_was_cut():
    log = [f"{number % 4} {number} {number * 1000} 0 1795627391 645560" for number in range(1, 101)]
    found = figures.postgres_figures(PGBENCH, [*log, "1 2 failed 0 1795627391 645560"], 10)
    assert (found["per_second"], found["p99_ms"]) == (500.0, 100.0)
    assert (found["failed"], found["of"]) == (7, 5007)
    assert found["reasons"] == {"cut": 2, "not connected": 1}


def test_a_kill_says_that_the_limit_was_reached():
    recorded = {
        "bench-redis": {"limit_mb": 64.0, "peak_mb": 61.5},
        "bench-api-0a1b2c": {"limit_mb": 384.0, "peak_mb": 80.0},
    }
    found = figures.service_figures(recorded, {"redis": 2, "": 7}, {"redis": 1}, "bench")
    assert found["redis"] == {"limit_mb": 64.0, "peak_mb": 64.0, "oom_kills": 2, "restarts": 1}
    assert found["api"] == {"limit_mb": 384.0, "peak_mb": 80.0, "oom_kills": 0, "restarts": 0}


def result(kills: int = 0, restarts: int = 0, failed: int = 0) -> dict:
    load = {"per_second": 50.0, "p99_ms": 12.25, "failed": failed, "of": 1500, "unit": "requests"}
    redis = {"limit_mb": 64.0, "peak_mb": 51.0, "oom_kills": kills, "restarts": restarts}
    return {"loads": {"API": load}, "services": {"redis": redis}}


def test_the_safe_profile_holds_or_the_benchmark_fails():
    assert figures.problems("hardened", result()) == []
    assert figures.problems("hardened", result(kills=1)) == ["hardened: redis had 1 OOM kills and 0 restarts"]
    assert figures.problems("hardened", result(restarts=2)) == ["hardened: redis had 0 OOM kills and 2 restarts"]
    assert figures.problems("hardened", result(failed=3)) == ["hardened: 3 of 1500 requests of API failed"]


def test_both_profiles_are_side_by_side():
    lines = figures.tables({"documented": result(kills=4, restarts=4), "hardened": result()}).splitlines()
    assert lines[2] == "| API | 50 | 0 of 1,500 requests | 12.2 ms | 50 | 0 of 1,500 requests | 12.2 ms |"
    assert lines[-1] == "| redis | 51 of 64 MB | 4 | 4 | 51 of 64 MB | 0 | 0 |"
