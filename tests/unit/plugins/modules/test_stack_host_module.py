# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a tree below a temporary directory that stands in for the kernel's and systemd's."""

from __future__ import annotations

import errno
import os
import types

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import stack_host as core
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import stack_host
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.module_runner import run_main

MB = 1024**2
NO_LIMIT = 0x7FFFFFFFFFFFF000
FRESH = {
    1: {"memory.limit_in_bytes": f"{NO_LIMIT}\n", "memory.memsw.limit_in_bytes": f"{NO_LIMIT}\n"},
    2: {"memory.max": "max\n", "memory.swap.max": "max\n", "cgroup.subtree_control": ""},
}


class Machine:
    """A tree with cgroups, kernel settings, systemd's units and a record of systemctl's calls."""

    def __init__(self, root, version):
        self.root, self.version = root, version
        self.cgroups, self.units, self.sysctls = root / "cgroup", root / "units", root / "sys"
        self.calls, self.systemctl = [], lambda *argv: None
        for folder in (
            self.cgroups / ("memory" if version == 1 else "."),
            self.units,
            self.sysctls / "vm",
            root / "etc",
        ):
            folder.mkdir(parents=True)
        self.fill(self.memory)
        (self.sysctls / "vm" / "overcommit_memory").write_text("0\n", encoding="ascii")

    @property
    def memory(self):
        return self.cgroups / "memory" if self.version == 1 else self.cgroups

    def fill(self, folder):
        """What the kernel puts into a new cgroup."""
        for name, text in {**FRESH[self.version], "cgroup.procs": ""}.items():
            (folder / name).write_text(text, encoding="ascii")

    def limits(self):
        return [
            (self.memory / "sixty" / name).read_text(encoding="ascii").strip()
            for name in core.limit_files(self.version)
        ]


def machine(version, root, monkeypatch):
    made = Machine(root, version)
    monkeypatch.setattr(core, "CGROUPS", str(made.cgroups))
    monkeypatch.setattr(core, "UNIT_DIR", str(made.units))
    monkeypatch.setattr(core, "sysctl_file", lambda stack: str(root / "etc" / f"60-{stack}.conf"))
    monkeypatch.setattr(core, "boot_file", lambda stack: str(root / "etc" / f"60-{stack}.boot"))
    monkeypatch.setattr(
        stack_host.Host, "sysctl_path", staticmethod(lambda name: str(made.sysctls / name.replace(".", "/")))
    )
    monkeypatch.setattr(stack_host, "SYSTEMD", str(root))

    make, write, rmdir = os.makedirs, stack_host.write_kernel, os.rmdir

    def makedirs(path, **more):
        make(path, **more)
        if str(path).startswith(str(made.cgroups)):
            made.fill(type(root)(path))

    def write_kernel(path, value):
        folder, name = os.path.split(path)
        if not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if version == 1 and name.startswith("memory."):
            now = {file: int(stack_host.read_text(f"{folder}/{file}")) for file in FRESH[1]}
            now[name] = int(value)
            if now["memory.limit_in_bytes"] > now["memory.memsw.limit_in_bytes"]:
                raise OSError(errno.EINVAL, "Invalid argument", path)
        write(path, value)

    def remove(path):
        if str(path).startswith(str(made.cgroups)):
            for entry in os.scandir(path):
                if entry.is_file():
                    os.unlink(entry)
        rmdir(path)

    # The module's own os: the rest of the process keeps the real one.
    replaced = types.SimpleNamespace(**{**vars(os), "makedirs": makedirs, "rmdir": remove})
    monkeypatch.setattr(stack_host, "os", replaced)
    monkeypatch.setattr(stack_host, "write_kernel", write_kernel)

    def run(_host, *argv):
        made.calls.append(argv[1:])
        made.systemctl(*argv[1:])

    monkeypatch.setattr(stack_host.Host, "run", run)
    return made


@pytest.fixture(params=[1, 2])
def host(request, tmp_path, monkeypatch):
    return machine(request.param, tmp_path, monkeypatch)


@pytest.fixture
def apply(host, monkeypatch):
    def run(check=False, **more):
        arguments = {
            "name": "sixty",
            "cgroup_driver": "cgroupfs",
            "cgroup_version": host.version,
            "memory_limit": 64 * MB,
            "reservations": {"redis": 32 * MB, "nginx": 16 * MB},
            "directories": [
                {"path": str(host.root / "srv" / "sixty"), "uid": os.getuid(), "gid": os.getgid(), "mode": "2750"}
            ],
            "sysctls": {"vm.overcommit_memory": 1},
            "files": {str(host.root / "etc" / "logrotate.d" / "sixty"): "size 20M\n"},
            **more,
        }
        old = os.umask(0o077)
        try:
            return run_main(monkeypatch, stack_host.main, arguments, check)
        finally:
            os.umask(old)

    return run


def snapshot(root):
    return {str(path): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def test_everything_is_made_once(host, apply):
    before = snapshot(host.root)
    planned = apply(check=True)
    assert (planned["changed"], snapshot(host.root)) == (True, before)
    result = apply()
    assert (result["failed"], result["changed"]) == (False, True)
    assert (result["steps"], result["diff"]) == (planned["steps"], planned["diff"])
    assert result["limit"] == 64 * MB
    assert result["parent"] == str(host.memory / "sixty")
    assert host.limits() == [str(64 * MB), str(64 * MB) if host.version == 1 else "0"]
    assert sorted(path.name for path in (host.memory / "sixty").iterdir() if path.is_dir()) == ["nginx", "redis"]
    assert (host.sysctls / "vm" / "overcommit_memory").read_text(encoding="ascii") == "1"
    assert (host.root / "etc" / "60-sixty.conf").read_text(encoding="ascii") == "vm.overcommit_memory = 1\n"
    assert (host.root / "srv" / "sixty").stat().st_mode & 0o7777 == 0o2750
    # Whatever the umask: open folders above, and files as documented.
    assert (host.root / "srv").stat().st_mode & 0o777 == 0o755
    assert (host.root / "etc" / "logrotate.d" / "sixty").stat().st_mode & 0o777 == 0o644
    again = apply()
    assert (again["changed"], again["steps"], again["limit"]) == (False, [], 64 * MB)
    assert host.calls == []


@pytest.mark.parametrize("limit", [16 * MB, 256 * MB, 64 * MB + 100])
def test_another_limit(host, apply, limit):
    apply()
    result = apply(memory_limit=limit)
    assert (result["failed"], result["limit"]) == (False, core.page_floor(limit))
    assert not apply(memory_limit=limit)["changed"]


def test_a_run_that_ended_before_the_limits(host, apply):
    """The cgroup is there and unlimited: "max" is not the 0 of "no swap"."""
    apply()
    host.fill(host.memory / "sixty")
    assert [step["kind"] for step in apply()["steps"]] == ["cgroup_limit", "cgroup_limit"]
    assert host.limits() == [str(64 * MB), str(64 * MB) if host.version == 1 else "0"]


def test_a_kernel_without_swap_accounting(host, apply):
    apply()
    swap = core.limit_files(host.version)[1]
    (host.memory / "sixty" / swap).unlink()
    (host.memory / swap).unlink()
    # One more service: the parent is there, and its missing file is not planned.
    result = apply(reservations={"redis": 32 * MB, "nginx": 16 * MB, "loki": 1})
    assert [step["kind"] for step in result["steps"]] == ["cgroup"]


def test_a_kernel_without_the_memory_controller(host, apply):
    apply()
    (host.memory / "sixty" / core.limit_files(host.version)[0]).unlink()
    result = apply()
    assert "the kernel reports None" in result["msg"]


def test_the_kernel_refuses(host, apply, monkeypatch):
    apply()
    write = stack_host.write_kernel

    def busy(path, value):
        if "limit" in path or "memory.max" in path:
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        write(path, value)

    monkeypatch.setattr(stack_host, "write_kernel", busy)
    result = apply(memory_limit=4 * MB)
    assert f"could not be changed from {64 * MB} to {4 * MB}: Device or resource busy" in result["msg"]


def test_a_file_where_a_directory_belongs(host, apply):
    (host.root / "srv").write_text("", encoding="ascii")
    before = snapshot(host.root)
    assert "cannot be made: Not a directory. Nothing was changed." in apply()["msg"]
    (host.root / "srv").unlink()
    (host.root / "srv").mkdir()
    (host.root / "srv" / "sixty").write_text("", encoding="ascii")
    assert "is not a directory. Nothing was changed" in apply()["msg"]
    assert set(snapshot(host.root)) - set(before) == {str(host.root / "srv" / "sixty")}


def test_a_full_disk_leaves_no_half_file(host, apply, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stack_host.os, "fsync", full)
    assert "No space left on device. The steps before it stand" in apply()["msg"]
    assert [path for path in host.root.rglob("*.new")] == []


def test_a_setting_of_several_numbers(host, apply):
    (host.sysctls / "net").mkdir()
    (host.sysctls / "net" / "rmem").write_text("4096\t131072\t6291456\n", encoding="ascii")
    sysctls = {"net.rmem": "4096 131072 6291456"}
    assert [step["target"] for step in apply(sysctls=sysctls)["steps"] if step["kind"] == "sysctl"] == []


def test_a_file_that_is_no_utf8_is_replaced(host, apply):
    path = host.root / "etc" / "logrotate.d" / "sixty"
    path.parent.mkdir()
    path.write_bytes(b"caf\xe9")
    assert not apply()["failed"]
    assert path.read_text(encoding="ascii") == "size 20M\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "sixty-2", "cgroup_driver": "systemd"}, "a dash would nest"),
        ({"name": "../x"}, "cannot be the name of a stack"),
        ({"memory_limit": 0}, "Not a size in bytes: memory_limit"),
        ({"memory_limit": -1}, "Not a size in bytes: memory_limit"),
        ({"reservations": {"redis": "32M", "nginx": None}}, "Not a size in bytes: nginx, redis"),
        ({"files": {"etc/x": "a"}}, "Not an absolute path with a text: etc/x"),
        ({"files": {"/etc/x": 5}}, "Not an absolute path with a text: /etc/x"),
        ({"directories": [{"path": "/srv", "mode": "rwx"}]}, "mode is not an octal number"),
    ],
)
def test_bad_arguments(host, apply, arguments, says):
    before = snapshot(host.root)
    result = apply(**arguments)
    assert result["failed"]
    assert says in result["msg"]
    assert "Nothing was changed" in result["msg"]
    assert snapshot(host.root) == before


def test_absent(host, apply):
    apply()
    before = snapshot(host.root)
    planned = apply(state="absent", check=True)
    assert snapshot(host.root) == before
    result = apply(state="absent")
    assert (result["changed"], result["steps"], result["diff"]) == (True, planned["steps"], planned["diff"])
    assert not (host.memory / "sixty").exists()
    assert not (host.root / "etc" / "60-sixty.conf").exists()
    assert not (host.root / "etc" / "logrotate.d" / "sixty").exists()
    # Directories and running values stay.
    assert (host.root / "srv" / "sixty").exists()
    assert (host.sysctls / "vm" / "overcommit_memory").read_text(encoding="ascii") == "1"
    again = apply(state="absent")
    assert (again["changed"], again["steps"]) == (False, [])


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_absent_while_a_container_runs(host, apply, driver):
    apply()
    parent = "sixty" if driver == "cgroupfs" else "sixty.slice"
    folder = host.memory / parent / "redis" / "abc"
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("4711\n", encoding="ascii")
    before = snapshot(host.root)
    result = apply(state="absent", cgroup_driver=driver)
    assert f"still running in the cgroup {folder}. Nothing was changed" in result["msg"]
    assert (snapshot(host.root), host.calls) == (before, [])


def test_absent_takes_each_hierarchy_once(tmp_path, monkeypatch):
    """cpu is a second name of cpu,cpuacct on version 1."""
    host = machine(1, tmp_path, monkeypatch)
    (host.cgroups / "cpu,cpuacct" / "sixty" / "redis").mkdir(parents=True)
    (host.cgroups / "cpu").symlink_to("cpu,cpuacct")
    arguments = {"name": "sixty", "cgroup_driver": "cgroupfs", "cgroup_version": 1, "state": "absent"}
    result = run_main(monkeypatch, stack_host.main, arguments)
    assert [step["target"] for step in result["steps"]] == [
        f"{host.cgroups}/cpu,cpuacct/sixty/redis",
        f"{host.cgroups}/cpu,cpuacct/sixty",
    ]


# -- with systemd


def start_slices(host):
    """What systemd does with the units when it is told to start them."""

    def systemctl(verb, *names):
        if verb == "start":
            for name in names:
                folder = host.memory / "sixty.slice" / ("" if name == "sixty.slice" else name)
                folder.mkdir(parents=True, exist_ok=True)
                host.fill(folder)
            limit = (host.units / "sixty.slice").read_text(encoding="ascii").split("MemoryMax=")[1].split("\n")[0]
            (host.memory / "sixty.slice" / core.limit_files(host.version)[0]).write_text(limit, encoding="ascii")

    host.systemctl = systemctl


def test_slices(host, apply):
    start_slices(host)
    result = apply(cgroup_driver="systemd")
    assert (result["failed"], result["limit"]) == (False, 64 * MB)
    names = ("sixty.slice", "sixty-nginx.slice", "sixty-redis.slice")
    assert [step["kind"] for step in result["steps"]].count("unit") == 3
    assert [call[0] for call in host.calls] == ["daemon-reload", "enable", "start"]
    assert set(host.calls[2][1:]) == set(names)
    host.calls.clear()
    assert (apply(cgroup_driver="systemd")["changed"], host.calls) == (False, [])


def test_a_slice_that_was_stopped(host, apply):
    start_slices(host)
    apply(cgroup_driver="systemd")
    host.calls.clear()
    for path in (host.memory / "sixty.slice" / "sixty-redis.slice").iterdir():
        path.unlink()
    (host.memory / "sixty.slice" / "sixty-redis.slice").rmdir()
    result = apply(cgroup_driver="systemd")
    assert [(step["kind"], step["target"]) for step in result["steps"]] == [("slice", "sixty-redis.slice")]
    assert ("start", "sixty-redis.slice") in host.calls


def test_a_run_that_ended_before_systemd_read_the_new_limit(host, apply):
    """The unit is as wanted and the kernel is not: the next run reads the units again."""
    start_slices(host)
    apply(cgroup_driver="systemd")
    file = host.memory / "sixty.slice" / core.limit_files(host.version)[0]
    file.write_text("4096\n", encoding="ascii")
    host.calls.clear()
    result = apply(cgroup_driver="systemd")
    assert [(step["target"], step["before"], step["after"]) for step in result["steps"]] == [
        ("sixty.slice", 4096, 64 * MB)
    ]
    assert [call[0] for call in host.calls] == ["daemon-reload", "enable", "start"]
    assert (result["failed"], result["limit"]) == (False, 64 * MB)


def test_absent_slices(host, apply):
    start_slices(host)
    apply(cgroup_driver="systemd")
    (host.units / "sixtytwo.slice").write_text("", encoding="ascii")
    host.calls.clear()
    result = apply(cgroup_driver="systemd", state="absent")
    assert not result["failed"]
    assert [path.name for path in host.units.iterdir()] == ["sixtytwo.slice"]
    assert [call[0] for call in host.calls] == ["disable"]


@pytest.mark.parametrize(
    ("changed", "reload"),
    [
        ([], False),
        (["/etc/logrotate.d/sixty"], False),
        (["/etc/systemd/system/logrotate.timer.d/sixty.conf"], True),
        (["sixty.slice"], True),
    ],
)
def test_systemd_reads_its_units_again(host, changed, reload):
    stack_host.Host.reload_systemd(stack_host.Host.__new__(stack_host.Host), changed)
    assert host.calls == ([("daemon-reload",)] if reload else [])


@pytest.mark.parametrize("check", [False, True])
def test_a_limit_below_what_is_in_use_is_refused(host, apply, check):
    apply()
    usage, stat = ("usage_in_bytes", "total_inactive_file") if host.version == 1 else ("current", "inactive_file")
    (host.memory / "sixty" / f"memory.{usage}").write_text(f"{50 * MB}\n", encoding="ascii")
    (host.memory / "sixty" / "memory.stat").write_text(f"{stat} {10 * MB}\n", encoding="ascii")
    before = snapshot(host.root)
    result = apply(check, memory_limit=39 * MB)
    assert result["failed"] and "use 40 MB" in result["msg"] and "is to be 39 MB" in result["msg"]
    assert snapshot(host.root) == before
    # What the kernel can take back is no obstacle, and neither is a limit that stays or grows.
    assert not apply(check, memory_limit=40 * MB)["failed"] and not apply(check, memory_limit=90 * MB)["failed"]
