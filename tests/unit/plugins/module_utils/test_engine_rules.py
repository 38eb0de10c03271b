# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import Service
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.engine_rules import RULES, check_engine
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.budget_profiles import check, service
from hypothesis import given, settings
from hypothesis import strategies as st


def found(name, limit=None, profile="hardened", **values):
    """Rule ids and arithmetic for one service of the hardened profile, which has no findings, with other settings."""
    changes = {"settings": values}
    if limit:
        # The other keys that depend on the limit are not the subject here.
        changes.update(limit=limit, usage_target=None, alert=None, reservation=None, tmpfs=None, shm_size=None)
    verdict = check(service(name, **changes), profile)
    return {f.rule: f for f in verdict.findings if f.service == name}


@pytest.mark.parametrize(
    ("name", "limit", "values", "expected"),
    [
        # Redis, as measured: 40mb without saves lives, 64mb does not; a save doubles.
        ("redis", None, {}, {}),
        ("redis", None, {"maxmemory": "41M"}, {}),
        ("redis", None, {"maxmemory": "42M"}, {"redis/full-cache-alerts": "42 MB x 1.29 = 54.2 MB > alert at 54 MB"}),
        (
            "redis",
            None,
            {"maxmemory": "50M"},
            {"redis/fragmentation": "50 MB x 1.29 = 64.5 MB > 64 MB", "redis/full-cache-alerts": "50 MB"},
        ),
        (
            "redis",
            None,
            {"maxmemory": "64M"},
            {"redis/maxmemory-at-limit": "64 MB = 64 MB", "redis/full-cache-alerts": "82.6 MB"},
        ),
        (
            "redis",
            None,
            {"maxmemory": "65M"},
            {"redis/maxmemory-above-limit": "65 MB > 64 MB, 1 MB too much", "redis/full-cache-alerts": "65 MB"},
        ),
        (
            "redis",
            None,
            {"save": "900 1", "maxmemory": "32M"},
            {"redis/save-copy-on-write": "2 x 32 MB x 1.29 = 82.6 MB > 64 MB"},
        ),
        ("redis", None, {"save": "900 1", "maxmemory": "24M"}, {}),
        ("redis", None, {"maxmemory_policy": "lru"}, {"redis/maxmemory-policy": ""}),
        ("redis", None, {"save": "900", "maxmemory": "24M"}, {"redis/save": ""}),
        ("redis", None, {"maxmemory_clients": "some"}, {"redis/maxmemory-clients": ""}),
        ("redis", None, {"maxmemory_clients": "4mb"}, {}),
        # Node: 75 % of 384 MB is 288 MB.
        ("api", None, {"max_old_space_size": "288M"}, {}),
        ("api", None, {"max_old_space_size": "289M"}, {"node/old-space-headroom": "289 MB > 75% of 384 MB = 288 MB"}),
        ("api", None, {"max_old_space_size": "384M"}, {"node/old-space-at-limit": "384 MB = 384 MB"}),
        ("api", None, {"max_old_space_size": "385M"}, {"node/old-space-above-limit": "385 MB > 384 MB"}),
        ("api", None, {"gc_heap_mark": "272M"}, {"node/gc-mark-never-reached": "272 MB >= old generation 272 MB"}),
        # PostgreSQL: 90 % of 512 MB is 460.8 MB.
        ("postgres", None, {"max_connections": 17}, {}),
        (
            "postgres",
            None,
            {"max_connections": 18},
            {
                "postgres/memory-at-peak": "1.1 x 96 MB + 2 x 16 MB + 0 MB shared + 18 x (10 MB + 4 x 2 MB) = "
                "461.6 MB > 90 % of 512 MB = 460.8 MB"
            },
        ),
        ("postgres", None, {"work_mem": "3M"}, {"postgres/memory-at-peak": "489.6 MB"}),
        ("postgres", None, {"max_parallel_workers": 2, "max_connections": 16}, {"postgres/shm-size": "32 MB <= "}),
        (
            "postgres",
            None,
            {"shared_buffers": "480M"},
            {"postgres/shared-buffers-above-limit": "1.1 x 480 MB + 2 x 16 MB = 560 MB > 512 MB"},
        ),
        ("postgres", None, {"effective_cache_size": "1G"}, {"postgres/effective-cache-above-limit": "1,024 MB > 512"}),
        # nginx: 2 x 36.8 MB of connections and 16 MB of tmpfs are 89.6 MB.
        ("nginx", None, {"worker_processes": 3}, {"nginx/connections-at-peak": "126.4 MB > 96 MB"}),
        ("nginx", "73M", {}, {"nginx/connections-at-peak": "2 workers x (2048 x 0.4 KB + 1024 x 36 KB) + 0 MB tmpfs"}),
        ("nginx", "74M", {}, {}),
        # Go
        ("alertmanager", None, {"gomemlimit": "28M"}, {}),
        ("alertmanager", None, {"gomemlimit": "29M"}, {"go/gomemlimit-headroom": "29 MB > 90% of 32 MB = 28.8 MB"}),
        ("redis_exporter", None, {"gomemlimit": "16M"}, {"go/gomemlimit-at-limit": "16 MB = 16 MB"}),
        ("nginx_exporter", None, {"gomemlimit": "17M"}, {"go/gomemlimit-above-limit": "17 MB > 16 MB"}),
        ("prometheus", None, {"gomemlimit": "129M"}, {"go/gomemlimit-above-limit": "129 MB > 128 MB"}),
        ("loki", None, {"gomemlimit": "129M"}, {"go/gomemlimit-above-limit": "129 MB > 128 MB"}),
        # The default of --query.max-samples.
        (
            "prometheus",
            None,
            {"query_max_samples": 50_000_000, "query_max_concurrency": 1},
            {"prometheus/queries-above-limit": "1 x 50,000,000 samples x 512 B = 24,462.9 MB > 128 MB"},
        ),
        # Measured: killed in one run of three.
        (
            "prometheus",
            None,
            {"query_max_concurrency": 2},
            {"prometheus/queries-above-limit": "= 146.5 MB > 128 MB"},
        ),
        ("grafana", "199M", {}, {"grafana/below-floor": "199 MB < 200 MB, 1 MB short"}),
        # Loki: 6 + 50 x 0.375 + 2 x (8 x 0.3125 + 12) + 12 = 65.75 MB; then with its own defaults, one at a time.
        (
            "loki",
            "65M",
            {"gomemlimit": "52M", "wal_replay_memory_ceiling": "16M"},
            {"loki/memory-above-limit": "= 65.8 MB > 65 MB"},
        ),
        ("loki", None, {"gomemlimit": "65M"}, {"loki/memory-above-gomemlimit": "= 65.8 MB > gomemlimit 65 MB"}),
        ("loki", None, {"gomemlimit": "66M"}, {}),
        ("loki", None, {"embedded_cache_size": "100M"}, {"loki/memory-above-limit": "6 x 100 MB caches"}),
        ("loki", None, {"embedded_cache_size": "8M"}, {"loki/memory-above-gomemlimit": "6 x 8 MB caches"}),
        ("loki", None, {"streams_max": 5000}, {"loki/memory-above-limit": "5000 streams x 384 KB"}),
        ("loki", None, {"chunk_target_size": "1536K"}, {"loki/memory-above-limit": "50 streams x 1.6 MB"}),
        ("loki", None, {"chunk_block_size": "1M"}, {"loki/memory-above-limit": "50 streams x 2.2 MB"}),
        ("loki", None, {"query_concurrency": 32}, {"loki/memory-above-limit": "32 queries x 14.5 MB"}),
        ("loki", None, {"query_chunks": 150}, {"loki/memory-above-limit": "2 queries x 58.9 MB"}),
        ("loki", None, {"message_size": "100M"}, {"loki/memory-above-limit": "3 x 100 MB coming in"}),
        ("loki", None, {"wal_replay_memory_ceiling": "64M"}, {}),
        (
            "loki",
            None,
            {"wal_replay_memory_ceiling": "65M"},
            {"loki/replay-above-limit": "2 x 65 MB = 130 MB > 128 MB"},
        ),
        ("loki", None, {"wal_replay_memory_ceiling": "4G"}, {"loki/replay-above-limit": "2 x 4,096 MB"}),
        # Fluent Bit: (32 - 5) / 4.6 = 5.87 MB.
        ("fluent_bit", None, {"mem_buf_limit": "5M"}, {}),
        (
            "fluent_bit",
            None,
            {"mem_buf_limit": "6M"},
            {"fluent_bit/buffers-above-limit": "5 MB + 4.6 x 6 MB = 32.6 MB"},
        ),
    ],
)
def test_rules(name, limit, values, expected):
    findings = found(name, limit, **values)
    assert sorted(findings) == sorted(expected)
    for rule, arithmetic in expected.items():
        assert arithmetic in findings[rule].arithmetic
        assert findings[rule].mend


@pytest.mark.parametrize("rule", sorted(set(RULES.values()), key=lambda rule: rule.__name__))
def test_a_rule_is_silent_about_what_could_not_be_read(rule):
    assert list(rule(Service("any"))) == []
    assert list(rule(Service("any", settings={"maxmemory": 1, "gomemlimit": 1}))) == []


def test_a_program_without_a_rule():
    assert list(check_engine(Service("memory_monitor", limit=1))) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=8, max_value=512), st.integers(min_value=1, max_value=600))
def test_a_cap_above_the_limit_is_always_an_error(limit, cap):
    rule, key = RULES["redis"], "maxmemory"
    redis = Service("redis", limit=limit * 1024**2, settings={key: cap * 1024**2})
    errors = [finding.rule for finding in rule(redis) if finding.severity == "error"]
    assert errors == (["redis/maxmemory-above-limit"] if cap > limit else [])
