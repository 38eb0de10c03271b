# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with a stand-in for the engine and a tree that stands in for the kernel's files."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import stack_host
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import container_memory_info
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.module_runner import run_main
from docker.errors import DockerException, NotFound
from requests.exceptions import ConnectionError as EngineGone

MB = 1024**2
EXPECTED = {"redis": {"memory": "64M", "memory_swap": "64M", "pids_limit": 64}}
INSPECT = {
    "Id": "0a" * 32,
    "Name": "/sixty-redis",
    "Image": "sha256:1",
    "RestartCount": 2,
    "State": {
        "Pid": 42,
        "Running": True,
        "StartedAt": "2026-11-25T00:00:00.5Z",
        "Health": {"Status": "healthy", "Log": [{"ExitCode": 1, "Output": "refused\n"}, {"ExitCode": 0, "Output": ""}]},
    },
    "Config": {
        "Image": "sixty/redis:1",
        "User": "999:999",
        "Labels": {"sixty.stack": "sixty", "sixty.service": "redis", "sixty.definition": "d"},
    },
    "HostConfig": {
        "Memory": 64 * MB,
        "MemorySwap": 64 * MB,
        "PidsLimit": 64,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Init": True,
        "LogConfig": {"Config": {"max-size": "5m"}},
        "RestartPolicy": {"Name": "unless-stopped"},
    },
    "NetworkSettings": {"Networks": {"sixty-metrics": {}, "sixty-cache": {}}},
}
KERNEL = {
    "/proc/42/cgroup": "0::/sixty.slice/sixty-redis.slice/x\n",
    "/sys/fs/cgroup/sixty.slice/sixty-redis.slice/x/memory.current": f"{20 * MB}\n",
    "/sys/fs/cgroup/sixty.slice/sixty-redis.slice/x/memory.max": f"{64 * MB}\n",
    "/sys/fs/cgroup/sixty.slice/sixty-redis.slice/x/memory.swap.max": "0\n",
    "/sys/fs/cgroup/sixty.slice/sixty-redis.slice/x/pids.max": "64\n",
    "/sys/fs/cgroup/sixty.slice/memory.max": f"{2048 * MB}\n",
    "/sys/fs/cgroup/sixty.slice/memory.current": f"{700 * MB}\n",
    "/sys/fs/cgroup/sixty.slice/memory.stat": f"inactive_file {30 * MB}\nactive_file {70 * MB}\n",
}


class Engine:
    """Answers from C(inspected); an exception in it is raised."""

    def __init__(self):
        self.api = self
        self.inspected = [copy.deepcopy(INSPECT)]
        self.version = "2"

    def info(self):
        return {"CgroupVersion": self.version, "CgroupDriver": "systemd"}

    def images(self):
        # An image that lost its tag has none.
        return [{"Id": "sha256:1", "RepoTags": ["sixty/redis:1"]}, {"Id": "sha256:0", "RepoTags": None}]

    def containers(self, all, filters):
        assert (all, filters) == (True, {"label": "sixty.stack=sixty"})
        return [{"Id": number} for number in range(len(self.inspected))]

    def inspect_container(self, number):
        if isinstance(self.inspected[number], Exception):
            raise self.inspected[number]
        return self.inspected[number]


@pytest.fixture
def engine(monkeypatch):
    made = Engine()
    monkeypatch.setattr(container_memory_info.docker, "from_env", lambda: made)
    return made


@pytest.fixture
def kernel(monkeypatch):
    files = dict(KERNEL)
    monkeypatch.setattr(container_memory_info, "read_text", files.get)
    return files


@pytest.fixture
def info(engine, kernel, monkeypatch):
    def run(**arguments):
        return run_main(monkeypatch, container_memory_info.main, {"stack": "sixty", "expected": EXPECTED, **arguments})

    return run


def test_a_container_as_wanted(info):
    result = info(fail_on_difference=True)
    assert (result["failed"], result["changed"]) == (False, False)
    assert result["parent"] == {"limit": 2048 * MB, "usage": 700 * MB, "unreclaimable": 600 * MB}
    (entry,) = result["containers"]
    assert (entry["kernel"]["usage"], entry["kernel"]["limit"], entry["engine"]["memory"]) == (
        20 * MB,
        64 * MB,
        64 * MB,
    )
    del entry["kernel"], entry["engine"]
    assert entry == {
        "id": "0a" * 32,
        "name": "sixty-redis",
        "service": "redis",
        "release": "",
        "running": True,
        "health": "healthy",
        "probe": "",
        "started": "2026-11-25T00:00:00.5Z",
        "restarts": 2,
        "user": "999:999",
        "definition": "d",
        "image": "sixty/redis:1",
        "image_current": True,
        "networks": ["sixty-cache", "sixty-metrics"],
        "restart_policy": "unless-stopped",
        "differences": [],
        "gaps": [],
    }


@pytest.mark.parametrize("fail", [False, True])
def test_differences(info, kernel, engine, fail):
    kernel["/sys/fs/cgroup/sixty.slice/sixty-redis.slice/x/memory.max"] = "max\n"
    engine.inspected[0]["HostConfig"]["Init"] = False
    result = info(fail_on_difference=fail)
    assert result["failed"] is fail
    (entry,) = result["containers"]
    assert [gap["setting"] for gap in entry["differences"]] == ["memory"]
    if fail:
        assert f"sixty-redis: memory should be {64 * MB}, the kernel has 0" in result["msg"]
        assert "sixty-redis: has no init" in result["msg"]
        assert result["msg"].startswith("2 settings are not what")


@pytest.mark.parametrize(
    ("state", "health"),
    [
        ({"Health": None}, "none"),
        ({"Health": {}}, "none"),
        ({"Health": {"Status": "starting"}}, "starting"),
        # The engine keeps the last result of one that was stopped.
        ({"Running": False, "Pid": 0, "Health": {"Status": "healthy"}}, "none"),
    ],
)
def test_health(info, engine, state, health):
    engine.inspected[0]["State"].update(state)
    assert info()["containers"][0]["health"] == health


MINUTE = 60 * 10**9


@pytest.mark.parametrize(
    ("status", "ends", "started", "health"),
    [
        # The last probe, at 17:32; it is 17:35, a probe is due each minute and may take 5 s: 195 s.
        ("healthy", ["2026-11-25T17:31:00.1Z", "2026-11-25T17:32:00.123456789Z"], "", "healthy"),
        ("unhealthy", ["2026-11-25T18:32:00.1+01:00"], "", "unhealthy"),
        ("healthy", ["2026-11-25T17:31:30Z"], "", "stale"),
        ("unhealthy", ["2026-11-25T18:31:30.1+01:00"], "", "stale"),
        # Never asked.
        ("starting", [], "2026-11-25T17:34:00.1Z", "starting"),
        ("starting", [], "2026-11-25T17:22:00.1Z", "stale"),
    ],
)
def test_a_health_that_nobody_asks_for_any_more(status, ends, started, health):
    now = 1795628100  # 2026-11-25T17:35:00Z
    state = {"Running": True, "StartedAt": started, "Health": {"Status": status, "Log": [{"End": end} for end in ends]}}
    check = {"Interval": MINUTE, "Timeout": MINUTE // 12}
    inspect = {"State": state, "Config": {"Healthcheck": check}}
    assert container_memory_info.health_status(inspect, now) == health
    # One whose interval is not known is believed.
    assert container_memory_info.health_status({**inspect, "Config": {}}, now) == status


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ([{"ExitCode": 1, "Output": "first\n"}, {"ExitCode": 1, "Output": "refused\nmore\n"}], "refused"),
        ([{"ExitCode": 1, "Output": "timed out"}, {"ExitCode": 0, "Output": "fine"}], "timed out"),
        ([{"ExitCode": -1}], ""),
        ([], ""),
        (None, ""),
    ],
)
def test_what_the_probe_of_an_unhealthy_container_says(info, engine, log, says):
    engine.inspected[0]["State"]["Health"] = {"Status": "unhealthy", "Log": log}
    assert info()["containers"][0]["probe"] == says


def test_a_container_without_a_health_check(info, engine):
    del engine.inspected[0]["State"]["Health"]
    assert info()["containers"][0]["health"] == "none"


def test_a_stopped_container_has_no_kernel_figures(info, engine):
    engine.inspected[0]["State"] = {"Pid": 0, "Running": False}
    (entry,) = info(fail_on_difference=True)["containers"]
    assert (entry["kernel"], entry["running"], entry["differences"]) == (None, False, [])


def test_a_container_that_ends_while_it_is_read(info, kernel, monkeypatch):
    """Its files vanish one by one, and "no limit" must not be read from that."""

    def read(path):
        if path.endswith("memory.current") and "redis" in path:
            for name in [name for name in kernel if "redis" in name or "42" in name]:
                text = kernel.pop(name)
                if name == path:
                    found = text
            return found
        return kernel.get(path)

    monkeypatch.setattr(container_memory_info, "read_text", read)
    (entry,) = info(fail_on_difference=True)["containers"]
    assert (entry["kernel"], entry["differences"]) == (None, [])


def test_a_moved_tag(info, engine):
    engine.inspected[0]["Image"] = "sha256:0"
    assert info()["containers"][0]["image_current"] is False


def test_a_container_that_says_no_service(info, engine):
    del engine.inspected[0]["Config"]["Labels"]["sixty.service"]
    (entry,) = info()["containers"]
    assert (entry["service"], entry["differences"]) == ("", [])


def test_cgroup_version_1(info, engine, kernel):
    """An engine before 20.10 does not name the version."""
    engine.version = ""
    kernel.clear()
    base = f"{stack_host.CGROUPS}/memory/sixty.slice"
    kernel.update({f"{base}/memory.limit_in_bytes": "4096\n", f"{base}/memory.usage_in_bytes": "1\n"})
    assert info()["parent"] == {"limit": 4096, "usage": 1, "unreclaimable": 1}


def test_no_parent_cgroup(info, kernel):
    kernel.clear()
    assert info()["parent"] == {}


def test_sorted_by_name(info, engine):
    engine.inspected.append({**copy.deepcopy(INSPECT), "Name": "/sixty-api-r1"})
    assert [entry["name"] for entry in info()["containers"]] == ["sixty-api-r1", "sixty-redis"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NotFound("gone"), "A container vanished while it was read. Nothing was changed; try again."),
        (DockerException("no"), "The engine does not answer: no. Nothing was changed."),
        (EngineGone("gone"), "The engine does not answer: gone. Nothing was changed."),
    ],
)
def test_the_engine_fails(info, engine, error, says):
    engine.inspected.append(error)
    assert info()["msg"] == says


@pytest.mark.parametrize("arguments", [{"memory": "512Q"}, {"memory": None}, "64M", None])
def test_what_is_expected_cannot_be_read(info, arguments):
    result = info(expected={"redis": arguments})
    assert result["msg"].startswith("What is expected of redis cannot be read: ")


def test_the_kernel_files_of_this_process():
    """On the real kernel: this process has a cgroup, and a process that is not there has none."""
    assert container_memory_info.kernel_view(0, 1) is None
    assert container_memory_info.kernel_view(2**22 + 1, 1) is None
    assert container_memory_info.read_text("/proc/self/cgroup")
