# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare Debian host that is reached over SSH alone; SIXTY_SSH_SUITE is bookworm or trixie."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import ROOT
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import Host, Operator, run

SUITE = os.environ.get("SIXTY_SSH_SUITE", "bookworm")
MACHINE = f"sixty-ssh-{SUITE}"
IMAGE = f"sixty/machine-ssh:{SUITE}"
# Two engines share this kernel's cgroup tree, so this stack needs a name of its own.
STACK = {"bookworm": "ssh12", "trixie": "ssh13"}[SUITE]
PUBLISHED = ("127.0.0.1::22", "127.0.0.1::443")


def start(
    directory: Path, password: str, machine: str = MACHINE, published: tuple[str, ...] = PUBLISHED, disk: str = ""
) -> None:
    """A machine with a key for the operator, a key of its own, and a password for sudo."""
    run("bash", ROOT / "tests/machine/image.sh", SUITE, timeout=600)
    run(
        *("docker", "build", "--quiet", "--tag", IMAGE, "--build-arg", f"BASE=sixty/machine:{SUITE}"),
        ROOT / "tests/ssh",
        timeout=600,
    )
    options = [option for port in published for option in ("--publish", port)]
    environment = {**os.environ, "MACHINE_DISK": disk}
    run("bash", ROOT / "tests/machine/start.sh", machine, IMAGE, *options, env=environment)
    for key in ("key", "host_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", directory / key)
    landed = {
        "key.pub": ("/home/deploy/.ssh/authorized_keys", "deploy", "0600"),
        "host_key": ("/etc/ssh/ssh_host_ed25519_key", "root", "0600"),
        "host_key.pub": ("/etc/ssh/ssh_host_ed25519_key.pub", "root", "0644"),
    }
    inside = ("docker", "exec", "--interactive", machine)
    for name, (path, owner, mode) in landed.items():
        run(
            *(*inside, "install", "-o", owner, "-g", owner, "-m", mode, "/dev/stdin", path),
            input=(directory / name).read_text(),
        )
    run(*inside, "chpasswd", input=f"deploy:{password}")
    run(*inside, "systemctl", "enable", "--now", "ssh")


def port(inside: int) -> int:
    return int(run("docker", "port", MACHINE, f"{inside}/tcp").split(":")[-1])


@pytest.fixture(scope="session")
def operator() -> Iterator[Operator]:
    """The operator of a new host. With KEEP=1 the host is kept and, when it is there, used as it is."""
    directory = ROOT / ".dev/ssh" / SUITE
    keep = os.environ.get("KEEP") == "1"
    there = bool(run("docker", "ps", "--quiet", "--filter", f"name=^{MACHINE}$"))
    if not (keep and there):
        run("docker", "rm", "--force", "--volumes", MACHINE)
        run("rm", "-rf", directory)
        directory.mkdir(parents=True)
        password = secrets.token_hex(12)
        (directory / "password").write_text(password)
        start(directory, password)
    host = Host(
        port(22), port(443), directory / "key", directory / "host_key", password=(directory / "password").read_text()
    )
    made = Operator(directory / "operator", host, ROOT / "build/reports/ssh" / SUITE)
    if not (keep and there):
        run("rm", "-rf", *made.reports.glob("*"))
        made.prepare(stack_name=STACK, release_watch_seconds=10)
    yield made
    made.cut_connections()
    if not keep:
        run("docker", "rm", "--force", "--volumes", MACHINE)
