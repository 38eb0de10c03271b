# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of Loki and Fluent Bit, rendered by Ansible, against what these versions know; and the logs that
the running stack writes against what the shipper reads.

Fluent Bit itself is tried in tests/fluent_bit, both together by the Molecule scenario "logs": their images come from a
registry only.
"""

from __future__ import annotations

import copy
import datetime
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import container
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size
from ansible_collections.sixty_sales.memory_optimized.tests.fluent_bit.rendered import ROOT, render
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import BUDGET, NAME, PORT
from ansible_collections.sixty_sales.memory_optimized.tests.loki import known_keys

IMAGES = yaml.safe_load((ROOT / "roles/stack/defaults/main.yml").read_text())["stack_registry_images"]
LOKI_VERSION, LOKI_KEYS = known_keys.read(ROOT / "tests/loki/known_keys.txt")
FLUENT_BIT_VERSION, FLUENT_BIT_KEYS = known_keys.read(ROOT / "tests/fluent_bit/known_keys.txt")
LABELS = {"service", "slot", "release", "level"}
MINE = {"services": {"loki": {"settings": {"streams_max": 77, "message_size": "2M"}},
                     "fluent_bit": {"settings": {"mem_buf_limit": "3M"}}}}  # fmt: skip
# Each of these is too much for 128 MB by its default.
LOWERED = [
    "chunk_store_config.chunk_cache_config.embedded_cache.enabled",
    *(
        f"query_range.{name}_cache.cache.embedded_cache.max_size_mb"
        for name in (
            "results",
            "index_stats_results",
            "volume_results",
            "instant_metric_results",
            "series_results",
            "label_results",
        )
    ),
    "distributor.max_decompressed_size",
    "distributor.max_recv_msg_size",
    "distributor.push_worker_count",
    "frontend.grpc_client_config.max_recv_msg_size",
    "frontend.max_body_size",
    "frontend.max_outstanding_per_tenant",
    "frontend_worker.query_frontend_grpc_client.max_send_msg_size",
    "frontend_worker.query_scheduler_grpc_client.max_send_msg_size",
    "ingester.chunk_block_size",
    "ingester.chunk_idle_period",
    "ingester.chunk_target_size",
    "ingester.concurrent_flushes",
    "ingester.max_chunk_age",
    "ingester.wal.replay_memory_ceiling",
    "ingester_client.grpc_client_config.max_recv_msg_size",
    "limits_config.cardinality_limit",
    "limits_config.ingestion_rate_mb",
    "limits_config.max_chunks_per_query",
    "limits_config.max_concurrent_tail_requests",
    "limits_config.max_entries_limit_per_query",
    "limits_config.max_global_streams_per_user",
    "limits_config.max_line_size",
    "limits_config.max_query_length",
    "limits_config.max_query_parallelism",
    "limits_config.max_query_series",
    "limits_config.tsdb_max_query_parallelism",
    "limits_config.volume_max_series",
    "compactor.retention_delete_worker_count",
    "compactor.upload_parallelism",
    "querier.max_concurrent",
    "query_range.max_retries",
    "query_scheduler.max_outstanding_requests_per_tenant",
    "storage_config.max_chunk_batch_size",
    "storage_config.max_parallel_get_chunk",
]


class Rendered(NamedTuple):
    loki: dict[str, Any]
    fluent_bit: dict[str, Any]
    containers: dict[str, Any]
    settings: dict[str, Any]


def load(base: Path, **variables: Any) -> Rendered:
    files = render(base, variables)
    settings = copy.deepcopy({name: BUDGET["services"][name]["settings"] for name in ("loki", "fluent_bit")})
    for name, changed in variables.get("memory_budget_overrides", {}).get("services", {}).items():
        settings[name].update(changed["settings"])
    return Rendered(
        yaml.safe_load(files["loki-memory-optimized.yml"]),
        yaml.safe_load(files["fluent-bit.yaml"]),
        json.loads(files["containers.json"]),
        settings,
    )


@pytest.fixture(scope="module", params=["documented", "hardened", "overrides"])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    variables: dict[str, Any] = {
        "documented": {},
        "hardened": {"memory_budget_profile": "hardened"},
        "overrides": {"memory_budget_overrides": MINE, "loki_retention": "14d", "fluent_bit_retries": 5},
    }[request.param]
    return load(tmp_path_factory.mktemp("logs"), **variables)


@pytest.fixture
def loki(rendered: Rendered) -> dict[str, Any]:
    """Path -> value of each of Loki's settings."""
    return dict(known_keys.leaves(rendered.loki))


def magnitude(value: Any) -> float:
    """A size, a duration or a number, to be compared with another of its kind."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    text = str(value)
    if text in ("true", "True"):
        return 1
    if text in ("false", "False"):
        return 0
    if text[-1] in units:
        parts = text.replace("d", "d ").replace("h", "h ").replace("m", "m ").replace("s", "s ").split()
        return sum(float(part[:-1]) * units[part[-1]] for part in parts)
    return float(text) if text.replace(".", "").isdigit() else parse_size(text)


# -- Loki


def test_the_lists_are_those_of_the_pinned_versions():
    assert f"v{IMAGES['loki'].partition(':')[2]}" == LOKI_VERSION
    assert f"v{IMAGES['fluent_bit'].partition(':')[2]}" == FLUENT_BIT_VERSION
    assert len(LOKI_KEYS) > 700
    assert len(FLUENT_BIT_KEYS) > 150


def test_loki_knows_each_key_and_type(rendered):
    assert known_keys.problems(rendered.loki, LOKI_KEYS) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("ingester", "chunk_target_sise"), 1, "ingester.chunk_target_sise: unknown"),
        (("ingester", "wal", "replay_memory_ceiling"), "32 megabytes", "is no int"),
        (("ingester", "max_chunk_age"), "an hour", "is no duration"),
        (("analytics", "reporting_enabled"), "no", "is no boolean"),
        (("limits_config", "discover_service_name"), "none", "is no list_of_strings"),
    ],
)
def test_a_wrong_key_or_type_is_found(rendered, path, value, problem):
    config = copy.deepcopy(rendered.loki)
    node = config
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    [found] = known_keys.problems(config, LOKI_KEYS)
    assert problem in found


@pytest.mark.parametrize("name", LOWERED)
def test_a_default_that_would_not_fit_is_lowered(loki, name):
    default = LOKI_KEYS[name].default
    # A cache that is not configured is switched on.
    assert magnitude(loki[name]) < (1 if name.endswith(".enabled") else magnitude(default)), (loki[name], default)


def test_loki_takes_its_numbers_from_the_budget(rendered, loki):
    s = rendered.settings["loki"]
    message = parse_size(s["message_size"])
    caches = [value for path, value in loki.items() if path.endswith("embedded_cache.max_size_mb")]
    assert caches == [parse_size(s["embedded_cache_size"]) // 2**20] * 6
    assert {value for path, value in loki.items() if "_msg_size" in path or path.endswith("max_decompressed_size")} == {
        message
    }
    assert loki["ingester.chunk_target_size"] == parse_size(s["chunk_target_size"])
    assert loki["ingester.chunk_block_size"] == parse_size(s["chunk_block_size"])
    assert parse_size(loki["ingester.wal.replay_memory_ceiling"]) == parse_size(s["wal_replay_memory_ceiling"])
    assert loki["storage_config.max_chunk_batch_size"] == s["query_chunks"]
    assert loki["limits_config.max_global_streams_per_user"] == s["streams_max"]
    for name in (
        "querier.max_concurrent",
        "limits_config.max_query_parallelism",
        "limits_config.tsdb_max_query_parallelism",
    ):
        assert loki[name] == s["query_concurrency"]
    memory = rendered.containers["loki"]["environment"]["GOMEMLIMIT"]
    assert memory.endswith("MiB")
    assert parse_size(memory) == parse_size(s["gomemlimit"])


def test_loki_keeps_what_it_should_and_nothing_else_runs(rendered, loki):
    retention = loki["limits_config.retention_period"]
    assert retention in ("7d", "14d")
    assert magnitude(retention) % magnitude(loki["schema_config.configs[].index.period"]) == 0
    assert loki["limits_config.reject_old_samples_max_age"] == retention
    assert loki["compactor.retention_enabled"] is True
    assert loki["compactor.delete_request_store"] == loki["schema_config.configs[].object_store"] == "filesystem"
    # What is in memory is asked for longer than it can be there.
    assert magnitude(loki["querier.query_ingesters_within"]) > magnitude(loki["ingester.max_chunk_age"])
    # A message may hold one stream alone, and a burst has room for the next one.
    message = rendered.settings["loki"]["message_size"]
    assert magnitude(loki["limits_config.per_stream_rate_limit_burst"]) == parse_size(message)
    assert loki["limits_config.ingestion_burst_size_mb"] * 2**20 >= 2 * parse_size(message)
    for name in ("pattern_ingester.enabled", "analytics.reporting_enabled", "tracing.enabled"):
        assert loki[name] is False
    # common.storage would give the ruler a place, and so start it (initRulerStorage).
    assert not {"ruler", "ruler_storage", "bloom_build", "memberlist", "ui"} & set(rendered.loki)
    assert "storage" not in rendered.loki["common"]
    written = [value for path, value in loki.items() if path.endswith(("directory", "path_prefix"))]
    assert written and all(value.startswith("/loki") for value in written)


# -- Fluent Bit


def flattened(config: dict[str, Any]) -> dict[str, Any]:
    """By kind and plugin, as the list of keys has them; conditions are not plugins' keys."""
    pipeline = copy.deepcopy(config["pipeline"])
    processors = [processor for tail in pipeline["inputs"] for processor in tail.pop("processors")["logs"]]
    for processor in processors:
        processor.pop("condition", None)

    def plugins(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [entry for entry in entries if entry.pop("name", name) == name]
            for [name] in [{entry["name"] for entry in entries}]
        }

    return {
        "service": config["service"],
        "parsers": config["parsers"],
        "inputs": plugins(pipeline["inputs"]),
        "processors": plugins(processors),
        "outputs": plugins(pipeline["outputs"]),
    }


def fluent_bit_problems(config: dict[str, Any]) -> list[str]:
    return known_keys.problems(json.loads(json.dumps(flattened(config))), {
        path.replace("tail.", "tail[].").replace("content_modifier.", "content_modifier[].")
        .replace("outputs.loki.", "outputs.loki[].").replace("parsers.", "parsers[]."): known
        for path, known in FLUENT_BIT_KEYS.items()
    })  # fmt: skip


def test_fluent_bit_knows_each_key_and_type(rendered):
    assert set(rendered.fluent_bit) == {"service", "parsers", "pipeline"}
    assert set(rendered.fluent_bit["pipeline"]) == {"inputs", "outputs"}
    assert fluent_bit_problems(rendered.fluent_bit) == []


@pytest.mark.parametrize(
    ("section", "key", "value", "problem"),
    [
        ("inputs", "mem_buff_limit", "1M", "inputs.tail[].mem_buff_limit: unknown"),
        ("inputs", "mem_buf_limit", "much", "is no size"),
        ("outputs", "label_key", "$uri", "outputs.loki[].label_key: unknown"),
    ],
)
def test_a_wrong_key_of_a_plugin_is_found(rendered, section, key, value, problem):
    config = copy.deepcopy(rendered.fluent_bit)
    config["pipeline"][section][0][key] = value
    [found] = fluent_bit_problems(config)
    assert problem in found


def test_labels_are_few_and_never_from_a_client(rendered):
    [output] = rendered.fluent_bit["pipeline"]["outputs"]
    assert set(output["label_keys"].split(",")) == {f"${name}" for name in LABELS}
    assert set(output["remove_keys"].split(",")) == LABELS
    assert not {"labels", "auto_kubernetes_labels", "structured_metadata"} & set(output)
    for tail in rendered.fluent_bit["pipeline"]["inputs"]:
        clamp = tail["processors"]["logs"][-1]
        [rule] = clamp["condition"]["rules"]
        assert (clamp["key"], clamp["value"], rule["field"], rule["op"]) == ("level", "unknown", "$level", "not_in")
        # The levels that it can make, once each, are those that it lets through.
        made = {step["value"] for step in tail["processors"]["logs"] if step["key"] == "level"} - {"unknown"}
        assert made <= set(rule["value"])


def test_the_buffers_are_those_of_the_budget(rendered):
    inputs = rendered.fluent_bit["pipeline"]["inputs"]
    s = rendered.settings["fluent_bit"]
    assert sum(tail["mem_buf_limit"] for tail in inputs) == parse_size(s["mem_buf_limit"])
    for tail in inputs:
        assert tail["storage.type"] == "memory"
        assert parse_size(tail["buffer_max_size"]) == parse_size(s["line_buffer"]) < tail["static_batch_size"]
        assert tail["db"].startswith("/data/")
        assert tail["parser"] in {parser["name"] for parser in rendered.fluent_bit["parsers"]}


# -- both


def test_the_containers_are_hardened_and_see_what_they_need(rendered):
    users = yaml.safe_load((ROOT / "roles/stack/defaults/main.yml").read_text())["stack_users"]
    for name, definition in rendered.containers.items():
        arguments = container.container_arguments(
            definition, name, f"{NAME}-{name}", {"memory": 1}, users[definition["user"]], NAME, "cgroupfs"
        )
        assert arguments["read_only"] is True
        assert arguments["published_ports"] == []
        assert [network["name"] for network in arguments["networks"]] == [f"{NAME}-metrics"]
        assert arguments["image"] == IMAGES[name]
        assert "environment" not in definition or set(definition["environment"]) == {"GOMEMLIMIT"}
    assert users["loki"] == {"uid": 10001, "gid": 10001}
    assert "/var/log/sixty:/var/log/sixty:ro" in rendered.containers["fluent_bit"]["volumes"]


@pytest.mark.usefixtures("stack")
def test_the_lines_of_the_running_stack_are_what_the_shipper_reads(tmp_path):
    rendered = load(tmp_path)
    for path in ("/", "/api/release", "/api/nothing-here"):
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", headers={"User-Agent": "logs"})
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as error:
            assert error.code in (404, 429)
    seen = {}
    for tail, parser in zip(rendered.fluent_bit["pipeline"]["inputs"], rendered.fluent_bit["parsers"]):
        pattern = tail["path"].replace("/var/log/sixty/", "", 1)
        [path] = Path("/var/log", NAME).glob(pattern)
        lines = [json.loads(line) for line in path.read_text().splitlines()[-200:]]
        form = parser["time_format"].replace("%L", "%f")
        for line in lines:
            moment = datetime.datetime.strptime(line[parser["time_key"]], form)
            assert moment.tzinfo is not None
        seen[tail["tag"]] = lines
    assert {type(line["status"]) for line in seen["nginx"]} == {int}
    assert all({"slot", "release"} <= set(line) for line in seen["nginx"])
    assert {line["level"] for line in seen["api"]} <= {"trace", "debug", "info", "warn", "error", "fatal"}
    assert all("release" in line for line in seen["api"])
