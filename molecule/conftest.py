# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' tests share: the host's containers as the engine and the kernel see them, and the play."""

from __future__ import annotations

import http.client
import inspect
import json
import os
import re
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
INVENTORY = PROJECT / "molecule" / "inventory" / f"{os.environ.get('MOLECULE_DEBIAN') or 'bookworm'}.yml"


class Kernel:
    """The files of one cgroup, on either version of the hierarchy, inside the host.

    Args:
        host: testinfra's host.
        paths: cgroup path of each v1 controller; on v2 all of them are under the empty name.
    """

    def __init__(self, host: Any, paths: dict[str, str]) -> None:
        self.host = host
        self.paths = paths
        self.v2 = "memory" not in paths

    def read(self, controller: str, name_v1: str, name_v2: str) -> str:
        """Content of a file, under the name that this version gives it."""
        if self.v2:
            return self.host.file(f"/sys/fs/cgroup{self.paths['']}/{name_v2}").content_string.strip()
        # A controller may be mounted together with another: cpu,cpuacct.
        [joint] = [names for names in self.paths if controller in names.split(",")]
        return self.host.file(f"/sys/fs/cgroup/{controller}{self.paths[joint]}/{name_v1}").content_string.strip()

    @property
    def memory(self) -> int:
        return int(self.read("memory", "memory.limit_in_bytes", "memory.max"))

    @property
    def unreclaimable(self) -> int:
        """Usage without file pages, which the kernel takes back when it needs the room."""
        stat = dict(line.split() for line in self.read("memory", "memory.stat", "memory.stat").splitlines())
        of_all = "" if self.v2 else "total_"
        used = int(self.read("memory", "memory.usage_in_bytes", "memory.current"))
        return used - int(stat[f"{of_all}inactive_file"]) - int(stat[f"{of_all}active_file"])

    @property
    def swap(self) -> int:
        """Swap on top of memory, in bytes."""
        value = int(self.read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"))
        return value if self.v2 else value - self.memory

    @property
    def reservation(self) -> int:
        return int(self.read("memory", "memory.soft_limit_in_bytes", "memory.low"))

    @property
    def pids(self) -> int:
        return int(self.read("pids", "pids.max", "pids.max"))

    @property
    def cpus(self) -> float:
        if self.v2:
            quota, period = self.read("cpu", "", "cpu.max").split()
        else:
            quota = self.read("cpu", "cpu.cfs_quota_us", "")
            period = self.read("cpu", "cpu.cfs_period_us", "")
        return int(quota) / int(period)


class Container:
    """A container of the stack: what the engine says of it, and a shell in it."""

    def __init__(self, host: Any, name: str, service: str) -> None:
        self.host = host
        self.name = name
        self.service = service

    @cached_property
    def inspect(self) -> dict[str, Any]:
        return self.host.docker(self.name).inspect()

    def now(self, template: str) -> str:
        """What the engine says at this moment, as a Go template."""
        return self.host.check_output("docker inspect --format %s %s", template, self.name)

    @property
    def host_config(self) -> dict[str, Any]:
        return self.inspect["HostConfig"]

    @cached_property
    def kernel(self) -> Kernel:
        """The cgroup in which the kernel runs its first process."""
        lines = self.host.file(f"/proc/{self.inspect['State']['Pid']}/cgroup").content_string.splitlines()
        return Kernel(self.host, {names: path for _number, names, path in (line.split(":", 2) for line in lines)})

    def run(self, *argv: str) -> Any:
        """Run a command in it as its own user; gives testinfra's result."""
        return self.host.run(f"docker exec {self.name} {shlex.join(argv)}")

    @property
    def status(self) -> dict[str, str]:
        """/proc/<pid>/status of its service, the child of the init process."""
        init = self.inspect["State"]["Pid"]
        child = self.host.check_output("pgrep --parent %s", str(init)).split()[0]
        lines = self.host.file(f"/proc/{child}/status").content_string.splitlines()
        return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}

    def output(self, *argv: str) -> str:
        """Output of a command in it that has to succeed."""
        result = self.run(*argv)
        assert result.rc == 0, f"{argv} ended with {result.rc}: {result.stdout}{result.stderr}"
        return result.stdout.strip()

    def connects(self, address: str, port: int) -> bool:
        """Does a TCP connection from inside of it succeed within two seconds?"""
        return self.run("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}").rc == 0


class Recap(NamedTuple):
    """The end of a play."""

    output: str
    changed: int


# What a scenario runs; those that are not listed run the service that they are named after.
TIER = ["postgres", "redis", "nginx", "api"]
EXPORTERS = ["redis_exporter", "postgres_exporter", "nginx_exporter"]
WATCHERS = ["memory_monitor", *EXPORTERS, "alertmanager", "prometheus"]
# Their images are pulled, where a registry answers.
PULLED = ["loki", "fluent_bit", "grafana"]
REGISTRY = os.environ.get("MOLECULE_REGISTRY") == "1"
SCENARIOS = {
    "docker_host": [],
    "default": [*TIER, *WATCHERS, *(PULLED if REGISTRY else [])],
    "api": TIER,
    "blue_green": TIER,
    "rollback": TIER,
    "upgrade": TIER,
    "exporters": ["postgres", "redis", "nginx", *EXPORTERS],
    "backup": ["postgres"],
    "prometheus": ["memory_monitor", "alertmanager", "prometheus"],
    "logs": ["loki", "fluent_bit"],
}
SERVICES = SCENARIOS.get(SCENARIO.name, [SCENARIO.name])


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """What all scenarios share comes first: a scenario's own tests may leave the host changed."""
    items.sort(key=lambda item: SCENARIO in item.path.parents)
    if not REGISTRY and SCENARIO.name != "default" and set(SERVICES) & set(PULLED):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="its images come from a registry: MOLECULE_REGISTRY=1"))


@pytest.fixture(scope="session")
def budget() -> dict[str, Any]:
    """The documented budget, which the hosts use without overrides."""
    path = PROJECT / "roles/memory_budget/vars/main/documented.yml"
    return yaml.safe_load(path.read_text())["__memory_budget_documented"]


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """The passwords of the inventory."""
    return yaml.safe_load((INVENTORY.parent / "group_vars/stack.yml").read_text())["stack_secrets"]


@pytest.fixture(scope="module")
def stack(host: Any) -> str:
    """The stack's name, which the inventory derives from the host's suite."""
    return f"molecule_{host.ansible.get_variables()['molecule_suite']}"


@pytest.fixture(scope="module")
def containers(host: Any, stack: str) -> dict[str, Container]:
    """Service to its running container."""
    command = "docker ps --filter label=sixty.stack=%s --format '{{.Label \"sixty.service\"}} {{.Names}}'"
    rows = [line.split() for line in host.check_output(command, stack).splitlines()]
    assert sorted(service for service, _name in rows) == sorted(SERVICES)
    return {service: Container(host, name, service) for service, name in rows}


@pytest.fixture(scope="module", params=SERVICES)
def each(request: Any, containers: dict[str, Container]) -> Container:
    """Each container of the scenario in turn."""
    return containers[request.param]


@pytest.fixture
def container(host: Any, stack: str) -> Container:
    """The container of the service that the scenario is named after, looked at anew in every test."""
    return Container(host, f"{stack}-{SCENARIO.name}", SCENARIO.name)


@pytest.fixture(scope="module")
def address(host: Any) -> str:
    """The host's address, as others reach it."""
    return next(found for found in host.interface("eth0").addresses if "." in found)


@pytest.fixture(scope="module")
def play(host: Any) -> Callable[..., Recap]:
    """Run the scenario's play again, on this host: play("--check", some_variable=1).

    It has to succeed, or with fails=True to fail. With playbook=<path from the scenario's folder> it is another play.
    """

    def run(*arguments: str, fails: bool = False, playbook: str = "converge.yml", **variables: Any) -> Recap:
        command = ["ansible-playbook", f"--inventory={INVENTORY}", f"--limit={host.backend.host}"]
        # As Molecule itself does.
        command += [*([] if SCENARIO.name == "default" else ["--skip-tags=monitoring"]), *arguments]
        command += ["--extra-vars", json.dumps(variables), playbook]
        # Molecule asks for colours, which the recap would have between its words.
        environment = os.environ | {"ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
        done = subprocess.run(command, cwd=SCENARIO, env=environment, capture_output=True, text=True, timeout=300)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        [changed] = re.findall(r"^\S+ +: ok=\d+ +changed=(\d+) ", done.stdout, re.MULTILINE)
        return Recap(done.stdout, int(changed))

    return run


def eventually(check: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true result of a check, asked twice a second; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < end, f"not within {seconds} s: {inspect.getsource(check).strip()}"
        time.sleep(0.5)
    return result


@pytest.fixture(name="eventually", scope="session")
def eventually_fixture() -> Callable[..., Any]:
    return eventually


class Answer(NamedTuple):
    """An answer over HTTP; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def ask(address: str) -> Callable[..., Answer]:
    """Ask the host over HTTP, from outside of it: ask("/api/deals", method="POST", data={...})."""

    def request(path: str, method: str = "GET", data: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(address, 80, timeout=10)
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        if body is not None:
            fields.setdefault("content-type", "application/json")
        try:
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            answered = {key.lower(): value for key, value in response.getheaders()}
            return Answer(response.status, answered, response.read())
        finally:
            connection.close()

    return request


@pytest.fixture(scope="module")
def reachable(address: str) -> Callable[[int], bool]:
    """Does a port of the host accept connections from outside?"""

    def connect(port: int) -> bool:
        try:
            socket.create_connection((address, port), timeout=2).close()
        except OSError:
            return False
        return True

    return connect


@pytest.fixture(scope="module")
def asks(host: Any) -> Callable[[str], str]:
    """Ask a port of the host from the host itself, where what watches is published: asks("9090/-/ready")."""
    return lambda path: host.check_output(
        "curl --fail --silent --show-error --max-time 5 %s", f"http://127.0.0.1:{path}"
    )


@pytest.fixture
def asked(ask: Callable[..., Answer]) -> Iterator[Callable[[], list[Answer]]]:
    """Requests all the while, below the rate that nginx allows one address; their answers afterwards.

    A request without an answer has the status 0 and says why in its body.
    """
    stop, answers = threading.Event(), []

    def client() -> None:
        while not stop.wait(0.2):
            try:
                answers.append(ask("/api/release"))
            except (OSError, http.client.HTTPException) as error:
                answers.append(Answer(0, {}, repr(error).encode()))

    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in clients:
        thread.start()

    def end() -> list[Answer]:
        stop.set()
        for thread in clients:
            thread.join()
        return answers

    yield end
    end()


@pytest.fixture
def routed(host: Any, stack: str) -> Callable[[], str]:
    """The release that nginx serves, by the host's own state."""
    return lambda: host.check_output("basename $(readlink /srv/%s/route/active)", stack)


@pytest.fixture
def running(host: Any, stack: str) -> Callable[[], list[str]]:
    """Names of the API's containers."""
    names = "docker ps --filter label=sixty.stack=%s --filter label=sixty.service=api --format '{{.Names}}'"
    return lambda: host.check_output(names, stack).split()
