# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack under test: its plays, its containers, a picture of all that a deploy may touch, and load on it.

It is the local inventory's stack. SIXTY_TEST_SETTINGS, a JSON object of variables, makes it another one beside it:
``{"stack_name": "trial", "stack_subnet_prefix": "10.87", "nginx_http_port": 8087}``. Everything needs root.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import stack_host

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "inventories/local"
DOCUMENTED = ROOT / "roles/memory_budget/vars/main/documented.yml"
BUDGET: dict[str, Any] = yaml.safe_load(DOCUMENTED.read_text())["__memory_budget_documented"]
SETTINGS: dict[str, Any] = json.loads(os.environ.get("SIXTY_TEST_SETTINGS", "{}"))
# A test that is not about the watch waits for a short one only.
WATCH: dict[str, Any] = {"release_watch_seconds": 3, "release_watch_period": 1}
NAME = SETTINGS.get("stack_name", "sixty")
SUBNETS = SETTINGS.get("stack_subnet_prefix", "10.60")
PORT = SETTINGS.get("nginx_http_port", 80)
HOME = Path("/srv") / NAME
# Requests from this machine reach nginx from the gateway of a bridge, so one address stands for all clients.
UNLIMITED = {"nginx_rate_limit_exempt": [f"{SUBNETS}.0.0/16"]}


# -- plays


class Play(NamedTuple):
    """A play that ended."""

    code: int
    text: str

    @property
    def said(self) -> str:
        """What a person reads, without line breaks, so that a wrapped sentence is still one."""
        return " ".join(self.text.split())

    @property
    def tail(self) -> str:
        return "\n".join(["", *self.text.splitlines()[-60:]])

    @property
    def recap(self) -> Counter[str]:
        """The numbers of all hosts together: ok, changed, failed ..."""
        numbers: Counter[str] = Counter()
        for name, number in re.findall(r"(\w+)=(\d+)", self.text.rpartition("PLAY RECAP")[2]):
            numbers[name] += int(number)
        assert numbers, self.tail
        return numbers

    @property
    def changed(self) -> list[str]:
        """The tasks that changed something, without their role."""
        tasks = re.split(r"^TASK \[(?:[\w.]+ : )?(.*)\] \**$", self.text, flags=re.MULTILINE)
        return [name for name, text in zip(tasks[1::2], tasks[2::2]) if re.search(r"^changed: ", text, re.MULTILINE)]

    @property
    def differences(self) -> list[str]:
        """Lines that a diff takes out or puts in, without the names of the two sides."""
        return [
            line
            for line in self.text.splitlines()
            if re.match(r"[+-]", line) and not re.match(r"(\+\+\+|---) (before|after)", line)
        ]


def play(
    *arguments: str,
    inventory: Path = LOCAL,
    playbook: str = "deploy.yml",
    prefix: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    **variables: Any,
) -> Play:
    """Run a playbook on the stack, with prefix before the command, and more environment and variables.

    A deploy leaves the monitoring as it is, which would cost a test ten seconds, unless the test chooses its tags.
    """
    if playbook == "deploy.yml" and not any(argument.startswith(("--tags", "--skip-tags")) for argument in arguments):
        arguments = ("--skip-tags=monitoring", *arguments)
    command = [*prefix, str(Path(sys.executable).with_name("ansible-playbook")), "--inventory", str(inventory)]
    command += ["--extra-vars", json.dumps({**WATCH, **SETTINGS, **variables}), *arguments, playbook]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return Play(ended.returncode, ended.stdout)


def deploy(*arguments: str, **options: Any) -> Play:
    """A play that has to succeed."""
    ended = play(*arguments, **options)
    assert ended.code == 0, ended.tail
    return ended


def refused(*parts: str, arguments: tuple[str, ...] = (), **options: Any) -> Play:
    """A play that has to stop, and to say each of the parts."""
    ended = play(*arguments, **options)
    assert ended.code != 0 and ended.recap["failed"] == 1, ended.tail
    for part in parts:
        assert part in ended.said, f"{part!r} is not in:{ended.tail}"
    return ended


# -- the engine


def docker(*arguments: str, text: str | None = None, check: bool = True) -> str:
    """Output of a docker command, its errors among it."""
    ended = subprocess.run(
        ["docker", *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert not check or ended.returncode == 0, ended.stdout
    return ended.stdout.strip()


def info() -> dict[str, Any]:
    return json.loads(docker("info", "--format", "{{json .}}"))


def inspect(name: str) -> dict[str, Any]:
    return json.loads(docker("inspect", "--type", "container", name))[0]


def containers(stack: str = NAME, *arguments: str) -> list[dict[str, Any]]:
    """The stack's containers as the engine has them; all of them with --all."""
    found = docker("ps", "--quiet", "--filter", f"label=sixty.stack={stack}", *arguments).split()
    return [inspect(name) for name in found]


def routed() -> str:
    """Id of the release that the route leads to."""
    return os.readlink(HOME / "route/active").rpartition("/")[2]


def container(service: str) -> str:
    """Name of a service's running container."""
    return f"{NAME}-api-{routed()}" if service == "api" else f"{NAME}-{service}"


def run_in(service: str, *command: str) -> str:
    """Output of a command in a service's container, run as its own user."""
    return docker("exec", container(service), *command)


def sql(statement: str) -> str:
    command = ("psql", "--username=postgres", "--dbname=sixty", "--tuples-only", "--no-align", "--command", statement)
    return run_in("postgres", *command)


# -- a picture of all that a deploy may touch


def _files(path: Path) -> dict[str, tuple[Any, ...]]:
    """Path -> what identifies its state, but for a directory's time, which moves when something was staged in it."""
    found = {}
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        with contextlib.suppress(FileNotFoundError):
            status = entry.lstat()
            state: tuple[Any, ...] = (oct(status.st_mode), status.st_uid, status.st_gid)
            if entry.is_symlink():
                state += (os.readlink(entry),)
            if not entry.is_dir():
                state += (status.st_ino, status.st_size, status.st_mtime_ns)
            found[str(entry)] = state
    # Whoever looks takes the lock.
    found.pop(str(path / ".switch.lock"), None)
    return found


def snapshot(stack: str = NAME) -> dict[str, Any]:
    """Containers with their limits, networks, volumes, directories, cgroups and settings; empty for no stack."""
    engine, taken = info(), {}
    for entry in containers(stack, "--all"):
        state, networks = entry["State"], entry["NetworkSettings"]["Networks"]
        taken[f"container {entry['Name']}"] = (
            *(entry["Id"], state["Status"], state["StartedAt"], entry["RestartCount"], entry["HostConfig"]),
            {name: (network["NetworkID"], network["IPAddress"]) for name, network in networks.items()},
        )
    for kind in ("network", "volume"):
        listed = docker(kind, "ls", "--format", "{{json .}}", "--filter", f"name={stack}-").splitlines()
        for entry in map(json.loads, listed):
            if entry["Name"].startswith(f"{stack}-"):
                taken[f"{kind} {entry['Name']}"] = entry.get("ID", entry.get("Mountpoint"))
    version = int(engine.get("CgroupVersion") or 1)
    parent = Path(stack_host.parent_directory(stack, engine["CgroupDriver"], version))
    for directory in filter(Path.is_dir, [parent, *parent.rglob("*")]):
        for name in ("memory.soft_limit_in_bytes", "memory.low", *filter(None, stack_host.limit_files(version))):
            with contextlib.suppress(FileNotFoundError):
                taken[f"cgroup {directory / name}"] = (directory / name).read_text()
    systemd = "/etc/systemd/system"
    for path in (
        *(f"/srv/{stack}", f"/var/log/{stack}", f"/etc/sysctl.d/60-{stack}.conf", f"/etc/logrotate.d/{stack}"),
        *(f"{systemd}/{stack}.slice", f"{systemd}/logrotate.timer.d/{stack}.conf"),
    ):
        taken.update(_files(Path(path)))
    # Logs are written all the time.
    return {key: value for key, value in taken.items() if not key.startswith(f"/var/log/{stack}/")}


@contextlib.contextmanager
def untouched(*stacks: str) -> Iterator[None]:
    """Whatever happens inside changes nothing of these stacks, by default the one under test, nor of the engine."""

    def look() -> dict[str, Any]:
        taken = {key: value for stack in stacks or (NAME,) for key, value in snapshot(stack).items()}
        taken["overcommit"] = Path("/proc/sys/vm/overcommit_memory").read_text()
        return {**taken, **_files(Path("/etc/docker/daemon.json"))}

    before = look()
    yield
    after = look()
    differ = {
        key: (before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }
    assert not differ, differ


# -- requests


class Answer(NamedTuple):
    """An answer over HTTP; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def release(self) -> str:
        return self.headers.get("x-release", "")


def ask(
    path: str, method: str = "GET", data: Any = None, connection: http.client.HTTPConnection | None = None
) -> Answer:
    """One request to the stack, as JSON, on a connection of its own unless one is given."""
    with contextlib.ExitStack() as stack:
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
            stack.callback(connection.close)
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        connection.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
        response = connection.getresponse()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())


def eventually(check: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """The first true result of a check; one that cannot be asked yet counts as false."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            if result := check():
                return result
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.25)


def serves() -> bool:
    """Page and data, five times in a row; nobody has asked for these data before, so they are in no cache."""
    return all(ask(path).status == 200 for _ in range(5) for path in ("/", f"/api/deals?q={uuid.uuid4()}"))


class Request(NamedTuple):
    """A request of the load: when it was sent and how long it took in seconds, and what became of it."""

    sent: float
    seconds: float
    kind: str
    outcome: str
    release: str


class Load:
    """A hundred requests a second or another bounded rate, while the block lasts: pages, lists and writes.

    Half of the clients keep their connection, half open one for each request. A client that waits for an answer
    sends nothing, as a person would. Rows whose creation was acknowledged are remembered.
    """

    MARK = "load of the integration tests"
    CLIENTS = 40
    # Of ten requests.
    MIX = ("page", "list", "list", "summary", "page", "list", "one", "write", "page", "list")

    def __init__(self, rate: int = 100) -> None:
        self.pause = self.CLIENTS / rate
        self.requests: list[Request] = []
        self.acknowledged: list[int] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(self.CLIENTS)]

    def __enter__(self) -> Load:
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        keeps = number % 2 == 0
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        turn = number
        due = self.began + self.pause * number / self.CLIENTS
        while not self._over.wait(max(0.0, due - time.monotonic())):
            kind, turn = self.MIX[turn % len(self.MIX)], turn + 1
            sent = time.monotonic()
            outcome, release = self._request(connection, kind)
            taken = time.monotonic() - sent
            self.requests.append(Request(sent - self.began, taken, kind, outcome, release))
            if not keeps or outcome != "ok":
                connection.close()
            due = max(due + self.pause, time.monotonic())
        connection.close()

    def _request(self, connection: http.client.HTTPConnection, kind: str) -> tuple[str, str]:
        try:
            if kind == "write":
                answer = ask("/api/deals", "POST", {"name": self.MARK, "company": "x", "owner": "x"}, connection)
                if answer.status == 201:
                    self.acknowledged.append(json.loads(answer.body)["id"])
            else:
                page = len(self.requests) % 50 + 1
                paths = {
                    **{"page": "/", "list": f"/api/deals?page={page}", "summary": "/api/summary"},
                    "one": f"/api/deals?q=a&page={page}",
                }
                answer = ask(paths[kind], connection=connection)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, ""
        expected = 201 if kind == "write" else 200
        return ("ok" if answer.status == expected else f"HTTP {answer.status}"), answer.release

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if request.outcome != "ok"]

    def is_well(self, since: float) -> bool:
        """For three seconds, all after a moment, requests of every kind were answered and none failed."""
        start = time.monotonic() - 3
        ended = [r for r in list(self.requests) if self.began + r.sent + r.seconds > start]
        return start > since and {(r.kind, r.outcome) for r in ended} == {(kind, "ok") for kind in self.MIX}

    def report(self) -> dict[str, Any]:
        """What it came to, in numbers; times are seconds from the load's begin."""
        failed, times = self.failed, sorted(request.seconds for request in self.requests)
        since = [request.sent for request in failed]
        return {
            "requests": len(self.requests),
            "seconds": round(max(request.sent for request in self.requests), 1),
            "failed": len(failed),
            "failed_by_kind": dict(Counter(f"{request.kind}: {request.outcome}" for request in failed)),
            "failed_from_to": [round(min(since), 1), round(max(since), 1)] if since else [],
            "slowest_seconds": round(times[-1], 2),
            "p99_seconds": round(times[int(len(times) * 0.99)], 3),
            "rows_acknowledged": len(self.acknowledged),
        }

    def lost(self) -> list[int]:
        """Rows that were acknowledged and are not there."""
        kept = {int(line) for line in sql(f"SELECT id FROM deals WHERE name = '{self.MARK}'").split()}
        return sorted(set(self.acknowledged) - kept)

    @classmethod
    def clear(cls) -> None:
        """Take the load's rows out again."""
        sql(f"DELETE FROM deals WHERE name = '{cls.MARK}'")


@contextlib.contextmanager
def breakage(name: str) -> Iterator[Load]:
    """A hundred requests a second around what the block breaks, until all is well again; and no row is lost."""
    with Load() as load:
        eventually(lambda: load.is_well(load.began), "the load is served before anything breaks")
        assert load.failed == [], load.report()
        yield load
        mended = eventually(lambda: serves() and time.monotonic(), "page and data are served again")
        eventually(lambda: load.is_well(mended), "the load is served again")
    report = load.report()
    path = ROOT / ".dev/reports/recovery.json"
    path.parent.mkdir(exist_ok=True)
    reports = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**reports, name: report}, indent=2, sort_keys=True) + "\n")
    print(name, json.dumps(report, indent=1))
    assert load.acknowledged and load.lost() == [], "acknowledged rows are gone"
