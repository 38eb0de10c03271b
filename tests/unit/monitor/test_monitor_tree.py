# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which containers a tree holds, and what their files say, on both cgroup versions and for both drivers."""

from __future__ import annotations

import os

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB, Figures, identity
from memory_monitor import tree as module
from memory_monitor.files import Errors
from memory_monitor.tree import MOST_CONTAINERS, Tree, place

EVERYWHERE = {
    "usage": 60 * MB,
    "working_set": 50 * MB,
    "unreclaimable": 35 * MB,
    "rss": 25 * MB,
    "cache": 30 * MB,
    "mapped_file": 4 * MB,
    "swap_usage": 1 * MB,
    "limit": 64 * MB,
    "reservation": 32 * MB,
    "peak": 63 * MB,
    "failcnt": 12,
    "oom_kills": 3,
    "cpu_quota": 50000,
    "cpu_period": 100000,
    "cpu_seconds": 2.5,
    "throttled_seconds": 0.25,
    "throttled_periods": 5,
    "periods": 100,
    "tasks": 7,
}


def look(tree, stack="sixty"):
    reader = Tree(str(tree.root), Errors())
    return reader.look(stack), {reason: count for reason, count in reader.errors.counts.items() if count}


def test_figures(tree):
    path = tree.run(1, oom_kills=3)
    seen, errors = look(tree)
    [found] = seen.containers
    assert {name: found[name] for name in EVERYWHERE} == EVERYWHERE
    # One unit of version 2's weight is 26 shares.
    assert found["cpu_shares"] == (256 if tree.version == 1 else 264)
    assert (found["pressure_waiting"], found["pressure_stalled"]) == ((1.5, 0.5) if tree.version == 2 else (None, None))
    where = (found["id"], found["path"], found["stack"], found["service"])
    assert where == (identity(1), path, "sixty", "redis")
    assert found["inode"] == os.stat(tree.file(path, "memory.stat", "memory.stat").parent).st_ino
    assert errors == {}


def test_no_limit_is_zero(tree):
    tree.run(1, limit=0, reservation=0, quota=-1)
    [found] = look(tree)[0].containers
    assert (found["limit"], found["reservation"], found["cpu_quota"]) == (0, 0, -1)


def test_several_stacks_and_unknown_containers(tree):
    tree.run(1, "sixty", "redis")
    tree.run(2, "sixty", "api")
    tree.run(3, "sixty", "api")
    tree.run(4, "staging", "redis_exporter")
    tree.run(5, "", "")
    seen, errors = look(tree)
    assert sorted((found["id"], found["stack"], found["service"]) for found in seen.containers) == [
        (identity(1), "sixty", "redis"),
        (identity(2), "sixty", "api"),
        (identity(3), "sixty", "api"),
        (identity(4), "staging", "redis_exporter"),
        (identity(5), "", ""),
    ]
    assert {name: figures["limit"] for name, figures in seen.stacks.items()} == {
        "sixty": 2048 * MB,
        "staging": 2048 * MB,
    }
    assert errors == {}


def test_an_empty_service_of_the_own_stack_is_a_parent(tree):
    tree.remove(tree.run(1))
    tree.remove(tree.run(2, "staging"))
    seen, _errors = look(tree)
    assert seen.parents == {tree.parent("sixty", "redis"): ("sixty", "redis")}


def test_what_is_inside_a_container_is_its_own_affair(tree):
    path = tree.run(1)
    tree.write(f"{path}/docker/{identity(2)}", Figures())
    assert [found["id"] for found in look(tree)[0].containers] == [identity(1)]


@pytest.mark.parametrize(
    ("parent", "owner"),
    [
        ("/sixty/redis", ("sixty", "redis")),
        ("/sixty.slice/sixty-redis.slice", ("sixty", "redis")),
        ("/sixty_staging.slice/sixty_staging-redis_exporter.slice", ("sixty_staging", "redis_exporter")),
        ("/sixty.staging/api", ("sixty.staging", "api")),
        ("/docker", ("", "")),
        ("/system.slice", ("", "")),
        ("/system.slice/docker.service", ("", "")),
        ("/sixty.slice/other-redis.slice", ("", "")),
        ("/sixty/redis.slice", ("", "")),
        ("/kubepods/burstable/pod1", ("", "")),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice", ("", "")),
        ("", ("", "")),
    ],
)
def test_place(parent, owner):
    assert place(parent) == owner


@pytest.mark.parametrize(
    ("v1", "v2", "text"),
    [
        ("memory.usage_in_bytes", "memory.current", "many\n"),
        ("memory.usage_in_bytes", "memory.current", ""),
        ("memory.usage_in_bytes", "memory.current", "1 2\n"),
        ("memory.limit_in_bytes", "memory.max", "\x00\x00"),
        ("memory.stat", "memory.stat", "total_cache x\nanon x\n"),
        ("memory.oom_control", "memory.events", "oom_kill kill\n"),
        ("cpu.cfs_quota_us", "cpu.max", "x y\n"),
        ("cpu.stat", "cpu.stat", "nr_periods -\n"),
        ("pids.current", "pids.current", "7.5\n"),
        ("memory.soft_limit_in_bytes", "memory.pressure", "some\n"),
        ("memory.failcnt", "memory.pressure", "full avg10=0 total=1\n"),
        ("memory.max_usage_in_bytes", "memory.peak", "\u0663\u00e9\n"),
    ],
)
def test_a_malformed_file_leaves_its_container_out(tree, v1, v2, text):
    tree.run(1)
    path = tree.run(2)
    tree.file(path, v1, v2).write_text(text, encoding="utf-8")
    seen, errors = look(tree)
    assert [found["id"] for found in seen.containers] == [identity(1)]
    assert seen.present == {identity(1), identity(2)}
    assert errors == {"malformed": 1}


def test_a_file_that_cannot_be_read_leaves_its_container_out(tree):
    path = tree.run(1)
    file = tree.file(path, "memory.stat", "memory.stat")
    file.unlink()
    file.mkdir()
    seen, errors = look(tree)
    assert seen.containers == [] and errors == {"unreadable": 1}


def test_a_container_that_vanishes_in_the_middle(tree, monkeypatch):
    path = tree.run(1)
    read, base = module.read_text, tree.file(path, "memory.stat", "memory.stat").parent

    def vanishing(name):
        if name.endswith("pids.current") and base.exists():
            tree.remove(path)
        return read(name)

    monkeypatch.setattr(module, "read_text", vanishing)
    seen, errors = look(tree)
    assert seen.containers == [] and errors == {"vanished": 1}


def test_a_container_that_is_another_one_at_the_end(tree, monkeypatch):
    path = tree.run(1)
    read, done = module.read_text, []

    def restarting(name):
        if name.endswith("pids.current") and not done:
            done.append(name)
            tree.restart(path)
        return read(name)

    monkeypatch.setattr(module, "read_text", restarting)
    seen, errors = look(tree)
    assert seen.containers == [] and errors == {"vanished": 1}


def test_a_cgroup_that_ends_while_its_file_is_open(tree, monkeypatch):
    """The kernel then answers ENODEV."""
    tree.run(1)
    monkeypatch.setattr(os, "read", lambda *_: (_ for _ in ()).throw(OSError(19, "No such device")))
    seen, errors = look(tree)
    assert seen.containers == [] and set(errors) == {"vanished"}


@pytest.mark.parametrize("name", [b"bad\xff", b"new\nline", b"bell\x07", b"x" * 200 + b"\x1b[31m"])
def test_hostile_directories_are_left_out(tree, name):
    tree.run(1)
    for controller in tree.controllers:
        directory = os.fsencode(tree.root / controller) + b"/" + name + b"/redis/" + identity(2).encode()
        os.makedirs(directory)
    seen, errors = look(tree)
    assert [found["id"] for found in seen.containers] == [identity(1)] and errors == {"name": 1}


def test_quotes_are_only_a_matter_of_escaping(tree):
    tree.run(1, 'a"b\\c{}', "x y")
    [found] = look(tree)[0].containers
    assert identity(1) in found["id"] and '"' in found["path"]


def test_the_number_of_containers_is_bounded(tree):
    for number in range(MOST_CONTAINERS + 3):
        (tree.root / ("memory" if tree.version == 1 else ".") / "docker" / identity(number)).mkdir(parents=True)
    seen, errors = look(tree)
    assert len(seen.present) == MOST_CONTAINERS
    assert errors["limit"] == 3


def test_the_depth_is_bounded(tree):
    path = "/".join(["x"] * 40)
    (tree.root / ("memory" if tree.version == 1 else ".") / path / identity(1)).mkdir(parents=True)
    assert look(tree)[0].present == set()


def test_links_are_not_followed(tree, tmp_path):
    (tmp_path / "elsewhere" / identity(9)).mkdir(parents=True)
    base = tree.root / ("memory" if tree.version == 1 else ".")
    (base / "link").symlink_to(tmp_path / "elsewhere")
    (base / "loop").symlink_to(base)
    assert look(tree)[0].present == set()


def test_a_service_keeps_its_kills_on_version_2(tree):
    tree.run(1, oom_kills=1)
    if tree.version == 2:
        tree.service_kills(4)
    assert look(tree)[0].kills == ({("sixty", "redis"): 4} if tree.version == 2 else {})
