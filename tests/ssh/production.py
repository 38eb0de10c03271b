# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator of inventories/production has and does, for a host on 127.0.0.1 that is reached over SSH alone.

An operator has a clone, the inventory filled in as the README says, a Vault whose password is in a file, a key, the
host's own key, and a certificate. The host has nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import ROOT, Play

NAME = "production.test"
README = ROOT / "README.md"
# Images that no closed network has.
WITHOUT_REGISTRY = {"image_optional": ["grafana", "loki", "fluent_bit"]}


class Host(NamedTuple):
    """A host on 127.0.0.1: ports, and files with the operator's key and with the host's own, which is pinned."""

    ssh: int
    https: int
    key: Path
    host_key: Path
    user: str = "deploy"
    # Of sudo; empty where it asks for none.
    password: str = ""


def run(*command: str | Path, **options: Any) -> str:
    """Standard output of a command that has to succeed."""
    ended = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, **{"timeout": 120, **options}
    )
    assert ended.returncode == 0, f"{shlex.join(str(part) for part in command)}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


class Operator:
    """A clone in a directory, and what is done from it. Each command's time and outcome go into a report."""

    def __init__(self, directory: Path, host: Host, reports: Path, slowness: int = 1) -> None:
        self.directory, self.host, self.reports, self.slowness = directory, host, reports, slowness
        self.clone = directory / "clone"
        self.inventory = self.clone / "inventories/production"
        self.known_hosts = directory / "known_hosts"
        self.authority = directory / "tls/ca.crt"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MAKE", "PYTHON"))},
            "ANSIBLE_VAULT_PASSWORD_FILE": str(directory / "vault-password"),
            "ANSIBLE_NOCOLOR": "1",
            # What Ansible keeps, sockets of connections among it, is this operator's own; a socket's path is short.
            "ANSIBLE_HOME": str(directory / "ansible"),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/sixty-{host.ssh}",
        }
        reports.mkdir(parents=True, exist_ok=True)

    # -- what an operator has

    def prepare(self, **variables: Any) -> None:
        """A clone of this tree, and its production inventory filled in as the README says."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.clone.mkdir(parents=True)
        files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
        there = "\0".join(name for name in files if name and (ROOT / name).is_file())
        packed = self.directory / "clone.tar"
        run("tar", "--create", "--null", "--files-from=-", f"--file={packed}", cwd=ROOT, input=there)
        run("tar", "--extract", f"--file={packed}", cwd=self.clone)
        packed.unlink()
        # What "make setup" and a build have made is the same there, and is not made again.
        (self.clone / ".dev").mkdir()
        for made in ("venv", "build"):
            (ROOT / ".dev" / made).mkdir(exist_ok=True)
            (self.clone / ".dev" / made).symlink_to(ROOT / ".dev" / made)
        self._trust()
        self._certificate()
        self._fill_in(variables)

    def _trust(self) -> None:
        """The host's key, and no other."""
        kind, key, *_ = (self.host.host_key.with_suffix(".pub")).read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.host.ssh} {kind} {key}\n")

    def _certificate(self) -> None:
        """A certificate for the host's name and address, of an authority of its own."""
        tls = self.authority.parent
        tls.mkdir()
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
        run("openssl", *new, "-keyout", tls / "ca.key", "-out", self.authority, "-subj", "/CN=Test authority")
        run(
            *("openssl", *new, "-keyout", tls / "tls.key", "-out", tls / "tls.crt", "-subj", f"/CN={NAME}"),
            *("-CA", self.authority, "-CAkey", tls / "ca.key"),
            *("-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"),
        )

    def _fill_in(self, variables: dict[str, Any]) -> None:
        """The README's steps, its commands as they stand there."""
        variables_dir = self.inventory / "group_vars/stack"
        login = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.host.ssh,
            "ansible_user": self.host.user,
            "ansible_ssh_private_key_file": str(self.host.key),
            "ansible_ssh_common_args": self._ssh_options(),
        }
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"stack": {"hosts": {NAME: login}}}))
        main = variables_dir / "main.yml"
        # The lines about TLS are there, commented out.
        text = re.sub("^# (nginx_tls_)", r"\1", main.read_text(), flags=re.MULTILINE)
        main.write_text(text.replace("dashboard.example.com", NAME))
        shutil.copy(self.authority.parent / "tls.crt", variables_dir)
        more = {
            **WITHOUT_REGISTRY,
            **variables,
        }
        vault = {"vault_nginx_tls_key": (self.authority.parent / "tls.key").read_text()}
        if self.host.password:
            more["ansible_become_password"] = "{{ vault_become_password }}"
            vault["vault_become_password"] = self.host.password
        (variables_dir / "test.yml").write_text(yaml.safe_dump(more))

        (self.directory / "vault-password").write_text(secrets.token_hex(16))
        block = re.search(r"^cp group_vars/stack/vault.*?^done$", README.read_text(), re.MULTILINE | re.DOTALL)
        assert block, "the README has no commands that make a vault"
        run("bash", "-euc", block[0], cwd=self.inventory)
        plain = variables_dir / "vault.yml"
        plain.write_text(plain.read_text() + yaml.safe_dump(vault))
        self.secrets_file.write_text(json.dumps([*self._passwords(yaml.safe_load(plain.read_text()))]))
        run(ROOT / ".dev/venv/bin/ansible-vault", "encrypt", plain, env=self.environment)
        assert plain.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256")

    @property
    def secrets_file(self) -> Path:
        return self.directory / "secrets.json"

    def _passwords(self, vault: dict[str, str]) -> Iterator[str]:
        yield (self.directory / "vault-password").read_text()
        for value in vault.values():
            # A key's first line of its own is as good as all of it.
            yield value.splitlines()[1] if value.startswith("-----") else value

    # -- what an operator does

    def _ssh_options(self) -> str:
        return f"-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"

    def ssh(self, command: str, *, root: bool = True, timeout: int = 120) -> str:
        """Output of a command on the host, over a connection of its own; errors among it."""
        ended = self.try_ssh(f"sudo -S -p '' sh -c {shlex.quote(command)}" if root else command, timeout=timeout)
        assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout.strip()

    def try_ssh(self, command: str, *options: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
        login = ["-i", str(self.host.key), "-p", str(self.host.ssh), "-l", self.host.user]
        login += ["-o", f"ConnectTimeout={10 * self.slowness}", *shlex.split(self._ssh_options())]
        return subprocess.run(
            ["ssh", "-o", "ControlPath=none", "-o", "BatchMode=yes", *options, *login, "127.0.0.1", command],
            input=f"{self.host.password}\n",
            capture_output=True,
            text=True,
            timeout=timeout * self.slowness,
            check=False,
        )

    @contextlib.contextmanager
    def making(self, step: str, target: str, *arguments: str, **variables: Any) -> Iterator[Making]:
        """A target of make while it runs; its output goes to <reports>/<step>.log."""
        given = [*arguments, *(["--extra-vars", json.dumps(variables)] if variables else [])]
        log = self.reports / f"{step}.log"
        began, started = time.time(), time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(
                ["make", *shlex.split(target), f"ARGS={shlex.join(given)}"],
                **{"cwd": self.clone, "env": self.environment, "stdin": subprocess.DEVNULL, "stdout": output},
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            made = Making(process, log)
            try:
                yield made
            finally:
                if process.poll() is None:
                    made.kill()
                self._note(step, made, round(began), round(time.monotonic() - started, 1))

    def make(self, step: str, target: str, *arguments: str, timeout: int = 600, **variables: Any) -> Play:
        """A target of make, to its end."""
        with self.making(step, target, *arguments, **variables) as made:
            made.process.wait(timeout * self.slowness)
        return made.play

    def made(self, step: str, target: str, *arguments: str, **options: Any) -> Play:
        """One that has to succeed."""
        ended = self.make(step, target, *arguments, **options)
        assert ended.code == 0, ended.tail
        return ended

    def deploy(self, step: str, *arguments: str, **options: Any) -> Play:
        return self.made(step, "deploy-production", *arguments, **options)

    def note(self, **facts: Any) -> None:
        """Into the report, which is kept from run to run."""
        path = self.reports / "report.json"
        report = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**report, **facts}, indent=2) + "\n")

    def _note(self, step: str, made: Making, began: int, seconds: float) -> None:
        play = made.play
        recap = play.recap if "PLAY RECAP" in play.text else {}
        numbers = {name: recap[name] for name in ("ok", "changed", "unreachable", "failed") if name in recap}
        self.note(**{step: {"began": began, "seconds": seconds, "exit": play.code, **numbers}})

    def cut_connections(self) -> int:
        """End the ssh processes of this operator, as a cut does: they say 255. How many there were."""
        found = 0
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (directory / "cmdline").read_bytes()
                # The one that others share names its socket alone.
                ours = (str(self.known_hosts), self.environment["ANSIBLE_SSH_CONTROL_PATH_DIR"])
                if command.startswith(b"ssh") and any(mark.encode() in command for mark in ours):
                    os.kill(int(directory.name), signal.SIGTERM)
                    found += 1
        return found

    # -- what clients see

    def ask(self, path: str, method: str = "GET", data: Any = None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of one request over TLS."""
        with contextlib.closing(self.client()) as client:
            return request(client, path, method, data)

    def client(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.authority))
        return http.client.HTTPSConnection("127.0.0.1", self.host.https, context=context, timeout=10 * self.slowness)

    def routed(self) -> str:
        """The release that both page and API are answered by."""
        answers = [self.ask(path) for path in ("/", "/api/release")]
        assert [status for status, _, _ in answers] == [200, 200], answers
        (release,) = {headers.get("x-release", "none") for _, headers, _ in answers}
        return release

    def load(self, rate: float) -> Load:
        return Load(self.client, rate)

    # -- what must not be seen

    def assert_secrets_are_nowhere(self) -> int:
        """In no output of a command, in no log of the host, and in no process; how many bytes that were."""
        where = {path.name: path.read_text() for path in self.reports.glob("*.log")}
        where["journal"] = self.ssh("journalctl --no-pager --quiet")
        # Their own configuration trees alone hold secrets, as files that a service's group reads.
        where["engine"] = self.ssh("docker inspect $(docker ps --all --quiet)")
        where["processes"] = self.ssh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        where["state"] = self.ssh("find /srv -maxdepth 3 -name '*.json*' -exec cat {} +")
        where["jobs"] = self.ssh("cat /root/.ansible_async/* /home/*/.ansible_async/* 2>/dev/null || true")
        known = json.loads(self.secrets_file.read_text())
        found = {place for place, text in where.items() for secret in known if secret in text}
        assert not found, f"a secret is in {sorted(found)}"
        return sum(map(len, where.values()))


class Making:
    """A target of make that runs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def play(self) -> Play:
        return Play(self.process.poll() if self.process.poll() is not None else -1, self.log.read_text())

    def wait_for(self, text: str, seconds: float) -> None:
        """Until its output has a text; it must not end before."""
        eventually(lambda: text in self.log.read_text() or self.process.poll() is not None, f"{text!r}", seconds)
        assert text in self.log.read_text(), self.play.tail

    def kill(self) -> None:
        """The whole of it, at once, as a control machine that is switched off."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def eventually(check: Callable[[], Any], what: str, seconds: float) -> Any:
    """The first true result of a check; one that fails counts as false."""
    end = time.monotonic() + seconds
    problem: Exception | None = None
    while True:
        try:
            if result := check():
                return result
        except (OSError, AssertionError, http.client.HTTPException, subprocess.TimeoutExpired) as error:
            problem = error
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}; {problem or 'it is not so'}"
        time.sleep(0.5)


def request(
    client: http.client.HTTPConnection, path: str, method: str = "GET", data: Any = None
) -> tuple[int, dict[str, str], bytes]:
    headers = {"Host": NAME, **({"Content-Type": "application/json"} if data is not None else {})}
    client.request(method, path, None if data is None else json.dumps(data).encode(), headers)
    answer = client.getresponse()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()


class Load:
    """Requests over TLS at a bounded rate while the block lasts: pages, lists, summaries and writes.

    Half of the clients keep their connection. What a person's address may ask for, below /api/, is not exceeded: the
    limits of the inventory are in force.
    """

    CLIENTS = 8
    MIX = ("page", "list", "page", "summary", "page", "list", "page", "write")
    MARK = "load of the production path"

    def __init__(self, connect: Callable[[], http.client.HTTPSConnection], rate: float) -> None:
        assert rate <= 30, "half of it is below /api/, where 20 a second are allowed"
        self.connect, self.pause = connect, self.CLIENTS / rate
        self.answers: list[tuple[float, float, str, str]] = []  # begun, seconds, outcome, release
        self.acknowledged: set[int] = set()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.CLIENTS)]

    def __enter__(self) -> Load:
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        client, turn = self.connect(), number
        due = self.began + self.pause * number / self.CLIENTS
        while not self._over.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            outcome, release = self._ask(client, self.MIX[turn % len(self.MIX)])
            self.answers.append((begun - self.began, time.monotonic() - begun, outcome, release))
            if number % 2 or outcome != "ok":
                client.close()
            turn, due = turn + 1, max(due + self.pause, time.monotonic())
        client.close()

    def _ask(self, client: http.client.HTTPSConnection, kind: str) -> tuple[str, str]:
        try:
            if kind == "write":
                row = {"name": self.MARK, "company": "x", "owner": "x"}
                status, headers, body = request(client, "/api/deals", "POST", row)
                if status == 201:
                    self.acknowledged.add(json.loads(body)["id"])
            else:
                page = len(self.answers) % 40 + 1
                paths = {"page": "/", "list": f"/api/deals?page={page}", "summary": "/api/summary"}
                status, headers, _ = request(client, paths[kind])
        except (OSError, http.client.HTTPException) as error:
            return f"{kind}: {type(error).__name__} {error}", ""
        wanted = 201 if kind == "write" else 200
        return "ok" if status == wanted else f"{kind}: HTTP {status}", headers.get("x-release", "")

    @property
    def failed(self) -> Counter[str]:
        return Counter(outcome for _, _, outcome, _ in self.answers if outcome != "ok")

    @property
    def releases(self) -> set[str]:
        return {release for _, _, outcome, release in self.answers if outcome == "ok"}

    def report(self) -> dict[str, Any]:
        times = sorted(seconds for _, seconds, _, _ in self.answers)
        return {
            "requests": len(times),
            "failed": sum(self.failed.values()),
            "failed_by_kind": dict(self.failed),
            "releases": sorted(self.releases),
            "p50_ms": round(times[len(times) // 2] * 1000),
            "p99_ms": round(times[int(len(times) * 0.99)] * 1000),
            "max_ms": round(times[-1] * 1000),
            "rows_acknowledged": len(self.acknowledged),
        }
