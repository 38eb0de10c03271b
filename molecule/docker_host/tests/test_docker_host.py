# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack stands on: the kernel's limit over all of it, networks, directories, and the engine's settings."""

from __future__ import annotations

import json
import subprocess

import pytest

TOTAL = 2048 * 1024 * 1024
RESERVE = 300 * 1024 * 1024
PAGE = 4096


@pytest.fixture(scope="module")
def engine(host):
    return json.loads(host.check_output("docker info --format '{{json .}}'"))


@pytest.fixture(scope="module")
def driver(host):
    """What makes the cgroups of this host, by its inventory."""
    return host.ansible.get_variables()["molecule_cgroup_driver"]


@pytest.fixture(scope="module")
def parent(host, engine, stack):
    """Directory of the parent cgroup's memory files."""
    root = "/sys/fs/cgroup" if engine["CgroupVersion"] == "2" else "/sys/fs/cgroup/memory"
    return f"{root}/{stack}.slice" if engine["CgroupDriver"] == "systemd" else f"{root}/{stack}"


@pytest.fixture(scope="module")
def limit(host, engine, parent):
    """The parent's limit in bytes, read anew at each call."""
    name = "memory.max" if engine["CgroupVersion"] == "2" else "memory.limit_in_bytes"
    return lambda: int(host.file(f"{parent}/{name}").content_string)


def test_the_kernel_limits_the_whole_stack(host, stack, engine, parent, limit):
    total = int(host.check_output("awk '/^MemTotal/ { print $2 }' /proc/meminfo")) * 1024
    assert limit() == min(TOTAL, total - RESERVE) // PAGE * PAGE
    if engine["CgroupVersion"] == "2":
        assert host.file(f"{parent}/memory.swap.max").content_string.strip() == "0"
    else:
        # systemd writes no limit of memory and swap on version 1; each container has its own.
        if engine["CgroupDriver"] == "cgroupfs":
            assert int(host.file(f"{parent}/memory.memsw.limit_in_bytes").content_string) == limit()
        # What is below counts, too.
        assert host.file(f"{parent}/memory.use_hierarchy").content_string.strip() == "1"
    if engine["CgroupDriver"] == "systemd":
        # The unit has it too, for the next boot.
        assert host.check_output("systemctl is-enabled %s", f"{stack}.slice") == "enabled"
        assert int(host.check_output("systemctl show --value --property MemoryMax %s", f"{stack}.slice")) == limit()


def test_every_service_has_a_cgroup_that_outlives_its_containers(host, engine, parent, stack, budget):
    for service in budget["services"]:
        name = f"{stack}-{service}.slice" if engine["CgroupDriver"] == "systemd" else service
        assert host.file(f"{parent}/{name}").is_directory, service


@pytest.mark.parametrize(
    ("network", "internal", "third"),
    [
        ("db", True, 1),
        ("cache", True, 2),
        ("app", True, 3),
        ("metrics", True, 4),
        ("edge", False, 5),
        ("admin", False, 6),
        ("egress", False, 7),
        ("status", True, 8),
    ],
)
def test_networks(host, stack, network, internal, third):
    seen = json.loads(host.check_output("docker network inspect %s", f"{stack}-{network}"))[0]
    assert seen["Internal"] is internal
    assert [pool["Subnet"] for pool in seen["IPAM"]["Config"]] == [f"10.60.{third}.0/24"]


@pytest.mark.parametrize(
    ("path", "owner", "mode"),
    [
        ("/srv/{}", "root:root", 0o711),
        ("/srv/{}/config", "root:root", 0o700),
        ("/srv/{}/route", "root:root", 0o755),
        ("/srv/{}/releases", "root:root", 0o755),
        ("/var/log/{}", "root:adm", 0o755),
        ("/var/log/{}/nginx", "101:adm", 0o2750),
        ("/var/log/{}/api", "1000:adm", 0o2750),
    ],
)
def test_directories(host, stack, path, owner, mode):
    directory = host.file(path.format(stack))
    user, group = owner.split(":")
    assert directory.is_directory
    assert directory.mode == mode
    assert user in (directory.user, str(directory.uid))
    assert directory.group == group


def test_redis_may_fork(host, stack):
    """Set now and after a boot."""
    assert host.sysctl("vm.overcommit_memory") == 1
    assert "vm.overcommit_memory = 1" in host.file(f"/etc/sysctl.d/60-{stack}.conf").content_string


def test_the_engine_rotates_logs_and_may_restart_alone(host, engine):
    assert engine["LiveRestoreEnabled"] is True
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert settings["log-driver"] == "json-file"
    assert settings["log-opts"] == {"max-size": "5m", "max-file": "3"}


def test_it_has_the_driver_that_it_was_given(engine, driver):
    assert engine["CgroupDriver"] == driver


def test_a_large_log_is_rotated_under_its_writer(host, stack):
    path = f"/var/log/{stack}/nginx/access.log"
    host.check_output(
        "setpriv --reuid=101 --regid=101 --clear-groups head -c 25M /dev/zero > %s && chown 101:adm %s", path, path
    )
    inode = host.file(path).inode
    host.check_output("logrotate --state /tmp/logrotate.state /etc/logrotate.d/%s", stack)
    assert host.file(path).size == 0
    assert host.file(path).inode == inode
    assert host.file(f"{path}.1").size == 25 * 1024 * 1024
    assert host.file(f"{path}.1").group == "adm"
    calendar = host.check_output("systemctl show --value --property TimersCalendar logrotate.timer")
    assert calendar.count("OnCalendar=") == 1
    assert "OnCalendar=*-*-* *:00:00" in calendar


def test_check_mode_shows_a_change_and_touches_nothing(play, limit):
    before = limit()
    recap = play("--check", "--diff", memory_budget_overrides={"budget": {"total": "2040M"}})
    assert recap.changed == 1
    assert str(2040 * 1024 * 1024) in recap.output
    assert limit() == before


def test_what_somebody_moved_is_put_back(host, stack, engine, parent, limit, play):
    wanted = limit()
    host.check_output("chmod 0777 %s", f"/srv/{stack}/config")
    host.check_output("docker network rm %s", f"{stack}-egress")
    if engine["CgroupDriver"] == "cgroupfs":
        name = "memory.max" if engine["CgroupVersion"] == "2" else "memory.limit_in_bytes"
        host.check_output("echo 1073741824 > %s", f"{parent}/{name}")
    play()
    assert host.file(f"/srv/{stack}/config").mode == 0o700
    assert limit() == wanted
    test_networks(host, stack, "egress", False, 7)


def test_the_walls_come_back_with_the_engine(host, play):
    """Who flushes the packet filter takes the engine's rules too, and is told everywhere to restart the engine."""
    look = "iptables -S INPUT; iptables -S DOCKER-USER"
    before = host.check_output(look)
    assert before.count("-m conntrack --ctstate NEW -j DROP") == 7
    host.check_output("iptables -F INPUT; iptables -F DOCKER-USER; systemctl restart docker")
    after = host.check_output(look)
    assert sorted(after.splitlines()) == sorted(before.splitlines())
    host.check_output("systemctl restart docker")
    assert host.check_output(look) == after
    assert play().changed == 0


def test_the_engines_other_settings_are_kept_and_it_is_not_restarted(host, play, driver):
    own = {"live-restore": False, "labels": ["rack=7"], "exec-opts": [f"native.cgroupdriver={driver}"]}
    host.check_output("echo %s > /etc/docker/daemon.json", json.dumps(own))
    host.check_output("systemctl kill --signal HUP --kill-whom main docker")
    before = host.check_output("systemctl show --value --property MainPID docker")
    play()
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert {key: settings[key] for key in own} == own | {"live-restore": True}
    assert host.check_output("docker info --format '{{.LiveRestoreEnabled}}'") == "true"
    assert host.check_output("systemctl show --value --property MainPID docker") == before


def test_a_port_that_is_taken_is_refused_before_anything_changes(host, stack, play):
    host.check_output("systemd-run --unit port-holder python3 -m http.server 80")
    host.check_output("chmod 0777 %s", f"/srv/{stack}/config")
    try:
        recap = play(fails=True)
    finally:
        host.check_output("systemctl stop port-holder")
    assert "Port 80 on" in recap.output
    assert "Nothing was changed" in recap.output
    assert host.file(f"/srv/{stack}/config").mode == 0o777


def test_the_limit_is_back_after_a_boot(host, limit, eventually):
    before = limit()
    subprocess.run(["docker", "restart", host.backend.host], check=True, capture_output=True, timeout=60)
    eventually(lambda: host.run("docker version").rc == 0)
    assert limit() == before
