# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every container of a scenario: its limits are the budget's, and it may do nothing that it need not do."""

from __future__ import annotations

import pytest

# The official images' numbers, which data volumes depend on.
UIDS = {
    "postgres": 999,
    "redis": 999,
    "nginx": 101,
    "api": 1000,
    "memory_monitor": 10003,
    **dict.fromkeys(["prometheus", "alertmanager", "redis_exporter", "postgres_exporter", "nginx_exporter"], 65534),
    "grafana": 472,
    "loki": 10001,
    "fluent_bit": 10002,
}
PUBLISHED = {
    "nginx": ["80"],
    "memory_monitor": ["8080"],
    "prometheus": ["9090"],
    "alertmanager": ["9093"],
    "grafana": ["3000"],
}
# It has arguments alone, and no configuration.
UNCONFIGURED = {"nginx_exporter"}
# Alertmanager has none until it is given a channel.
KEEPS_NO_SECRET = UNCONFIGURED | {"memory_monitor", "prometheus", "alertmanager"}


def size(text: str) -> int:
    """Bytes of a size in the budget, such as 64M."""
    return int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[text[-1]]


@pytest.fixture
def entry(each, budget):
    """The service's entry in the budget."""
    return budget["services"][each.service]


def test_the_engine_has_the_budgets_numbers(each, entry):
    limit = size(entry["limit"])
    seen = {key: each.host_config[key] for key in ("Memory", "MemorySwap", "MemoryReservation", "PidsLimit")}
    assert seen == {
        "Memory": limit,
        "MemorySwap": limit,
        "MemoryReservation": size(entry["reservation"]),
        "PidsLimit": entry["pids_limit"],
    }
    assert each.host_config["CpuQuota"] / each.host_config["CpuPeriod"] == pytest.approx(entry["cpus"])
    assert each.host_config["CpuShares"] == round(entry["cpus_reservation"] * 1024)
    assert each.host_config["OomScoreAdj"] == entry["oom_score_adj"]
    if "shm_size" in entry:
        assert each.host_config["ShmSize"] == size(entry["shm_size"])


def test_the_kernel_has_them_too(each, entry):
    kernel = each.kernel
    assert kernel.memory == size(entry["limit"])
    assert kernel.swap == 0
    assert kernel.reservation == size(entry["reservation"])
    assert kernel.pids == entry["pids_limit"]
    assert kernel.cpus == pytest.approx(entry["cpus"])
    pid = each.inspect["State"]["Pid"]
    assert int(each.host.file(f"/proc/{pid}/oom_score_adj").content_string) == entry["oom_score_adj"]


def test_the_cgroup_is_below_the_stacks_own(each, stack):
    path = each.kernel.paths["" if each.kernel.v2 else "memory"]
    assert path.startswith((f"/{stack}/{each.service}/", f"/{stack}.slice/{stack}-{each.service}.slice/"))


def test_tmpfs_has_the_budgets_size_and_runs_nothing(each, entry):
    mounts = [line.split() for line in each.output("cat", "/proc/mounts").splitlines()]
    tmpfs = {path: options.split(",") for _device, path, kind, options, *_rest in mounts if kind == "tmpfs"}
    for path, wanted in entry["tmpfs"].items():
        assert f"size={size(wanted) // 1024}k" in tmpfs[path]
        assert {"noexec", "nosuid", "nodev"} <= set(tmpfs[path])


def test_its_processes_are_nobody(each):
    uid = UIDS[each.service]
    status = each.status
    assert set(status["Uid"].split()) == {str(uid)}
    assert 0 not in map(int, status["Gid"].split())
    # What it has, may have, and could ever get.
    assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert each.output("id", "-u") == str(uid)


def test_the_engine_was_told_so(each):
    config = each.host_config
    assert config["CapDrop"] == ["ALL"]
    assert not config["CapAdd"]
    assert not config["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in config["SecurityOpt"])
    assert config["Init"] is True
    assert not [mount for mount in each.inspect["Mounts"] if "docker.sock" in mount["Source"]]
    assert not {config["NetworkMode"], config["PidMode"], config["IpcMode"]} & {"host"}


@pytest.mark.parametrize("path", ["/x", "/etc/x", "/usr/bin/x", "/etc/sixty/x"])
def test_root_and_configuration_are_read_only(each, path):
    if path.startswith("/etc/sixty") and each.service in UNCONFIGURED:
        assert "/etc/sixty" not in [mount["Destination"] for mount in each.inspect["Mounts"]]
        return
    result = each.run("sh", "-c", f"echo x > {path}")
    assert result.rc != 0
    assert "Read-only file system" in result.stderr


def test_it_comes_back_and_its_log_is_bounded(each):
    assert each.host_config["RestartPolicy"]["Name"] == "unless-stopped"
    assert each.host_config["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "5m"}}


def test_no_secret_is_in_its_definition(each, secrets):
    text = each.host.check_output("docker inspect %s", each.name)
    assert not [key for key, value in secrets.items() if value in text]


def test_secret_files_are_roots_and_only_its_group_reads_them(each):
    if each.service in KEEPS_NO_SECRET:
        assert each.run("test", "-e", "/etc/sixty/current/secrets").rc == 1
        return
    found = each.output("find", "/etc/sixty/current/secrets/", "-type", "f", "-printf", "%f %u:%g %m\\n").splitlines()
    group = each.output("id", "-gn")
    assert {line.split(" ", 1)[1] for line in found} <= {f"root:{group} 440"}
    [mount] = [mount["Source"] for mount in each.inspect["Mounts"] if mount["Destination"] == "/etc/sixty"]
    for name in (line.split()[0] for line in found):
        result = each.host.run("setpriv --reuid=nobody --clear-groups cat %s", f"{mount}/current/secrets/{name}")
        assert result.rc != 0
        assert "Permission denied" in result.stderr


def test_it_publishes_no_more_than_it_has_to(each):
    bindings = each.host_config["PortBindings"] or {}
    assert [binding["HostPort"] for ports in bindings.values() for binding in ports] == PUBLISHED.get(each.service, [])


def test_the_engine_finds_it_healthy(each, eventually):
    """The first probe comes after the interval."""
    interval = each.inspect["Config"]["Healthcheck"]["Interval"] / 1e9
    eventually(lambda: each.now("{{.State.Health.Status}}") == "healthy", interval + 10)
