# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of production as a container with an engine of its own, on a disk of its own, reached over SSH alone."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.faults.matrix import Matrix
from ansible_collections.sixty_sales.memory_optimized.tests.faults.scene import STACK, Scene
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import ROOT
from ansible_collections.sixty_sales.memory_optimized.tests.ssh import conftest as ssh
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import Host, Operator, run

MACHINE = "sixty-faults"
DIRECTORY = ROOT / ".dev/faults"
DISK, MOUNTED = DIRECTORY / "disk.ext4", DIRECTORY / "disk"
REPORTS = ROOT / "build/reports/faults"
# They stay the same when the machine is started again.
SSH, HTTPS = 18193, 18194
SETTINGS = {
    "stack_name": STACK,
    "stack_subnet_prefix": "10.93",
    "release_watch_seconds": 10,
    "release_seed_rows": 200,
    # One address stands for all clients.
    "nginx_rate_limit_exempt": ["0.0.0.0/0"],
}


def remove_cgroups() -> None:
    """What a nested engine made in the outer tree, on version 1, and a reboot of a real host would leave nothing of."""
    for group in Path("/sys/fs/cgroup").glob(f"*/{STACK}"):
        subprocess.run(["find", str(group), "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], check=False)


def make_disk() -> None:
    """A file system that can be filled: the engine's directory and the stack's, with one per cent for root alone."""
    run("truncate", "--size=6G", DISK)
    run("mkfs.ext4", "-q", "-m", "1", DISK)
    MOUNTED.mkdir()
    run("mount", "-o", "loop", DISK, MOUNTED)
    for name in ("docker", "srv"):
        (MOUNTED / name).mkdir()


def remove() -> None:
    run("docker", "rm", "--force", "--volumes", MACHINE)
    if MOUNTED.is_mount():
        run("umount", MOUNTED)
    remove_cgroups()
    shutil.rmtree(DIRECTORY, ignore_errors=True)


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    return Matrix(REPORTS)


@pytest.fixture(scope="session")
def operator() -> Iterator[Operator]:
    """The operator of a bare host. With KEEP=1 the host is kept and, when it is there, used as it is."""
    keep = os.environ.get("KEEP") == "1"
    there = bool(run("docker", "ps", "--quiet", "--filter", f"name=^{MACHINE}$"))
    if not (keep and there):
        remove()
        DIRECTORY.mkdir(parents=True)
        make_disk()
        password = secrets.token_hex(12)
        (DIRECTORY / "password").write_text(password)
        published = (f"127.0.0.1:{SSH}:22", f"127.0.0.1:{HTTPS}:443")
        ssh.start(DIRECTORY, password, MACHINE, published, str(MOUNTED))
    host = Host(SSH, HTTPS, DIRECTORY / "key", DIRECTORY / "host_key", password=(DIRECTORY / "password").read_text())
    made = Operator(DIRECTORY / "operator", host, REPORTS)
    if not (keep and there):
        made.prepare(**SETTINGS)
    yield made
    made.cut_connections()
    if not keep:
        remove()


@pytest.fixture(scope="session")
def host(operator: Operator, matrix: Matrix) -> Scene:
    """The host as it is."""
    return Scene(operator, matrix)


@pytest.fixture(scope="session")
def scene(host: Scene) -> Scene:
    """The host serves."""
    if host.is_bare():
        host.operator.deploy("00-deploy", timeout=1200)
    return host
