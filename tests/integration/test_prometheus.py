# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Prometheus role: its rules under promtool, its runbook, its series, and the program itself within its limit.

The configuration is what the role lands, in some variants, each checked by promtool on its way. The image is
SIXTY_PROMETHEUS_IMAGE (default ``sixty/prometheus``); a container has the role's command and the budget's limits.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import cgroup, stack_host

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests/prometheus"
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
IMAGE = os.environ.get("SIXTY_PROMETHEUS_IMAGE", "sixty/prometheus")
PREFIX = f"t-prometheus-{uuid.uuid4().hex[:8]}"
URL = "https://runbook.test"
# More than a query may hold, or close to it.
EVERYTHING = '{__name__=~".+"}[1h]'
# The requirement's own words ("Alert Configuration").
DOCUMENTED = "(container_memory_usage_bytes / container_spec_memory_limit_bytes) * 100 > 85"
VARIANTS = [
    {"name": "documented"},
    {"name": "usage", "signal": "usage"},
    {"name": "hardened", "profile": "hardened"},
    {"name": "absent", "absent": ["grafana", "loki", "fluent_bit", "alertmanager"]},
]
COMMON = ["release.yml", "stack.yml", "watchers.yml"]


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def render(root: Path, variants: list[dict[str, Any]], **variables: Any) -> subprocess.CompletedProcess[str]:
    """Lands the configuration of each variant below root, as a deploy does, without the container."""
    extra = {
        # A name that no deployed stack has, whose Prometheus would be told to reload.
        "stack_name": "example",
        "render_root": str(root),
        "render_variants": variants,
        "stack_image_overrides": {"prometheus": IMAGE},
        "prometheus_runbook_url": URL,
        "__container_settled": True,
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        **variables,
    }
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("--extra-vars", json.dumps(extra), str(TESTS / "render.yml")),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prometheus")
    root.chmod(0o755)
    done = render(root, VARIANTS)
    assert done.returncode == 0, done.stdout[-4000:]
    return root


@pytest.fixture(scope="module")
def run(landed: Path) -> dict[str, Any]:
    """How the role runs it: definition, the command that verifies a reload, jobs, and what the budget gives."""
    return json.loads((landed / "run.json").read_text())


def tree(landed: Path, variant: str = "documented") -> Path:
    return landed / variant / "config/prometheus/current"


def config(landed: Path, variant: str = "documented") -> dict[str, Any]:
    return yaml.safe_load((tree(landed, variant) / "prometheus.yml").read_text())


def rules(landed: Path, variant: str = "documented") -> list[dict[str, Any]]:
    files = sorted((tree(landed, variant) / "rules").glob("*.yml"))
    assert len(files) == 4
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts(landed: Path, variant: str = "documented") -> list[dict[str, Any]]:
    return [rule for rule in rules(landed, variant) if "alert" in rule]


# -- the rules


@pytest.mark.parametrize(
    ("variant", "files"),
    [
        ("documented", ["memory.yml", *COMMON]),
        ("hardened", ["memory.yml"]),
        ("usage", ["memory_usage.yml"]),
    ],
)
def test_promtool_test_rules(landed: Path, variant: str, files: list[str]) -> None:
    done = subprocess.run(
        [
            *("docker", "run", "--rm", "--network=none", "--entrypoint=promtool"),
            f"--volume={tree(landed, variant).resolve()}:/etc/sixty/current:ro",
            f"--volume={TESTS}:/tests:ro",
            *(IMAGE, "test", "rules", *(f"/tests/{name}" for name in files)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and done.stdout.count("SUCCESS") == len(files), done.stdout


def test_every_rule_is_tested_firing_and_silent(landed: Path) -> None:
    fires, silent = [], set()
    for name in ["memory.yml", *COMMON]:
        for case in yaml.safe_load((TESTS / name).read_text())["tests"]:
            for expected in case.get("alert_rule_test", []):
                if not expected["exp_alerts"]:
                    silent.add(expected["alertname"])
                fires += [(expected["alertname"], alert["exp_labels"]) for alert in expected["exp_alerts"]]
    for rule in alerts(landed):
        assert any(name == rule["alert"] and rule["labels"].items() <= labels.items() for name, labels in fires), (
            f"{rule['alert']} {rule['labels']} fires in no test"
        )
        # Watchdog is never silent.
        assert rule["alert"] in silent or rule["alert"] == "Watchdog", f"{rule['alert']} is silent in no test"


@pytest.mark.parametrize("variant", [variant["name"] for variant in VARIANTS])
def test_every_alert_says_what_it_has_to(landed: Path, variant: str) -> None:
    for rule in alerts(landed, variant):
        assert rule["labels"]["severity"] in {"warning", "critical", "none"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"{URL}#{rule['alert'].lower()}"


def test_the_four_rollback_triggers_are_of_the_active_release_only(landed: Path) -> None:
    triggers = {(rule["labels"]["rollback_trigger"], rule["alert"]) for rule in alerts(landed)
                if "rollback_trigger" in rule["labels"]}  # fmt: skip
    assert triggers == {
        ("memory", "MemoryCritical"),
        ("memory", "ContainerOOMKilled"),
        ("performance", "ApiLatencyDegraded"),
        ("health", "HealthCheckFailing"),
        ("restarts", "ContainerRestartLoop"),
    }
    for rule in alerts(landed):
        assert "rollback_trigger" not in rule["labels"] or "release_active" in rule["expr"]


def test_the_documented_expression_word_for_word(landed: Path) -> None:
    [rule] = [rule for rule in alerts(landed, "usage") if rule["alert"] == "HighMemoryUsage"]
    assert rule["expr"].startswith(f"{DOCUMENTED}\n")
    assert (rule["for"], rule["labels"]) == ("2m", {"severity": "warning"})
    assert rule["annotations"]["summary"].startswith("Container approaching memory limit")
    [rule] = [rule for rule in alerts(landed) if rule["alert"] == "HighMemoryUsage"]
    assert rule["expr"].startswith(DOCUMENTED.replace("usage", "unreclaimable"))


def test_the_runbook_has_a_section_for_each_alert(landed: Path) -> None:
    sections = re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(sections) == sorted({rule["alert"] for rule in alerts(landed)})
    for name, text in zip(sections, re.split(r"^### \w+$", RUNBOOK, flags=re.MULTILINE)[1:]):
        assert "```" in text or name == "Watchdog", f"{name} names no command"


# -- what is scraped


def test_no_more_series_than_the_budget_has(landed: Path, run: dict[str, Any]) -> None:
    """A scrape that brings more than its sample_limit counts as failed, so their sum is the bound."""
    scraped = config(landed)["scrape_configs"]
    targets = {job["job_name"]: sum(len(group["targets"]) for group in job["static_configs"]) for job in scraped}
    assert targets == {**dict.fromkeys(run["jobs"], 1), "api": 2}
    # Prometheus adds five of its own for each target (up, scrape_duration_seconds ...). A recording rule has a series
    # for each container or bucket; an alert has two, here for four containers at once.
    recorded = len(rules(landed)) - len(alerts(landed))
    own = 5 * sum(targets.values()) + 20 * recorded + 8 * len(alerts(landed))
    scrapes = sum(job["sample_limit"] * targets[job["job_name"]] for job in scraped)
    assert scrapes + own <= run["budget"]["settings"]["series_max"]


def test_absent_services_are_not_scraped(landed: Path) -> None:
    everything, less = config(landed), config(landed, "absent")
    jobs = [{job["job_name"] for job in each["scrape_configs"]} for each in (everything, less)]
    assert jobs[0] - jobs[1] == {"grafana", "loki", "fluent_bit", "alertmanager"}
    assert "alerting" in everything and "alerting" not in less


def test_a_broken_configuration_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    done = render(tmp_path, VARIANTS[:1], prometheus_scrape_interval=-1)
    assert done.returncode != 0 and "not a valid duration" in done.stdout, done.stdout[-3000:]
    assert not (tmp_path / "documented/config/prometheus/current").exists()


# -- the program


class Exporter(ThreadingHTTPServer):
    """A target with as many series as the budget allows, named and labelled like the Memory Monitor's."""

    daemon_threads = True

    def __init__(self, address: str, series: int) -> None:
        super().__init__((address, 0), ExporterHandler)
        self.scrapes = 0
        self.names = []
        for number in range(series):
            service, metric = divmod(number, 50)
            labels = {"id": f"/example/service_{service}/{service:064x}", "name": f"example-service-{service}"}
            labels |= {"stack": "example", "service": f"service_{service}", "slot": "", "release": ""}
            text = ",".join(f'{label}="{value}"' for label, value in labels.items())
            self.names.append(f"container_test_{metric}_bytes{{{text}}} ")
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def page(self) -> bytes:
        self.scrapes += 1
        return "".join(f"{name}{random.getrandbits(28)}\n" for name in self.names).encode()


class ExporterHandler(BaseHTTPRequestHandler):
    server: Exporter

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are counted instead."""

    def do_GET(self) -> None:
        page = self.server.page()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


def text_of(path: str) -> str | None:
    file = Path(path)
    return file.read_text() if file.exists() else None


class Highest(threading.Thread):
    """Reads a container's unreclaimable memory 20 times a second until it is asked for the highest value."""

    def __init__(self, prometheus: Prometheus) -> None:
        super().__init__(daemon=True)
        self.value, self.over = 0, threading.Event()
        state = json.loads(docker("inspect", "--format", "{{json .State}}", prometheus.name))
        self.member = cgroup.membership(Path(f"/proc/{state['Pid']}/cgroup").read_text())
        self.version = int(docker("info", "--format", "{{.CgroupVersion}}") or 1)
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.05):
            read = cgroup.read(self.version, stack_host.CGROUPS, self.member, text_of)
            self.value = max(self.value, read["unreclaimable"] if read else 0)

    def end(self) -> int:
        self.over.set()
        self.join()
        return self.value


class Prometheus:
    """A container with the role's command and the budget's limits, on a network and a volume of its own."""

    def __init__(self, run: dict[str, Any], directory: Path, network: str) -> None:
        self.name = f"{PREFIX}-{uuid.uuid4().hex[:4]}"
        self.definition, budget = run["definition"], run["budget"]
        docker(
            *("run", "--detach", "--init", "--name", self.name, "--network", network, "--user=65534:65534"),
            *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
            *(f"--memory={budget['limit']}", f"--memory-swap={budget['limit']}", f"--cpus={budget['cpus']}"),
            *(f"--pids-limit={budget['pids_limit']}", f"--tmpfs=/tmp:size={budget['tmpfs']['/tmp']}"),
            *(f"--env={name}={value}" for name, value in self.definition["environment"].items()),
            *(f"--volume={directory}:/etc/sixty:ro", f"--volume={self.name}:/prometheus"),
            *("--publish=127.0.0.1::9090", IMAGE, *self.definition["command"]),
        )
        try:
            self.wait()
        except AssertionError:
            self.remove()
            raise

    @property
    def address(self) -> str:
        return f"http://{docker('port', self.name, '9090/tcp').splitlines()[0]}"

    def wait(self, seconds: float = 60) -> float:
        """Seconds until it was ready."""
        began = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}/-/ready", timeout=2) as answer:
                    assert answer.status == 200
                return time.monotonic() - began
            except (OSError, AssertionError, IndexError) as error:
                if time.monotonic() - began > seconds:
                    raise AssertionError(docker("logs", "--tail=30", self.name)) from error
                time.sleep(0.1)

    def get(self, path: str, method: str = "GET", **query: str) -> tuple[int, bytes]:
        target = f"{self.address}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        try:
            with urllib.request.urlopen(urllib.request.Request(target, method=method), timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def value(self, query: str) -> float:
        """Of an expression with one result; nothing is 0."""
        status, body = self.get("/api/v1/query", query=query)
        assert status == 200, body
        result = json.loads(body)["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["docker", "exec", self.name, *command], capture_output=True, text=True, timeout=60)

    def started(self) -> str:
        """When; asserts that it runs and was not killed since."""
        state = json.loads(docker("inspect", "--format", "{{json .State}}", self.name))
        assert state["Running"] and not state["OOMKilled"], (state, docker("logs", "--tail=20", self.name))
        return state["StartedAt"]

    def remove(self) -> None:
        docker("rm", "--force", self.name)
        docker("volume", "rm", self.name)


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[str, str]]:
    """A network of its own, and this machine's address there."""
    name = f"{PREFIX}-net"
    docker("network", "create", name)
    yield name, docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", name)
    docker("network", "rm", name)


@pytest.fixture
def prometheus(run: dict[str, Any], landed: Path, network: tuple[str, str]) -> Iterator[Prometheus]:
    started = Prometheus(run, landed / "documented/config/prometheus", network[0])
    yield started
    started.remove()


def test_as_the_role_runs_it(prometheus: Prometheus, landed: Path) -> None:
    assert prometheus.execute(*prometheus.definition["healthcheck"]["test"][1:]).returncode == 0
    # The page of the image, and nothing that changes anything.
    status, page = prometheus.get("/")
    assert status == 200 and b"Prometheus" in page
    assert prometheus.get("/-/reload", "POST")[0] == 403
    assert prometheus.get("/-/quit", "POST")[0] == 403
    # By the body, since 3.x answers an API that is off with another status.
    assert b"admin APIs disabled" in prometheus.get("/api/v1/admin/tsdb/delete_series", "POST", **{"match[]": "up"})[1]
    status, body = prometheus.get("/api/v1/rules")
    loaded = [rule for group in json.loads(body)["data"]["groups"] for rule in group["rules"]]
    assert len(loaded) == len(rules(landed))
    metrics = prometheus.get("/metrics")[1].decode()
    assert re.search(r"^go_gc_gomemlimit_bytes 1\.06954752e\+08$", metrics, re.MULTILINE)  # 102 MiB


def test_a_reload_is_believed_when_it_was_read_back(prometheus: Prometheus, run: dict[str, Any], landed: Path) -> None:
    directory = landed / "documented/config/prometheus"
    good = os.readlink(directory / "current")

    def link(target: str) -> None:
        (directory / "new").symlink_to(target)
        (directory / "new").replace(directory / "current")

    def verified(seconds: float) -> subprocess.CompletedProcess[str]:
        end = time.monotonic() + seconds
        while True:
            done = prometheus.execute("sh", "-c", run["loaded"])
            if done.returncode == 0 or time.monotonic() > end:
                return done
            time.sleep(0.2)

    assert verified(0).returncode == 0
    time.sleep(1.1)  # the check has seconds
    bad = directory / "trees/bad"
    bad.mkdir()
    (bad / "prometheus.yml").write_text("scrape_configs: [{job_name: 1}, {job_name: 1}]\n")
    try:
        link("trees/bad")
        assert verified(0).stdout == "it has not reloaded yet\n"
        docker("kill", "--signal=HUP", prometheus.name)
        done = verified(3)
        assert (done.returncode, done.stdout) == (1, "it refused the configuration\n")
    finally:
        link(good)
    docker("kill", "--signal=HUP", prometheus.name)
    assert verified(10).returncode == 0


@pytest.mark.parametrize(
    ("scrapes", "kills"),
    [
        pytest.param(10, 2, marks=pytest.mark.slow),
        # As many samples as the log holds at most, of three hours at an interval of 15 seconds; 13 minutes.
        pytest.param(720, 5, marks=pytest.mark.slow),
    ],
)
def test_killed_in_a_write_it_replays_its_log_within_its_limit(
    run: dict[str, Any],
    landed: Path,
    network: tuple[str, str],
    tmp_path: Path,
    scrapes: int,
    kills: int,
) -> None:
    """With all series of the budget, scraped each second, and queries beside them."""
    series = int(run["budget"]["settings"]["series_max"]) - 100
    exporter = Exporter(network[1], series)
    tmp_path.chmod(0o755)
    (tmp_path / "current").mkdir()
    changed = config(landed)
    changed["scrape_configs"] = [
        {
            "job_name": "synthetic",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "static_configs": [{"targets": [f"{network[1]}:{exporter.server_port}"]}],
        }
    ]
    (tmp_path / "current/prometheus.yml").write_text(yaml.safe_dump(changed))
    (tmp_path / "current/rules").mkdir()
    for file in (tree(landed) / "rules").glob("*.yml"):
        (tmp_path / "current/rules" / file.name).write_bytes(file.read_bytes())
    prometheus = Prometheus(run, tmp_path, network[0])
    report: list[str] = []
    try:
        highest, started = Highest(prometheus), prometheus.started()
        for kill in range(kills):
            end, want = time.monotonic() + 2 * scrapes + 30, exporter.scrapes + (scrapes if kill == 0 else 3)
            while exporter.scrapes < want:
                assert time.monotonic() < end, docker("logs", "--tail=30", prometheus.name)
                time.sleep(0.1)
            # As much at once as its page lets anybody ask for: an answer or a refusal, and it lives on.
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                queries = [pool.submit(prometheus.get, "/api/v1/query", query=EVERYTHING) for _ in range(16)]
                held = prometheus.value('count_over_time(up{job="synthetic"}[1h])')
                assert {query.result()[0] for query in queries} <= {200, 422, 503}
            assert prometheus.started() == started
            loaded = highest.end()
            time.sleep(random.random())
            docker("kill", "--signal=KILL", prometheus.name)
            if kill % 2:
                # The last record was half written.
                docker(
                    *("run", "--rm", "--network=none", "--user=65534", f"--volume={prometheus.name}:/prometheus"),
                    *("--entrypoint=sh", IMAGE, "-c"),
                    "cd /prometheus/wal && truncate -s -7 $(ls | grep '^0' | tail -1)",
                )
            docker("start", prometheus.name)
            highest, started = Highest(prometheus), prometheus.started()
            ready = prometheus.wait()
            assert prometheus.started() == started
            # All of it, but for the scrape that was cut.
            assert prometheus.value('count_over_time(up{job="synthetic"}[1h])') >= held - 2
            assert prometheus.value("count(last_over_time(container_test_1_bytes[1h]))") == series // 50
            report.append(
                f"{series} series, {held:.0f} scrapes: {loaded >> 20} MB with 16 queries for everything; "
                f"killed; ready after {ready:.1f} s, {highest.value >> 20} MB while it replayed"
            )
    finally:
        highest.end()
        print(*report, docker("logs", "--tail=5", prometheus.name, check=False), sep="\n")
        prometheus.remove()
        exporter.shutdown()
