# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Fluent Bit with the role's configuration and limits, and an endpoint that takes what it pushes.

The image is SIXTY_FLUENT_BIT_IMAGE, by default the one that the stack pins; it has to be on this machine.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.fluent_bit.rendered import ROOT, render

PINNED = yaml.safe_load((ROOT / "roles/stack/defaults/main.yml").read_text())["stack_registry_images"]["fluent_bit"]
IMAGE = os.environ.get("SIXTY_FLUENT_BIT_IMAGE", PINNED)
PREFIX = f"t-fluent-{uuid.uuid4().hex[:8]}"
BUDGET = yaml.safe_load((ROOT / "roles/memory_budget/vars/main/documented.yml").read_text())[
    "__memory_budget_documented"
]
SERVICE = BUDGET["services"]["fluent_bit"]
UID, GID = 10002, 4


def docker(*arguments: str) -> str:
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def eventually(condition: Callable[[], Any], seconds: float = 20, hint: Callable[[], object] = lambda: "") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {hint()}"
        time.sleep(0.1)


class Entry(NamedTuple):
    labels: dict[str, str]
    nanoseconds: int
    line: dict[str, Any]


class Loki(ThreadingHTTPServer):
    """The push endpoint of Loki; answers with `status`, and keeps what it took."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), Push)
        self.status = 204
        self.refused = 0
        self.taken: list[Entry] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def lines(self, service: str) -> list[dict[str, Any]]:
        return [entry.line for entry in list(self.taken) if entry.labels["service"] == service]


class Push(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Loki

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read ``taken`` instead."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        status = self.server.status if self.path == "/loki/api/v1/push" else 404
        if status == 204:
            for stream in json.loads(body)["streams"]:
                self.server.taken += [
                    Entry(stream["stream"], int(at), json.loads(line)) for at, line in stream["values"]
                ]
        else:
            self.server.refused += 1
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Shipper:
    """The container, with the log directory and the state as on a host."""

    def __init__(self, base: Path, network: str, loki: Loki) -> None:
        self.name, self.loki = f"{PREFIX}-{uuid.uuid4().hex[:6]}", loki
        self.logs = {name: base / "logs" / name for name in ("nginx", "api")}
        state, config = base / "state", base / "config"
        for path in (*self.logs.values(), state, config / "current"):
            path.mkdir(parents=True)
            os.chown(path, UID if path == state else 0, GID)
            path.chmod(0o700 if path == state else 0o2750 if path in self.logs.values() else 0o755)
        for path in (base, base.parent, base / "logs", config):
            path.chmod(0o755)
        host, port = loki.server_address[:2]
        text = render(base, {"fluent_bit_loki_host": host, "fluent_bit_loki_port": port})["fluent-bit.yaml"]
        (config / "current/fluent-bit.yaml").write_text(text)
        docker(
            *(
                "create",
                "--pull",
                "never",
                "--name",
                self.name,
                "--network",
                network,
                "--user",
                f"{UID}:{GID}",
                "--read-only",
                "--init",
            ),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=4m"),
            *("--memory", SERVICE["limit"], "--memory-swap", SERVICE["limit"], "--cpus", str(SERVICE["cpus"])),
            *("--pids-limit", str(SERVICE["pids_limit"]), "--volume", f"{config}:/etc/sixty:ro"),
            *("--volume", f"{base}/logs:/var/log/sixty:ro", "--volume", f"{state}:/data", IMAGE),
            *("-c", "/etc/sixty/current/fluent-bit.yaml"),
        )

    @property
    def files(self) -> dict[str, Path]:
        return {"nginx": self.logs["nginx"] / "access.log", "api": self.logs["api"] / "api.log"}

    def write(self, service: str, *lines: object) -> None:
        path = self.files[service]
        with path.open("a") as log:
            log.writelines(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
        path.chmod(0o640)
        os.chown(path, 0, GID)

    def rotate(self, service: str) -> None:
        """As logrotate's copytruncate does."""
        path = self.files[service]
        path.with_name(f"{path.name}.1").write_bytes(path.read_bytes())
        os.truncate(path, 0)

    def start(self) -> None:
        docker("start", self.name)
        eventually(lambda: self.get("/api/v1/health") == "ok\n", 10, self.output)

    def stop(self, signal: str = "TERM") -> None:
        docker("kill", "--signal", signal, self.name)
        docker("wait", self.name)

    def inspect(self, form: str) -> str:
        return docker("inspect", "--format", form, self.name)

    def output(self) -> str:
        return subprocess.run(("docker", "logs", self.name), capture_output=True, text=True, timeout=60).stderr[-4000:]

    def get(self, path: str) -> str:
        address = self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
        try:
            with urllib.request.urlopen(f"http://{address}:2020{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def memory(self) -> dict[str, int]:
        """Bytes of its cgroup: the peak, page cache and all, and what cannot be reclaimed now."""
        lines = Path(f"/proc/{self.inspect('{{.State.Pid}}')}/cgroup").read_text().splitlines()
        paths = dict(line.split(":", 2)[1:] for line in lines)
        if "memory" in paths:
            group = Path("/sys/fs/cgroup/memory") / paths["memory"].lstrip("/")
            peak, usage = group / "memory.max_usage_in_bytes", group / "memory.usage_in_bytes"
            prefix = "total_"
        else:
            group = Path("/sys/fs/cgroup") / paths[""].lstrip("/")
            peak, usage, prefix = group / "memory.peak", group / "memory.current", ""
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cache = int(stat[f"{prefix}inactive_file"]) + int(stat[f"{prefix}active_file"])
        return {"peak": int(peak.read_text()), "unreclaimable": int(usage.read_text()) - cache}


@pytest.fixture(scope="session")
def network() -> Iterator[dict[str, str]]:
    docker("network", "create", PREFIX)
    try:
        yield json.loads(docker("network", "inspect", PREFIX))[0]["IPAM"]["Config"][0]
    finally:
        docker("network", "rm", PREFIX)


@pytest.fixture
def loki(network: dict[str, str]) -> Iterator[Loki]:
    server = Loki(network["Gateway"])
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def shipper(tmp_path: Path, loki: Loki, network: dict[str, str]) -> Iterator[Shipper]:
    made = Shipper(tmp_path, PREFIX, loki)
    yield made
    subprocess.run(("docker", "rm", "--force", "--volumes", made.name), capture_output=True, timeout=60)
