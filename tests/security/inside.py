# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of security look with: from the network namespace of a container, and from a neighbour of the host."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import NAME, ROOT, containers

# For each [address, port] of its argument whether somebody takes the connection; a wall drops, so it waits a second.
CONNECT = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def connects(target):
    try:
        socket.create_connection(target, 1).close()
        return True
    except OSError:
        return False
targets = [tuple(target) for target in json.loads(sys.argv[1])]
with ThreadPoolExecutor(64) as pool:
    print(json.dumps(list(pool.map(connects, targets))))
"""
Target = tuple[str, int]


class Place(NamedTuple):
    """A running container: its first process, and its address in each network of the stack."""

    name: str
    pid: int
    addresses: dict[str, str]
    found: dict[str, Any]

    @property
    def enter(self) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self.pid), "--net")

    @property
    def processes(self) -> list[Path]:
        """The directory of each of its processes."""
        namespace = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(path / "ns/pid") == namespace:
                    found.append(path)
        return found

    @property
    def ports(self) -> set[int]:
        """TCP ports that it listens on, for others than itself."""
        lines = [
            line.split()
            for table in ("tcp", "tcp6")
            if (path := Path(f"/proc/{self.pid}/net/{table}")).exists()
            for line in path.read_text().splitlines()[1:]
        ]
        # 0A is LISTEN; 127.0.0.11 is the engine's resolver. Addresses are hexadecimal, the last byte first.
        listening = (line[1].split(":") for line in lines if line[3] == "0A")
        return {int(port, 16) for address, port in listening if not address.endswith("7F")}


@functools.cache
def places() -> dict[str, Place]:
    """The stack's running containers by service; of the API the releases that run."""
    made = {}
    for found in containers():
        networks = found["NetworkSettings"]["Networks"]
        addresses = {name[len(NAME) + 1 :]: network["IPAddress"] for name, network in networks.items()}
        name = found["Config"]["Labels"]["sixty.service"]
        made[name] = Place(name, found["State"]["Pid"], addresses, found)
    return made


@functools.cache
def secrets() -> dict[str, str]:
    """The stack's passwords, by name."""
    return {path.name: path.read_text().strip() for path in sorted((ROOT / ".dev/secrets" / NAME).iterdir())}


def run(*command: str, text: str | None = None) -> str:
    """Output of a command that has to succeed."""
    ended = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
    return ended.stdout


def reached(enter: tuple[str, ...], targets: list[Target]) -> set[Target]:
    """Which of these addresses take a connection from there."""
    answers = json.loads(run(*enter, sys.executable, "-c", CONNECT, json.dumps(targets)))
    return {target for target, answer in zip(targets, answers) if answer}


def from_each(targets: Callable[[Place], list[Target]]) -> dict[str, set[Target]]:
    """For each container what it reaches of its targets; all of them look at the same time."""
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda place: reached(place.enter, targets(place)), places().values())
        return dict(zip(places(), answers))


class Neighbour(NamedTuple):
    """A machine on a network of the host, made of a network namespace."""

    enter: tuple[str, ...]
    address: str
    host: str


@contextlib.contextmanager
def neighbour(*routed: str) -> Iterator[Neighbour]:
    """A neighbour that sends packets for the routed networks to the host."""
    name, host, address = f"{NAME[:8]}-sec", "198.18.77.1", "198.18.77.2"
    inner, outer = f"{NAME[:8]}s1", f"{NAME[:8]}s0"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        run("ip", "address", "add", f"{host}/30", "dev", outer)
        run("ip", "link", "set", outer, "up")
        enter = ("ip", "netns", "exec", name)
        for command in (f"address add {address}/30 dev {inner}", f"link set {inner} up", "link set lo up"):
            run(*enter, "ip", *command.split())
        for network in routed:
            run(*enter, "ip", "route", "add", network, "via", host)
        yield Neighbour(enter, address, host)
    finally:
        run("ip", "netns", "delete", name)
