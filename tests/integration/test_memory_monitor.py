# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Memory Monitor beside real containers, against what engine and kernel say of them.

The deployed one is asked about the stack. What would leave traces in it (kills, loops, hostile clients) is done to
one more of the same image, within the same limits.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import socket
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    HOME,
    NAME,
    SETTINGS,
    container,
    docker,
    eventually,
    inspect,
)
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import (
    LEAK,
    MB,
    CgroupTree,
    configuration,
)
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.usefixtures("stack")

DEPLOYED = SETTINGS.get("memory_monitor_port", 8080)
PROMETHEUS = SETTINGS.get("prometheus_port", 9090)
LIMIT = 32 * MB
# Uses more than a small container has, and touches it.
HOG = "x = b'x' * (96 << 20)"


def get(path: str, port: int = DEPLOYED) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def scrape(port: int = DEPLOYED) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Name -> [(labels, value)]."""
    status, body = get("/metrics", port)
    assert status == 200, body
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def of(identity: str, metrics: dict[str, Any]) -> dict[str, float]:
    """Name -> value of one container, by its id."""
    found = {}
    for name, samples in metrics.items():
        for labels, value in samples:
            if identity in labels.get("id", ""):
                found[name] = value
    return found


def single(metrics: dict[str, Any], name: str) -> float:
    [(_labels, value)] = metrics[name]
    return value


@contextlib.contextmanager
def running(image: str, *options: str, command: tuple[str, ...] = ("sleep", "600")) -> Iterator[str]:
    """The id of a container of its own, which is removed in the end."""
    name = f"{NAME}-test-{uuid.uuid4().hex[:12]}"
    try:
        yield docker("run", "--detach", "--name", name, *options, image, *command).splitlines()[-1]
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


@pytest.fixture(scope="module")
def image(stack) -> str:
    """The image of the deployed monitor; it has Python, too."""
    return inspect(container("memory_monitor"))["Config"]["Image"]


class Other:
    """One more monitor."""

    def __init__(self, identity: str) -> None:
        self.id = identity
        state = inspect(identity)
        self.pid = state["State"]["Pid"]
        [binding] = state["NetworkSettings"]["Ports"]["8080/tcp"]
        self.port = int(binding["HostPort"])

    def samples(self) -> float:
        return single(scrape(self.port), "memory_monitor_samples_total")

    def resident(self) -> float:
        return single(scrape(self.port), "process_resident_memory_bytes")

    def counted(self, identity: str) -> tuple[float, float]:
        """(restarts, OOM kills)."""
        found = of(identity, scrape(self.port))
        return found["container_restarts_total"], found["container_oom_events_total"]

    def sees(self, identity: str) -> bool:
        return bool(of(identity, scrape(self.port)))


@contextlib.contextmanager
def other(
    image: str, cgroup: Path | str = "/sys/fs/cgroup", config: Path = HOME / "config/memory_monitor"
) -> Iterator[Other]:
    """One more monitor within the limits of the budget, at a port of the engine's choice."""
    budget = BUDGET["services"]["memory_monitor"]
    options = [
        *("--memory", "32m", "--memory-swap", "32m", "--cpus", str(budget["cpus"]), "--init"),
        *("--pids-limit", str(budget["pids_limit"]), "--read-only", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--publish", "127.0.0.1::8080"),
        *("--volume", f"{cgroup}:/host/cgroup:ro", "--volume", f"{config}:/etc/sixty:ro"),
        *("--volume", f"{HOME}/route:/host/route:ro", "--volume", f"{HOME}/status:/host/status:ro"),
    ]
    with running(image, *options, command=("python3", "-m", "memory_monitor")) as identity:
        found = Other(identity)
        eventually(lambda: get("/healthz", found.port)[0] == 200, "the monitor serves", 20)
        yield found
        # Whatever it went through, it is the same process.
        state = inspect(identity)["State"]
        assert state["Running"] and state["Pid"] == found.pid, docker("logs", identity)


@pytest.fixture(scope="module")
def monitor(image) -> Iterator[Other]:
    with other(image) as found:
        yield found


# -- the deployed one


def kernel(identity: str) -> dict[str, float]:
    """What the kernel says of a container, under the names of the metrics; read here by other means."""
    paths = {}
    for line in Path(f"/proc/{inspect(identity)['State']['Pid']}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))

    def read(controller: str, file: str) -> str:
        base = f"/sys/fs/cgroup/{controller}{paths[controller]}" if "memory" in paths else f"/sys/fs/cgroup{paths['']}"
        return Path(base, file).read_text()

    def flat(controller: str, file: str) -> dict[str, int]:
        return {name: int(value) for name, value in (line.split() for line in read(controller, file).splitlines())}

    if "memory" in paths:
        stat, usage, cpu = (
            flat("memory", "memory.stat"),
            int(read("memory", "memory.usage_in_bytes")),
            flat("cpu", "cpu.stat"),
        )
        return {
            "container_memory_usage_bytes": usage,
            "container_memory_working_set_bytes": usage - stat["total_inactive_file"],
            "container_memory_unreclaimable_bytes": usage - stat["total_inactive_file"] - stat["total_active_file"],
            "container_memory_rss": stat["total_rss"],
            "container_memory_cache": stat["total_cache"],
            "container_memory_mapped_file": stat["total_mapped_file"],
            "container_memory_max_usage_bytes": int(read("memory", "memory.max_usage_in_bytes")),
            "container_memory_failcnt": int(read("memory", "memory.failcnt")),
            "container_spec_memory_limit_bytes": int(read("memory", "memory.limit_in_bytes")),
            "container_spec_memory_reservation_limit_bytes": int(read("memory", "memory.soft_limit_in_bytes")),
            "container_spec_cpu_quota": int(read("cpu", "cpu.cfs_quota_us")),
            "container_spec_cpu_period": int(read("cpu", "cpu.cfs_period_us")),
            "container_spec_cpu_shares": int(read("cpu", "cpu.shares")),
            "container_cpu_usage_seconds_total": int(read("cpuacct", "cpuacct.usage")) / 1e9,
            "container_cpu_cfs_periods_total": cpu["nr_periods"],
            "container_cpu_cfs_throttled_periods_total": cpu["nr_throttled"],
            "container_cpu_cfs_throttled_seconds_total": cpu["throttled_time"] / 1e9,
            "container_threads": int(read("pids", "pids.current")),
            "container_oom_events_total": flat("memory", "memory.oom_control")["oom_kill"],
        }
    stat, usage, cpu = flat("", "memory.stat"), int(read("", "memory.current")), flat("", "cpu.stat")
    quota, period = read("", "cpu.max").split()
    return {
        "container_memory_usage_bytes": usage,
        "container_memory_working_set_bytes": usage - stat["inactive_file"],
        "container_memory_unreclaimable_bytes": usage - stat["inactive_file"] - stat["active_file"],
        "container_memory_rss": stat["anon"],
        "container_memory_cache": stat["file"],
        "container_memory_mapped_file": stat["file_mapped"],
        "container_memory_failcnt": flat("", "memory.events")["max"],
        "container_spec_memory_limit_bytes": int(read("", "memory.max")),
        "container_spec_memory_reservation_limit_bytes": int(read("", "memory.low")),
        "container_spec_cpu_quota": int(quota),
        "container_spec_cpu_period": int(period),
        "container_cpu_usage_seconds_total": cpu["usage_usec"] / 1e6,
        "container_cpu_cfs_periods_total": cpu["nr_periods"],
        "container_cpu_cfs_throttled_periods_total": cpu["nr_throttled"],
        "container_cpu_cfs_throttled_seconds_total": cpu["throttled_usec"] / 1e6,
        "container_threads": int(read("", "pids.current")),
        "container_oom_events_total": flat("", "memory.events")["oom_kill"],
    }


def test_values_are_those_of_the_kernel(image):
    """Of a container that sleeps: what the kernel says before and after the scrape is the same."""
    options = ["--memory", "48m", "--memory-swap", "48m", "--memory-reservation", "24m", "--cpu-shares", "128"]
    options += ["--cpu-quota", "25000", "--cpu-period", "100000", "--network", "none"]
    # Memory of its own, and a page cache.
    script = "import time; x = b'x' * (8 << 20); open('/tmp/x', 'wb').write(b'x' * (2 << 20)); time.sleep(600)"
    with running(image, *options, command=("python3", "-c", script)) as identity:

        def quiet() -> bool:
            before = kernel(identity)
            found = of(identity, scrape())
            return {name: found.get(name) for name in before} == before == kernel(identity)

        eventually(quiet, "the scrape is what the kernel says", 20)
        found = of(identity, scrape())
        assert found["container_memory_rss"] > 8 * MB and found["container_memory_cache"] > MB
        assert found["container_spec_memory_limit_bytes"] == 48 * MB
        started = datetime.datetime.fromisoformat(f"{inspect(identity)['State']['StartedAt'][:19]}+00:00")
        assert found["container_start_time_seconds"] == pytest.approx(started.timestamp(), abs=3)


def test_every_container_of_the_stack_is_named():
    metrics = scrape()
    named = {labels["id"].rpartition("/")[2]: labels for labels, _value in metrics["container_last_seen"]}
    listed = docker("ps", "--no-trunc", "--filter", f"label=sixty.stack={NAME}", "--format", "{{.ID}} {{.Names}}")
    for line in listed.splitlines():
        identity, name = line.split()
        [labels] = [found for found_id, found in named.items() if identity in found_id]
        assert (labels["name"], labels["stack"]) == (name, NAME)
    budget = {labels["service"] for labels, _value in metrics["memory_budget_limit_bytes"]}
    assert budget == BUDGET["services"].keys()


def test_the_release_that_is_routed_is_the_active_one():
    link = HOME / "route/active"
    _slots, slot, release = str(link.readlink()).split("/")
    metrics = scrape()
    assert metrics["release_active"] == [({"slot": slot, "release": release}, 1)]
    assert single(metrics, "release_switched_timestamp_seconds") == pytest.approx(link.lstat().st_mtime, abs=1)


def test_promtool_accepts_the_output():
    status, body = get("/metrics")
    assert status == 200
    prometheus = inspect(container("prometheus"))["Config"]["Image"]
    said = docker(
        "run", "--rm", "--interactive", "--entrypoint", "promtool", prometheus, "check", "metrics", text=body.decode()
    )
    assert said == ""


def test_the_documented_expression():
    """As it stands in the requirement; and without its threshold it has a value for each container with a limit."""

    def query(expression: str) -> list[dict[str, Any]]:
        status, body = get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}", PROMETHEUS)
        assert status == 200, body
        return json.loads(body)["data"]["result"]

    ratio = "(container_memory_usage_bytes / container_spec_memory_limit_bytes) * 100"
    over = query(f"{ratio} > 85")
    assert all(float(entry["value"][1]) > 85 for entry in over)

    def same() -> bool:
        values = {entry["metric"]["name"]: float(entry["value"][1]) for entry in query(f"{ratio} < 1000")}
        services = [
            entry for entry in json.loads(get("/api/v1/status")[1])["services"] if entry["running"] and entry["known"]
        ]
        return len(services) >= 4 and all(
            abs(values[entry["name"]] - 100 * entry["usage"] / entry["limit"]) < 15 for entry in services
        )

    eventually(same, "Prometheus has what the monitor has", 40)


def test_the_deployed_container():
    """Small, confined, healthy, and without the engine."""
    found = inspect(container("memory_monitor"))
    assert not [mount for mount in found["Mounts"] if "docker" in mount["Source"]]
    assert all(not mount["RW"] for mount in found["Mounts"])
    assert found["HostConfig"]["ReadonlyRootfs"] and found["Config"]["User"] == "10003:10003"
    assert found["HostConfig"]["Memory"] == LIMIT
    assert single(scrape(), "process_resident_memory_bytes") < 24 * MB
    health = "the engine finds it healthy"
    eventually(lambda: inspect(found["Id"])["State"]["Health"]["Status"] == "healthy", health, 40)


# -- restarts and kills


def test_the_kill_of_a_child_in_a_container_that_survives(image, monitor):
    with running(image, "--memory", "24m", "--memory-swap", "24m") as identity:
        eventually(lambda: monitor.sees(identity), "the container is seen", 5)
        before = single(scrape(monitor.port), "host_oom_kills_total")
        for number in (1, 2):
            docker("exec", identity, "python3", "-c", HOG, check=False)
            eventually(lambda number=number: monitor.counted(identity) == (0, number), f"kill {number} is counted", 5)
        assert single(scrape(monitor.port), "host_oom_kills_total") >= before + 2
        # It stays so: nobody is blamed for what the cgroup told.
        time.sleep(2)
        assert monitor.counted(identity) == (0, 2) and inspect(identity)["State"]["Running"]


def test_the_kill_of_the_first_process(image, monitor):
    """Whose cgroup goes with it, and with its count; three times, and the engine starts it again twice."""
    options = ["--memory", "24m", "--memory-swap", "24m", "--restart", "on-failure:2"]
    with running(image) as bystander, running(image, *options, command=("python3", "-c", HOG)) as identity:
        ended = "the container was given up"
        eventually(
            lambda: not inspect(identity)["State"]["Running"] and inspect(identity)["RestartCount"] == 2, ended, 20
        )
        assert inspect(identity)["State"]["ExitCode"] == 137
        eventually(lambda: monitor.counted(identity) == (2, 3), "two restarts and three kills are counted", 10)
        assert monitor.counted(bystander) == (0, 0)


def test_a_restart_loop(image, monitor):
    """Each life lasts some 50 ms, which one look a second would hardly ever see."""
    options = ["--restart", "on-failure:5", "--network", "none"]
    with running(image, *options, command=("sh", "-c", "exit 3")) as identity:
        eventually(lambda: inspect(identity)["RestartCount"] == 5, "the engine has tried five times", 20)
        eventually(lambda: monitor.counted(identity) == (5, 0), "five restarts are counted", 5)


def test_a_restart_by_hand_and_a_recreation(image, monitor):
    with running(image, "--init") as identity:
        eventually(lambda: monitor.sees(identity), "the container is seen", 5)
        docker("restart", "--time", "0", identity)
        eventually(lambda: monitor.counted(identity)[0] == 1, "the restart is counted", 5)
    with running(image) as identity:
        eventually(lambda: monitor.sees(identity), "the next container is seen", 5)
        assert monitor.counted(identity)[0] == 0


def test_containers_that_come_and_go_break_no_scrape(image, monitor):
    over = threading.Event()
    statuses: list[int] = []

    def scraper() -> None:
        while not over.is_set():
            statuses.append(get("/metrics", monitor.port)[0])
            time.sleep(0.01)

    thread = threading.Thread(target=scraper)
    thread.start()
    try:
        for _ in range(8):
            docker("run", "--rm", "--network", "none", image, "true")
    finally:
        over.set()
        thread.join()
    assert len(statuses) > 50 and set(statuses) == {200}
    found = {labels["reason"]: value for labels, value in scrape(monitor.port)["memory_monitor_read_errors_total"]}
    assert set(found) >= {"vanished", "malformed"} and sum(found.values()) - found["vanished"] == 0, found


# -- hostile clients and files


def test_many_scrapes_beside_slow_clients(image):
    """200 at once, five times, while 50 clients never end their request and 30 never read the answer."""
    with other(image) as found, contextlib.ExitStack() as stack:
        over = threading.Event()
        stack.callback(over.set)
        before = found.samples()

        def client(request: bytes, drip: bytes) -> None:
            while not over.is_set():
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", found.port), 5) as slow:
                    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    slow.sendall(request)
                    while not over.wait(0.5):
                        slow.sendall(drip)

        slow = [(b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n")] * 50
        slow += [(10 * b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"")] * 30
        threads = [threading.Thread(target=client, args=arguments, daemon=True) for arguments in slow]
        for thread in threads:
            thread.start()
        time.sleep(1)
        answers: list[tuple[int, int]] = []
        problems: list[str] = []

        def scraper(start: threading.Barrier) -> None:
            start.wait()
            try:
                status, body = get("/metrics", found.port)
                answers.append((status, body.count(b"container_memory_usage_bytes{")))
            except (OSError, http.client.HTTPException) as error:
                problems.append(repr(error))

        for _ in range(5):
            start = threading.Barrier(200)
            scrapers = [threading.Thread(target=scraper, args=(start,)) for _ in range(200)]
            for thread in scrapers:
                thread.start()
            for thread in scrapers:
                thread.join()
        assert problems == [] and len(answers) == 1000
        assert {status for status, _number in answers} == {200} and min(number for _status, number in answers) > 3
        assert get("/healthz", found.port)[0] == 200
        eventually(lambda: found.samples() > before + 2, "it samples on", 5)
        assert found.resident() < 24 * MB
        over.set()
        assert of(found.id, scrape(found.port))["container_oom_events_total"] == 0


@pytest.fixture
def trial(tmp_path):
    """A tree and a configuration that an unprivileged user in a container may read."""
    for directory in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        directory.chmod(0o755)
    config = tmp_path / "config/current"
    config.mkdir(parents=True)
    (config / "monitor.json").write_text(configuration())
    return CgroupTree(tmp_path / "cgroup", 2, "systemd"), config


def test_malformed_files_and_hostile_names(image, trial):
    tree, config = trial
    whole, broken = tree.run(1), tree.run(2, service="api")
    tree.run(3, 'st"a\\ck{}', 'ser"vice\u00e9')
    (tree.root / "hostile\n" / ("a" * 64)).mkdir(parents=True)
    tree.file(broken, "", "memory.stat").write_text("anon many\nfile \x00\n")
    with other(image, tree.root, config.parent) as found:
        metrics = scrape(found.port)
        seen = {labels["id"]: labels for labels, _value in metrics["container_memory_usage_bytes"]}
        assert whole in seen and broken not in seen and len(seen) == 2
        assert {labels["stack"] for labels in seen.values()} == {"sixty", 'st"a\\ck{}'}
        errors = {labels["reason"]: value for labels, value in metrics["memory_monitor_read_errors_total"] if value}
        assert set(errors) == {"malformed", "name"}
        # What was mended is there again.
        tree.run(2, service="api")
        eventually(lambda: of(broken, scrape(found.port)).get("container_memory_usage_bytes"), "it is seen", 5)


def test_a_wrong_configuration_is_refused(image, trial):
    _tree, config = trial
    (config / "monitor.json").write_text(configuration(total="2G"))
    check = [
        "run",
        "--rm",
        "--volume",
        f"{config.parent}:/etc/sixty:ro",
        image,
        "python3",
        "-m",
        "memory_monitor",
        "--check",
    ]
    said = docker(*check, check=False)
    assert "monitor.json is no configuration of the Memory Monitor: total has to be a number" in said
    assert "Traceback" not in said
    (config / "monitor.json").write_text(configuration())
    assert docker(*check) == ""


def test_the_end(image):
    with running(
        image, "--volume", f"{HOME}/config/memory_monitor:/etc/sixty:ro", command=("python3", "-m", "memory_monitor")
    ) as identity:
        eventually(lambda: "serves on port" in docker("logs", identity), "it serves", 10)
        began = time.monotonic()
        docker("stop", "--time", "10", identity)
        assert time.monotonic() - began < 5 and inspect(identity)["State"]["ExitCode"] == 0


@pytest.mark.slow
def test_a_leak_is_found_and_a_saw_tooth_is_not(image, trial):
    """Real memory, with a window of 24 seconds instead of six hours."""
    _tree, config = trial
    leak = {**LEAK, "bucket": 1, "window": 24, "least_window": 20, "least_growth": 4 * MB}
    (config / "monitor.json").write_text(configuration(leak=leak))
    leaking = "import time\nx = []\nwhile True: x.append(b'x' * (1 << 20)); time.sleep(0.5)"
    sawing = "import time\nwhile True:\n  x = []\n  for _ in range(10): x.append(b'x' * (4 << 20)); time.sleep(0.1)"
    with (
        other(image, config=config.parent) as found,
        running(image, command=("python3", "-c", leaking)) as leaks,
        running(image, command=("python3", "-c", sawing)) as saws,
    ):
        suspected = "container_memory_leak_suspected"
        eventually(lambda: of(leaks, scrape(found.port)).get(suspected) == 1, "the leak is suspected", 60)
        metrics = scrape(found.port)
        hourly = of(leaks, metrics)["container_memory_growth_bytes_per_hour"]
        assert hourly == pytest.approx(2 * MB * 3600, rel=0.2)
        assert of(leaks, metrics)["container_memory_growth_confidence"] > 0.99
        assert of(saws, metrics)[suspected] == 0
