# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack under test once more, run by Compose and by Swarm, on a host of its own: a container with an engine."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    PORT,
    ROOT,
    SUBNETS,
    docker,
    eventually,
    info,
    play,
)
from outside import Outside

HERE = Path(__file__).parent
HOST = f"{NAME}-host"
# Of this machine.
HOST_PORT = PORT + 1
PATHS = ("/api/release",)
SERVED = f"{HOME}/config/nginx/current/snippets/api.conf"
ACCESS = f"{HOME}/config/postgres/current/pg_hba.conf"
# Of the Swarm's network; the stack's own are 1 to 8 (stack_networks).
SUBNET = f"{SUBNETS}.9.0/24"


def inside(*command: str, text: str | None = None, **environment: str) -> str:
    """Output of a command on the host."""
    given = [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]
    return docker("exec", "--interactive", *given, HOST, *command, text=text)


def start() -> None:
    """The host of the Molecule scenarios (molecule/shared), with Compose, and its port on this machine."""
    base, image = "sixty/bench-host-base", "sixty/bench-host"
    arguments = ("--quiet", "--build-arg")
    docker(
        "build", *arguments, f"BASE={os.environ['SIXTY_BASE_IMAGE']}", "--tag", base, str(ROOT / "molecule/shared/host")
    )
    docker("build", *arguments, f"BASE={base}", "--tag", image, str(HERE / "host"))
    unconfined = ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined")
    cgroups: tuple[str, ...] = ("--cgroupns", "private")
    if int(info().get("CgroupVersion") or 1) == 1:
        cgroups = ("--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw")
    docker(
        *("run", "--detach", "--name", HOST, "--hostname", HOST, "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
        *(part for option in unconfined for part in ("--security-opt", option)),
        *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp", "--volume", "/var/lib/docker", *cgroups),
        *("--publish", f"127.0.0.1:{HOST_PORT}:{PORT}", image),
    )
    eventually(lambda: docker("exec", HOST, "docker", "version"), "the host's engine answers", 60)


def stop() -> None:
    """Its engine ends first, since it is the one that removes the cgroups of its containers."""
    if docker("ps", "--quiet", "--filter", f"name=^{HOST}$"):
        docker("exec", HOST, "timeout", "90", "systemctl", "stop", "docker.socket", "docker", check=False)
    docker("rm", "--force", "--volumes", HOST, check=False)


def carry(images: set[str]) -> None:
    """Images, configuration and bundle, as they are here."""
    for packing, unpacking in (
        (("docker", "save", *sorted(images)), ("docker", "load", "--quiet")),
        (
            ("tar", "-C", "/", "--exclude=*.log*", "--exclude=backups", "-c", f"srv/{NAME}", f"var/log/{NAME}"),
            ("tar", "-C", "/", "--numeric-owner", "-x"),
        ),
    ):
        with subprocess.Popen(packing, stdout=subprocess.PIPE) as pack:
            subprocess.run(
                ["docker", "exec", "--interactive", HOST, *unpacking],
                stdin=pack.stdout,
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=300,
            )
        if pack.returncode:
            raise RuntimeError(f"{shlex.join(packing)} ended with {pack.returncode}")


class Compose:
    """Recreation: an api container of another RELEASE_ID replaces the one that runs."""

    title = "docker compose up -d"

    def __init__(self, tag: str, release: str) -> None:
        self.tag, self.release = tag, release

    def __call__(self, *arguments: str, release: str = "") -> str:
        files = ("--file", f"{HOME}/compose.yml", "--file", f"{HOME}/overlay.yml")
        environment = {"API_IMAGE_TAG": self.tag, "RELEASE_ID": release or self.release}
        return inside("docker", "compose", *files, *arguments, **environment)

    def prepare(self, release: str) -> None:
        """A release has a directory of its own for its configuration."""
        inside("cp", "--archive", f"{HOME}/config/api-{self.release}", f"{HOME}/config/api-{release}")

    def change(self, release: str) -> None:
        self("up", "--detach", release=release)


class Swarm:
    """A rolling update of one replica: the new task is healthy before the old one is stopped."""

    title = "docker service update, start-first"

    def __init__(self, definition: dict[str, Any], image: str, release: str) -> None:
        limits = definition["deploy"]["resources"]["limits"]
        health = definition["healthcheck"]["test"][1:]
        # Ready and not only alive, asked for often, so that it is not the health check for which an update waits.
        probe = shlex.join(part.replace("$$", "$").replace("/health/live", "/health/ready") for part in health)
        environment = {**definition["environment"], "RELEASE_ID": release}
        volumes = [volume.replace("${RELEASE_ID:-local}", release).split(":") for volume in definition["volumes"]]
        mounts = [
            f"type=bind,source={source},target={target}" + (",readonly" if mode else "")
            for source, target, *mode in volumes
        ]
        inside(
            *("timeout", "90", "docker", "service", "create", "--quiet", "--no-resolve-image", "--name", "api"),
            *("--network", "swarm"),
            *("--endpoint-mode", "dnsrr", "--update-order", "start-first", "--user", definition["user"]),
            *("--init", "--read-only", "--cap-drop", "ALL", "--stop-grace-period", definition["stop_grace_period"]),
            *("--limit-memory", limits["memory"], "--limit-cpu", limits["cpus"], "--limit-pids", str(limits["pids"])),
            *("--health-cmd", probe, "--health-interval", "1s", "--health-start-interval", "200ms"),
            *("--health-timeout", "5s", "--health-start-period", "20s"),
            *("--mount", "type=tmpfs,target=/tmp,tmpfs-size=16m,tmpfs-mode=1777"),
            *(part for mount in mounts for part in ("--mount", mount)),
            *(part for key, value in environment.items() for part in ("--env", f"{key}={value}")),
            *(image, *definition["command"]),
        )

    def prepare(self, release: str) -> None:
        """Nothing: every release has the configuration of the first one."""

    def change(self, release: str) -> None:
        inside("timeout", "90", "docker", "service", "update", "--quiet", "--env-add", f"RELEASE_ID={release}", "api")


@contextlib.contextmanager
def host(release: str, image: str, folder: Path) -> Iterator[Iterator[Compose | Swarm]]:
    """The same stack on a host of its own; gives what can change the release there, one after the other."""
    rendered = folder / "compose.yml"
    # Whoever sees a play fail wants to read what it said.
    made = play(playbook="playbooks/compose.yml", compose_file=str(rendered))
    if made.code:
        raise RuntimeError(made.tail)
    services = yaml.safe_load(rendered.read_text())["services"]
    stop()
    try:
        start()
        carry({image, *(entry["image"] for name, entry in services.items() if name != "api")})
        inside("tee", f"{HOME}/compose.yml", text=rendered.read_text())
        inside("tee", f"{HOME}/overlay.yml", text=(HERE / "overlay.yml").read_text())
        # Where the API is found, and who may use the database, is all that differs.
        landed, by_slot = inside("cat", SERVED), "proxy_pass http://$slot;"
        if landed.count(by_slot) != 1:
            raise RuntimeError(f"{SERVED} does not name {by_slot} once, so nothing can stand in its place:\n{landed}")
        inside("tee", SERVED, text=landed.replace(by_slot, (HERE / "by_name.conf").read_text()))
        inside("tee", "--append", ACCESS, text=f"host all all {SUBNET} scram-sha-256\n")
        inside("docker", "swarm", "init", "--advertise-addr", "eth0")
        overlay = ("--driver", "overlay", "--attachable", "--internal", "--subnet", SUBNET)
        inside("docker", "network", "create", *overlay, "swarm")
        yield _schemes(services["api"], release, image)
    finally:
        stop()


def _schemes(definition: dict[str, Any], release: str, image: str) -> Iterator[Compose | Swarm]:
    compose = Compose(image.rpartition(":")[2], release)
    compose("up", "--detach", "postgres", "redis")
    postgres = f"{NAME}-postgres"
    eventually(lambda: inside("docker", "exec", postgres, "sh", "/etc/sixty/current/bootstrap.sh"), "a database", 60)
    for command in (("src/migrate.js",), ("src/seed.js", "--rows", "3000")):
        compose("run", "--rm", "api", "node", *command)
    compose("up", "--detach")
    _serves(release)
    yield compose
    compose("rm", "--stop", "--force", "api")
    swarm = Swarm(definition, image, release)
    _serves(release)
    yield swarm


def _serves(release: str) -> None:
    with Outside(HOST_PORT, PATHS) as outside:
        outside.wait(release, 90)
    # What was started has calmed down.
    time.sleep(3)
