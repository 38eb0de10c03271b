# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loki and Fluent Bit as they run: what nginx and the API write is found again."""

from __future__ import annotations

import json
import shlex
import time
import urllib.parse
import uuid

import pytest

ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode(), end='')"
UIDS = {"loki": "10001:10001", "fluent_bit": "10002:4"}
ENTRIES = {"nginx": "access.log", "api": "api.log"}


@pytest.fixture(params=sorted(UIDS))
def service(request):
    return request.param


@pytest.fixture
def inspected(host, stack, service):
    return host.docker(f"{stack}-{service}").inspect()


@pytest.fixture
def get(host, stack):
    """Ask a service of the stack from its host: get("loki", 3100, "/ready")."""

    def ask(name, port, path):
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = host.check_output("docker inspect --format %s %s", form, f"{stack}-{name}")
        done = host.run(f"python3 -c {shlex.quote(ASK)} {shlex.quote(f'http://{address}:{port}{path}')}")
        return done.stdout if done.rc == 0 else ""

    return ask


@pytest.fixture
def query(get):
    """The streams and lines that answer a LogQL query over the last hour."""

    def ask(text):
        path = "/loki/api/v1/query_range?" + urllib.parse.urlencode({"query": text, "since": "1h"})
        answer = get("loki", 3100, path)
        return json.loads(answer)["data"]["result"] if answer else []

    return ask


@pytest.fixture
def write(host, stack):
    """Append a line to a log, as its service would: readable by the group alone."""

    def append(name, line):
        path = f"/var/log/{stack}/{name}/{ENTRIES[name]}"
        host.check_output(f"printf '%s\\n' {shlex.quote(json.dumps(line))} >> {path} && chmod 640 {path}")

    return append


def now(form):
    return time.strftime(form, time.gmtime())


def test_limits_and_hardening(inspected, service, budget, host):
    config, entry = inspected["HostConfig"], budget["services"][service]
    limit = int(entry["limit"][:-1]) * 2**20
    assert (config["Memory"], config["MemorySwap"]) == (limit, limit)
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]
    assert any(option.startswith("no-new-privileges") for option in config["SecurityOpt"])
    assert inspected["Config"]["User"] == UIDS[service]
    assert not config["PortBindings"]
    child = host.check_output("pgrep --parent %s", str(inspected["State"]["Pid"])).split()[0]
    status = host.file(f"/proc/{child}/status").content_string
    assert f"Uid:\t{UIDS[service].split(':')[0]}\t" in status
    assert "CapEff:\t0000000000000000" in status


def test_loki_runs_with_what_the_budget_says(get, eventually, budget):
    eventually(lambda: get("loki", 3100, "/ready") == "ready\n", 90)
    config = get("loki", 3100, "/config")
    settings = budget["services"]["loki"]["settings"]
    assert f"max_global_streams_per_user: {settings['streams_max']}\n" in config
    assert f"chunk_target_size: {int(settings['chunk_target_size'][:-1]) * 1024}\n" in config
    assert f"max_chunk_batch_size: {settings['query_chunks']}\n" in config
    assert "reporting_enabled: false\n" in config
    # Whichever cache the program would add, none has its default size.
    cache = f"embedded_cache:\n      enabled: true\n      max_size_mb: {settings['embedded_cache_size'][:-1]}\n"
    assert cache in config


def test_a_request_is_found_again(write, query, eventually):
    mark = uuid.uuid4().hex
    write(
        "nginx",
        {"time": now("%Y-%m-%dT%H:%M:%S+00:00"), "request_id": mark, "status": 404, "release": "r1", "slot": "blue"},
    )
    text = '{service="nginx", level="warn"} | json | request_id="%s"' % mark  # noqa: UP031
    [stream] = eventually(lambda: query(text), 60)
    assert {key: stream["stream"][key] for key in ("service", "level", "release", "slot")} == {
        "service": "nginx", "level": "warn", "release": "r1", "slot": "blue",
    }  # fmt: skip


def test_what_the_api_says_is_found_again_after_a_restart_of_loki(write, query, eventually, host, stack):
    mark = uuid.uuid4().hex
    write("api", {"level": "error", "time": now("%Y-%m-%dT%H:%M:%S.500Z"), "release": "r2", "msg": mark})
    text = '{service="api", level="error", release="r2"} |= "%s"' % mark  # noqa: UP031
    eventually(lambda: query(text), 60)
    host.check_output("docker kill --signal KILL %s", f"{stack}-loki")
    host.check_output("docker start %s", f"{stack}-loki")
    [stream] = eventually(lambda: query(text), 90)
    assert len(stream["values"]) == 1


def test_both_stay_within_their_alert(host, stack, service, budget, get):
    usage = host.check_output("docker stats --no-stream --format {{.MemUsage}} %s", f"{stack}-{service}").split()[0]
    number = float(usage.rstrip("KMGiB")) * {"K": 2**10, "M": 2**20, "G": 2**30}[usage.strip("0123456789.")[0]]
    assert number < int(budget["services"][service]["alert"][:-1]) * 2**20
    assert host.docker(f"{stack}-{service}").inspect()["State"]["OOMKilled"] is False


def test_both_tell_prometheus(get):
    assert "loki_ingester_memory_streams" in get("loki", 3100, "/metrics")
    assert "fluentbit_output_proc_records_total" in get("fluent_bit", 2020, "/api/v2/metrics/prometheus")
    assert get("fluent_bit", 2020, "/api/v1/health") == "ok\n"
