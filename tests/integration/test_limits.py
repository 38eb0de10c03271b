# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine and the kernel enforce, against the budget's data: read here by other means than the roles use."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    NAME,
    container,
    containers,
    docker,
    info,
    inspect,
)

pytestmark = pytest.mark.usefixtures("stack")

# Without a registry there are no Grafana, Loki and Fluent Bit.
SERVICES = [name for name in BUDGET["services"] if name not in ("grafana", "loki", "fluent_bit")]
# Of the official images, and of ours.
USERS = {"nginx": "101:101", "api": "1000:1000", "redis": "999:999", "postgres": "999:999"}
USERS |= {
    "memory_monitor": "10003:10003",
    **{name: "65534:65534" for name in SERVICES if name not in (*USERS, "memory_monitor")},
}


def size(text: str) -> int:
    """Bytes of a size with a unit."""
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]]


class Kernel:
    """The files of one cgroup, under the names of either version. paths: controller -> path, "" on version 2."""

    def __init__(self, paths: dict[str, str]) -> None:
        self.v2 = "memory" not in paths
        self.paths = paths

    @classmethod
    def of(cls, pid: int) -> Kernel:
        lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
        return cls({name: path for _number, names, path in lines for name in names.split(",")})

    def read(self, v1: str, v2: str) -> str:
        if self.v2:
            return Path(f"/sys/fs/cgroup{self.paths['']}/{v2}").read_text().strip()
        controller = v1.partition(".")[0]
        return Path(f"/sys/fs/cgroup/{controller}{self.paths[controller]}/{v1}").read_text().strip()

    @property
    def memory(self) -> int:
        return int(self.read("memory.limit_in_bytes", "memory.max"))

    @property
    def swap(self) -> int:
        """Swap beside the memory."""
        value = int(self.read("memory.memsw.limit_in_bytes", "memory.swap.max"))
        return value if self.v2 else value - self.memory

    @property
    def cpus(self) -> float:
        if self.v2:
            quota, period = self.read("", "cpu.max").split()
        else:
            quota, period = self.read("cpu.cfs_quota_us", ""), self.read("cpu.cfs_period_us", "")
        return int(quota) / int(period)

    @property
    def shares(self) -> int:
        if not self.v2:
            return int(self.read("cpu.shares", ""))
        # 1 to 10,000 stands for 2 to 262,144 (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value).
        return round((int(self.read("", "cpu.weight")) - 1) * 262142 / 9999 + 2)


def status(pid: int | str) -> dict[str, list[str]]:
    lines = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.split() for name, value in lines}


def test_nothing_else_runs_than_the_services():
    running = [entry["Config"]["Labels"]["sixty.service"] for entry in containers()]
    assert len(running) == len(set(running)) and set(SERVICES) <= set(running) <= BUDGET["services"].keys()


@pytest.mark.parametrize("service", SERVICES)
def test_the_engine_has_the_budget(service):
    budget, host = BUDGET["services"][service], inspect(container(service))["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == size(budget["limit"])
    assert host["MemoryReservation"] == size(budget["reservation"])
    assert host["CpuQuota"] / host["CpuPeriod"] == budget["cpus"]
    assert host["CpuShares"] == int(budget["cpus_reservation"] * 1024)
    assert (host["PidsLimit"], host["OomScoreAdj"]) == (budget["pids_limit"], budget["oom_score_adj"])
    assert host["Tmpfs"].keys() == budget["tmpfs"].keys()
    for path, wanted in budget["tmpfs"].items():
        options = dict(option.partition("=")[::2] for option in host["Tmpfs"][path].split(","))
        assert size(options["size"].upper()) == size(wanted) and {"noexec", "nosuid", "nodev"} <= options.keys()
    if "shm_size" in budget:
        assert host["ShmSize"] == size(budget["shm_size"])


@pytest.mark.parametrize("service", SERVICES)
def test_the_kernel_enforces_the_budget(service):
    budget = BUDGET["services"][service]
    kernel = Kernel.of(inspect(container(service))["State"]["Pid"])
    assert (kernel.memory, kernel.swap) == (size(budget["limit"]), 0)
    assert int(kernel.read("memory.soft_limit_in_bytes", "memory.low")) == size(budget["reservation"])
    assert kernel.cpus == budget["cpus"]
    assert kernel.shares == pytest.approx(budget["cpus_reservation"] * 1024, abs=27)
    assert int(kernel.read("pids.max", "pids.max")) == budget["pids_limit"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_process_is_confined(service):
    """By the kernel's word for each of its processes: user, capabilities, privileges, order of the OOM killer."""
    found = inspect(container(service))
    uid, gid = USERS[service].split(":")
    assert found["Config"]["User"] == USERS[service] and found["HostConfig"]["Init"]
    assert (found["HostConfig"]["CapAdd"] or [], found["HostConfig"]["CapDrop"]) == ([], ["ALL"])
    assert not found["HostConfig"]["Privileged"] and found["HostConfig"]["ReadonlyRootfs"]
    processes = [line.split()[0] for line in docker("top", container(service), "-eo", "pid").splitlines()[1:]]
    assert len(processes) > 1
    for pid in processes:
        state = status(pid)
        assert (set(state["Uid"]), set(state["Gid"]), state["NoNewPrivs"]) == ({uid}, {gid}, ["1"]), state["Name"]
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(state[kind][0], 16) == 0, (state["Name"], kind)
        adjusted = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        assert adjusted == BUDGET["services"][service]["oom_score_adj"], state["Name"]
    assert "Read-only file system" in docker("exec", container(service), "touch", "/touched", check=False)


def test_the_kernel_limits_all_containers_together():
    """Every service's cgroup is below the stack's own, whose limit is the total budget, or what the host can give."""
    meminfo = Path("/proc/meminfo").read_text().split()
    total = int(meminfo[meminfo.index("MemTotal:") + 1]) * 1024
    reserve = size(BUDGET["host"]["system_reserve"])
    wanted = min(size(BUDGET["budget"]["total"]), total - reserve) // 4096 * 4096
    systemd = info()["CgroupDriver"] == "systemd"
    top = f"/{NAME}.slice" if systemd else f"/{NAME}"
    for service in SERVICES:
        kernel = Kernel.of(inspect(container(service))["State"]["Pid"])
        path = kernel.paths["" if kernel.v2 else "memory"]
        assert path.startswith(f"{top}/{NAME}-{service}.slice/" if systemd else f"{top}/{service}/")
    parent = Kernel({name: top for name in kernel.paths})
    assert (parent.memory, parent.swap) == (wanted, 0)
