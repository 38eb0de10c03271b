# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is scraped: the names and values of the contract, in a text that Prometheus reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import prometheus_client.exposition
import prometheus_client.parser
import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB, configuration
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.conftest import PACKAGE
from memory_monitor import metrics
from memory_monitor.pages import Pages

LABELS = {"name": "sixty-redis", "stack": "sixty", "service": "redis", "slot": "", "release": ""}


def scrape(machine):
    """name -> {sorted labels: value}."""
    text = bytes(Pages(machine.sampler, {})("/metrics", {}).body).decode()
    found = {}
    for family in prometheus_client.parser.text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**pairs):
    return tuple(sorted(pairs.items()))


def test_a_container(machine, tree):
    path = tree.run(1, oom_kills=2)
    machine.look()
    found, where = scrape(machine), labels(id=path, **LABELS)
    values = {name: series[where] for name, series in found.items() if where in series}
    cgroup = tree.file(path, "memory.stat", "memory.stat").parent
    expected = {
        "container_memory_usage_bytes": 60 * MB,
        "container_memory_working_set_bytes": 50 * MB,
        "container_memory_unreclaimable_bytes": 35 * MB,
        "container_memory_rss": 25 * MB,
        "container_memory_cache": 30 * MB,
        "container_memory_mapped_file": 4 * MB,
        "container_memory_swap": 1 * MB,
        "container_memory_failcnt": 12,
        "container_memory_max_usage_bytes": 63 * MB,
        "container_spec_memory_limit_bytes": 64 * MB,
        "container_spec_memory_reservation_limit_bytes": 32 * MB,
        "container_spec_cpu_quota": 50000,
        "container_spec_cpu_period": 100000,
        "container_spec_cpu_shares": 256 if tree.version == 1 else 264,
        "container_cpu_usage_seconds_total": 2.5,
        "container_cpu_cfs_throttled_seconds_total": 0.25,
        "container_cpu_cfs_throttled_periods_total": 5,
        "container_cpu_cfs_periods_total": 100,
        "container_threads": 7,
        "container_oom_events_total": 2,
        "container_restarts_total": 0,
        "container_start_time_seconds": cgroup.stat().st_mtime,
        "container_last_seen": machine.wall,
        "container_memory_leak_suspected": 0,
    }
    if tree.version == 2:
        expected["container_pressure_memory_waiting_seconds_total"] = 1.5
        expected["container_pressure_memory_stalled_seconds_total"] = 0.5
    assert values == expected


def test_stack_budget_and_machine(machine, tree):
    (machine.home / "config/monitor.json").write_text(configuration(certificate_not_after=1900000000))
    (machine.home / "status/backup.json").write_text(
        '{"finished": 1700000000, "bytes": 4096, "verified": 1700000003, "copied": 1700000004, "failed": 1700000005}'
    )
    (machine.home / "route/active").symlink_to("slots/blue/r1")
    tree.run(1)
    machine.look()
    found = scrape(machine)
    single = {name: series[()] for name, series in found.items() if () in series and not name.startswith("process_")}
    assert single.pop("memory_monitor_sample_duration_seconds") > 0
    assert single.pop("release_switched_timestamp_seconds") == os.lstat(machine.home / "route/active").st_mtime
    assert single == {
        "memory_budget_total_bytes": 2048 * MB,
        "memory_budget_total_alert_bytes": 1638 * MB,
        "memory_budget_total_critical_bytes": 1843 * MB,
        "host_memory_total_bytes": 2048 * MB,
        "host_memory_available_bytes": 1024 * MB,
        "host_swap_total_bytes": 512 * MB,
        "host_swap_free_bytes": 256 * MB,
        "host_oom_kills_total": 40,
        "host_pressure_memory_waiting_seconds_total": 2.5,
        "backup_last_success_timestamp_seconds": 1700000000,
        "backup_size_bytes": 4096,
        "backup_last_verified_timestamp_seconds": 1700000003,
        "backup_last_copied_timestamp_seconds": 1700000004,
        "backup_last_failure_timestamp_seconds": 1700000005,
        "certificate_not_after_timestamp_seconds": 1900000000,
        "memory_monitor_samples_total": 1,
    }
    assert found["stack_memory_usage_bytes"] == {labels(stack="sixty"): 500 * MB}
    assert found["stack_oom_kills_total"] == {labels(stack="sixty"): 0}
    assert found["stack_memory_unreclaimable_bytes"] == {labels(stack="sixty"): 475 * MB}
    assert found["stack_memory_limit_bytes"] == {labels(stack="sixty"): 2048 * MB}
    for name, mb in (("limit", 64), ("reservation", 32), ("usage_target", 56), ("alert", 54)):
        assert found[f"memory_budget_{name}_bytes"][labels(service="redis")] == mb * MB
    levels = {"warning": 80, "container": 85, "critical": 90}
    assert found["memory_budget_threshold_percent"] == {labels(level=name): value for name, value in levels.items()}
    assert found["memory_budget_phase"] == {labels(phase="steady"): 1, labels(phase="overlap"): 0}
    assert found["release_active"] == {labels(slot="blue", release="r1"): 1}
    assert set(found["host_filesystem_size_bytes"]) == {labels(filesystem=n) for n in ("docker", "stack", "logs")}
    reasons = {dict(key)["reason"]: value for key, value in found["memory_monitor_read_errors_total"].items()}
    assert set(reasons.values()) == {0} and len(reasons) == 11
    assert {"process_resident_memory_bytes", "python_info", "python_gc_collections_total"} <= found.keys()


def test_what_is_not_there_is_absent(machine, tree):
    tree.run(1, quota=-1)
    (machine.proc / "meminfo").unlink()
    (machine.proc / "vmstat").unlink()
    machine.look()
    absent = {
        "container_spec_cpu_quota",
        "container_memory_growth_bytes_per_hour",
        "container_memory_growth_confidence",
        "certificate_not_after_timestamp_seconds",
        "release_active",
        "release_switched_timestamp_seconds",
        "backup_size_bytes",
        "backup_last_verified_timestamp_seconds",
        "backup_last_copied_timestamp_seconds",
        "backup_last_failure_timestamp_seconds",
        "backup_last_success_timestamp_seconds",
        "host_memory_total_bytes",
        "host_oom_kills_total",
    }
    assert absent & scrape(machine).keys() == set()


def test_growth(machine, tree):
    for minute in range(14):
        tree.run(1, usage=40 * MB + minute * MB)
        machine.look(60)
    found = scrape(machine)
    assert list(found["container_memory_growth_bytes_per_hour"].values()) == [pytest.approx(60 * MB, rel=0.01)]
    assert min(found["container_memory_growth_confidence"].values()) > 0.99


def test_a_container_that_went_keeps_its_counters(machine, tree):
    path = tree.run(1)
    machine.look()
    tree.restart(path)
    tree.remove(path)
    machine.killed()
    machine.look()
    found, where = scrape(machine), labels(id=path, **LABELS)
    values = {name: series[where] for name, series in found.items() if where in series}
    assert values == {"container_restarts_total": 1, "container_oom_events_total": 1}
    assert found["stack_oom_kills_total"] == {labels(stack="sixty"): 1}


def test_hostile_names_are_escaped(machine, tree):
    path = tree.run(1, 'a"b\\c{}', "x\u00e9,y=")
    machine.look()
    where = labels(id=path, name='a"b\\c{}-x\u00e9,y=', stack='a"b\\c{}', service="x\u00e9,y=", slot="", release="")
    assert scrape(machine)["container_memory_usage_bytes"] == {where: 60 * MB}


def test_the_text_is_prometheus_clients_own(machine, tree):
    tree.run(1, 'a\\b"c', "redis")
    tree.remove(tree.run(2))
    machine.look()
    registry = metrics.registry(lambda: machine.sampler.picture)
    own, theirs = (
        # Of the process itself alone may two readings differ.
        [line for line in bytes(text).split(b"\n") if b"process_" not in line and b"gc_" not in line]
        for text in (metrics.render(registry), prometheus_client.exposition.generate_latest(registry))
    )
    assert own == theirs
    assert len(own) > 100


def test_every_family_is_there_once(machine, tree):
    tree.run(1)
    machine.look()
    text = bytes(metrics.render(metrics.registry(lambda: machine.sampler.picture))).decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_nothing_heavy_is_imported():
    """What the package's own start would load costs half of the limit."""
    code = "import json, sys; import memory_monitor.pages, memory_monitor.sampler; print(json.dumps(list(sys.modules)))"
    path = os.pathsep.join([str(PACKAGE), os.path.dirname(os.path.dirname(prometheus_client.__file__))])
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True)
    heavy = {"ssl", "http.server", "http.client", "urllib.request", "wsgiref", "email", "asyncio", "logging"}
    assert heavy & set(json.loads(ended.stdout)) == set()
