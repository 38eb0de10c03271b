# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx role's templates, rendered by Ansible, in a real and hardened nginx, asked by real requests.

The image is SIXTY_NGINX_IMAGE (default ``sixty/nginx``). The API of a slot is a server of this process, on the gateway
address of a network of its own: nginx reaches it as it reaches a container, and a test can see what arrived.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("SIXTY_NGINX_IMAGE", "sixty/nginx")
PREFIX = f"t-nginx-{uuid.uuid4().hex[:8]}"
BUDGET = {"services": {"nginx": {"limit": "128M", "settings": {"worker_processes": 2, "worker_connections": 2048}}}}
# What the built page says itself, in a meta element, and what it leaves to nginx.
POLICIES = json.loads((ROOT / "app/frontend/csp.json").read_text())
PAGE_CSP = "; ".join(f"{directive} {sources}" for directive, sources in POLICIES["header"].items())
OTHER_CSP = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SCRIPT = "export const words = '" + "memory budget " * 400 + "';\n"
ORIGIN = "https://app.example.test"
TOKEN = "0123456789abcdef" * 2
OWN_PAGE = "<!doctype html><title>$host {{ closed }}</title>\n"

RENDER = """---
- name: Render the templates of the nginx role
  hosts: all
  gather_facts: false
  tasks:
    - name: Write each template with its result, as one JSON list a line
      ansible.builtin.copy:
        dest: "{{ result }}"
        mode: "0600"
        content: |
          {% for name in template_names %}
          {{ [name, lookup('ansible.builtin.template', template_root ~ '/' ~ name)] | to_json }}
          {% endfor %}
"""


class Reply(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        values = self.all(name)
        assert len(values) == 1, f"{name} is there {len(values)} times in a {self.status}: {self.headers}"
        return values[0]

    def json(self) -> Any:
        return json.loads(self.body)


def docker(*arguments: str) -> str:
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


class Api(ThreadingHTTPServer):
    """The API of one release; remembers what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, port: int, release: str) -> None:
        super().__init__((address, port), ApiHandler)
        self.release = release
        self.seen: list[tuple[str, str]] = []
        self.connections = 0
        self.release_slow = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def count(self, path: str) -> int:
        return sum(1 for _method, seen in self.seen if seen == path)


class ApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Api

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.answered = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read ``seen`` instead."""

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.path != "/api/foreign":
            self.send_header("X-Release", self.server.release)
        self.end_headers()
        self.wfile.write(body)
        self.answered += 1

    def answer(self) -> None:
        self.server.seen.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path == "/api/stream":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("X-Release", self.server.release)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"data: first\n\n")
            self.server.release_slow.wait(10)
            self.wfile.write(b"data: last\n\n")
            self.close_connection = True
        elif path == "/api/socket":
            self.send_response(101)
            self.send_header("Upgrade", self.headers.get("Upgrade", "none"))
            self.send_header("Connection", "upgrade")
            self.send_header("X-Release", self.server.release)
            self.end_headers()
            self.wfile.write(b"echo " + self.rfile.read(5))
            self.close_connection = True
        elif path == "/api/slow":
            self.server.release_slow.wait(10)
            self.reply(200, b"{}")
        elif path == "/api/stale" and self.answered:
            self.close_connection = True  # as a server does that closes an idle connection a moment too early
        elif path == "/api/missing":
            self.reply(404, b'{"error":{"code":"not_found","message":"no"}}')
        elif path == "/api/down":
            self.reply(503, b'{"error":{"code":"database","message":"no"}}', Retry_After="7")
        elif path == "/api/words":
            self.reply(
                200,
                json.dumps({"words": SCRIPT}).encode(),
                ETag='"w1"',
                Cache_Control="private, max-age=5",
                Last_Modified="Tue, 24 Nov 2026 10:00:00 GMT",
            )
        elif path == "/api/rude":
            self.reply(
                200,
                b"{}",
                X_Powered_By="x",
                Content_Security_Policy="default-src *",
                X_Request_Id="other",
                Access_Control_Allow_Origin="*",
                X_Content_Type_Options="nosniff",
            )
        else:
            self.reply(
                200,
                json.dumps(
                    {
                        "method": self.command,
                        "path": self.path,
                        "headers": {k.lower(): v for k, v in self.headers.items()},
                        "received": len(body),
                        "release": self.server.release,
                    }
                ).encode(),
            )

    do_GET = do_POST = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = answer


class Nginx:
    """One container with one rendered configuration and a routing tree of its own."""

    def __init__(self, name: str, directory: Path, networks: list[str], tree: dict[str, str]) -> None:
        self.name = f"{PREFIX}-{name}"
        self.directory = directory
        self.route = directory / "route"
        self.write_config(tree)
        (directory / "log").mkdir()
        self.write_route()
        for path in (directory, *directory.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
        (directory / "log").chmod(0o777)
        docker(
            "run", "--detach", "--name", self.name, "--network", networks[0], *self.hardening(),
            *(f"--publish=127.0.0.1::{port}" for port in (8080, 8443)),
            IMAGE, "nginx", "-e", "stderr", "-c", "/etc/sixty/current/nginx.conf", "-g", "daemon off;",
        )  # fmt: skip
        for network in networks[1:]:
            docker("network", "connect", network, self.name)
        self.state = json.loads(docker("inspect", self.name))[0]
        ports = self.state["NetworkSettings"]["Ports"]
        assert ports.get("8080/tcp"), self.output()
        self.http, self.https = (int(ports[f"{port}/tcp"][0]["HostPort"]) for port in (8080, 8443))
        self.wait()

    def output(self) -> str:
        return subprocess.run(
            ("docker", "logs", self.name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30
        ).stdout

    def hardening(self) -> list[str]:
        return [
            "--user=101:101", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--init",
            "--tmpfs=/tmp:size=16m,mode=1777,noexec,nosuid", "--memory=128m", "--memory-swap=128m", "--pids-limit=64",
            f"--volume={self.directory}/config:/etc/sixty:ro", f"--volume={self.route}:/route:ro",
            f"--volume={self.directory}/log:/var/log/sixty/nginx",
        ]  # fmt: skip

    def write_config(self, tree: dict[str, str]) -> None:
        for name, text in tree.items():
            target = self.directory / "config/trees/one" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        (self.directory / "config/current").symlink_to("trees/one")

    def write_route(self) -> None:
        """Two releases whose pages have the same size and time, as bundles out of an archive have."""
        for slot, release in (("blue", "r1"), ("green", "r2")):
            bundle = self.route / "slots" / slot / release / "www"
            (bundle / "assets").mkdir(parents=True)
            (bundle / "index.html").write_text(f"<!doctype html><title>{release}</title>\n")
            (bundle / "sw.js").write_text(f"// worker of {release}\n")
            (bundle / "manifest.webmanifest").write_text('{"name": "x"}\n')
            for name in ("sw.js", "manifest.webmanifest"):
                (bundle / f"{name}.br").write_bytes(b"brotli, made in the build")
                (bundle / f"{name}.gz").write_bytes(b"gzip, made in the build")
            for name in ("avif", "webp", "png"):
                (bundle / f"assets/picture-12345678.{name}").write_bytes(b"picture")
            (bundle / "plain.js").write_text(SCRIPT)
            (bundle / ".hidden").write_text("hidden")
            (bundle / f"assets/app-{release}.js").write_text(SCRIPT)
            (bundle / f"assets/app-{release}.js.gz").write_bytes(b"gzip, made in the build")
            (bundle / f"assets/app-{release}.js.br").write_bytes(b"brotli, made in the build")
            for page in bundle.glob("*.*"):
                os.utime(page, (0, 0))
        pool = self.route / "pool/assets"
        pool.mkdir(parents=True)
        (pool / "app-r0.js").write_text("// of an earlier release\n")

    def wait(self) -> None:
        end = time.monotonic() + 10
        while True:
            try:
                assert self.get("/healthz").status == 200
                return
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < end, self.output()
                time.sleep(0.05)

    def switch(self, slot: str | None) -> None:
        """Route to a slot by one rename; None: to nothing."""
        active, new = self.route / "active", self.route / "new"
        if slot is None:
            active.unlink(missing_ok=True)
            return
        new.symlink_to({"blue": "slots/blue/r1", "green": "slots/green/r2"}[slot])
        new.replace(active)

    @contextlib.contextmanager
    def closed(self) -> Iterator[Path]:
        """In maintenance, with TOKEN to pass; what nginx may look into but not list."""
        directory = self.route / "maintenance"
        directory.mkdir(mode=0o711)
        try:
            (directory / TOKEN).touch()
            (directory / "on").touch()
            yield directory
        finally:
            for name in (directory / "on", *directory.glob("*")):
                name.unlink(missing_ok=True)
            directory.rmdir()

    def connection(self, tls: bool = False) -> http.client.HTTPConnection:
        if not tls:
            return http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        context = ssl.create_default_context(cafile=str(self.directory / "config/current/secrets/tls.crt"))
        context.check_hostname = False
        return http.client.HTTPSConnection("127.0.0.1", self.https, timeout=10, context=context)

    def get(
        self, path: str, method: str = "GET", tls: bool = False, body: bytes | None = None, **headers: str
    ) -> Reply:
        with contextlib.closing(self.connection(tls)) as connection:
            return ask(connection, path, method, body, **headers)

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.http), timeout=10) as connection:
            connection.sendall(data)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def log(self, request_id: str) -> dict[str, Any]:
        """The log entry of one request; every line must be JSON in UTF-8."""
        end = time.monotonic() + 4  # the buffer is written after 1 s
        while True:
            lines = (self.directory / "log/access.log").read_bytes().splitlines()
            for entry in map(json.loads, lines):
                if entry["request_id"] == request_id:
                    return dict(entry)
            assert time.monotonic() < end, f"no entry {request_id} in {len(lines)} lines"
            time.sleep(0.1)


def ask(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=body, headers=named)
    answer = connection.getresponse()
    return Reply(answer.status, answer.getheaders(), answer.read())


def free_port(addresses: list[str]) -> int:
    """A port that is free on all addresses."""
    for _attempt in range(20):
        with contextlib.ExitStack() as stack:
            port = 0
            try:
                for address in addresses:
                    probe = stack.enter_context(socket.socket())
                    probe.bind((address, port))
                    port = probe.getsockname()[1]
                return port
            except OSError:
                continue
    raise AssertionError(f"no port is free on all of {addresses}")


def certificate() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def render(directory: Path, variants: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Path in the tree -> text, for each variant, as the role's defaults with these variables give it."""
    templates = ROOT / "roles/nginx/templates"
    shared: dict[str, Any] = {"memory_budget_data": BUDGET, "ansible_connection": "local"}
    shared["ansible_python_interpreter"] = sys.executable
    for role in ("stack", "nginx"):
        shared.update(yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text()))
    shared["template_root"] = str(templates)
    shared["template_names"] = [str(path.relative_to(templates)) for path in sorted(templates.rglob("*.j2"))]
    hosts = {
        name: {**shared, **variables, "result": str(directory / f"{name}.rendered")}
        for name, variables in variants.items()
    }
    (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (directory / "render.yml").write_text(RENDER)
    done = subprocess.run(
        (str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(directory / "hosts.json"),
         str(directory / "render.yml")),
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    trees = {}
    for name, variables in hosts.items():
        lines = [line for line in Path(variables["result"]).read_text().splitlines() if line.strip()]
        trees[name] = {path[: -len(".j2")]: text for path, text in map(json.loads, lines)}
    return trees


class Stack(NamedTuple):
    main: Nginx
    tls: Nginx
    blue: Api
    green: Api
    cold: Reply


@pytest.fixture(scope="module")
def networks() -> Iterator[dict[str, dict[str, str]]]:
    """Two networks of the test's own: name -> subnet and gateway."""
    names = [f"{PREFIX}-a", f"{PREFIX}-b"]
    try:
        for name in names:
            docker("network", "create", name)
        yield {name: json.loads(docker("network", "inspect", name))[0]["IPAM"]["Config"][0] for name in names}
    finally:
        subprocess.run(("docker", "network", "rm", *names), capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def stack(networks: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    (name_a, a), (name_b, b) = networks.items()
    port = free_port([a["Gateway"], b["Gateway"]])
    shared = {"stack_slots": {"blue": a["Gateway"], "green": b["Gateway"]}, "stack_api_port": port}
    pem, key = certificate()
    base = tmp_path_factory.mktemp("nginx")
    (base / "own.html").write_text(OWN_PAGE)
    trees = render(base, {
        "main": {
            **shared,
            "nginx_rate_limit_rate": "2r/s", "nginx_rate_limit_burst": 3, "nginx_rate_limit_connections": 2,
            "nginx_rate_limit_streams": 2,
            "nginx_rate_limit_exempt": [a["Subnet"], b["Subnet"], "203.0.113.0/24"],
            "nginx_trusted_proxies": [a["Gateway"], b["Gateway"], "10.255.0.0/16"],
            "nginx_cors_origins": [ORIGIN],
            "nginx_status_allow": [b["Subnet"]],
        },
        "tls": {
            **shared, "nginx_brotli": False, "nginx_tls_certificate": pem, "nginx_tls_key": key,
            "nginx_https_port": 9443, "nginx_maintenance_page": str(base / "own.html"),
            "stack_slots": {"blue": a["Gateway"], "green": "192.0.2.1"},
        },
    })  # fmt: skip
    started: list[str] = []
    servers: list[Api] = []
    try:
        machines = []
        for name in ("main", "tls"):
            (base / name).mkdir()
            started.append(f"{PREFIX}-{name}")
            machines.append(Nginx(name, base / name, [name_a, name_b], trees[name]))
            machines[-1].switch("blue")
        cold = machines[0].get("/api/echo")
        servers = [Api(a["Gateway"], port, "r1"), Api(b["Gateway"], port, "r2")]
        yield Stack(machines[0], machines[1], servers[0], servers[1], cold)
    finally:
        for server in servers:
            server.release_slow.set()
            server.shutdown()
            server.server_close()
        subprocess.run(("docker", "rm", "--force", "--volumes", *started), capture_output=True, timeout=60)


@pytest.fixture
def nginx(stack: Stack) -> Nginx:
    stack.main.switch("blue")
    return stack.main


@pytest.fixture
def slow(stack: Stack) -> Iterator[threading.Event]:
    """What holds slow requests and streams back until it is set."""
    stack.blue.release_slow.clear()
    yield stack.blue.release_slow
    stack.blue.release_slow.set()


def assert_common_headers(reply: Reply, release: str) -> None:
    assert reply.one("X-Release") == release
    assert reply.one("Content-Security-Policy") in (PAGE_CSP, OTHER_CSP)
    assert reply.one("X-Content-Type-Options") == "nosniff"
    assert reply.one("Referrer-Policy") == "strict-origin-when-cross-origin"
    assert "camera=()" in reply.one("Permissions-Policy")
    assert reply.one("Cross-Origin-Opener-Policy") == "same-origin"
    assert reply.one("Cross-Origin-Resource-Policy") == "same-origin"
    assert len(reply.one("X-Request-Id")) >= 8
    assert reply.one("Server") == "nginx"
    for name in ("Cache-Control", "ETag", "Content-Type", "Last-Modified", "Retry-After"):
        assert len(reply.all(name)) <= 1, reply.headers


def test_the_staged_tree_checks_itself_without_a_word(stack: Stack) -> None:
    for machine in (stack.main, stack.tls):
        tested = subprocess.run(
            ("docker", "exec", machine.name, "nginx", "-t", "-e", "stderr", "-c", "/etc/sixty/trees/one/nginx.conf"),
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert tested.returncode == 0, tested.stderr
        assert "[warn]" not in tested.stderr, tested.stderr
        assert "/etc/sixty/trees/one/nginx.conf test is successful" in tested.stderr
        log = machine.output()
        assert "[emerg]" not in log and "[warn]" not in log, log


def test_nginx_starts_while_no_api_is_there(stack: Stack) -> None:
    assert stack.cold.status == 502
    assert stack.cold.json()["error"]["code"] == "api_unreachable"
    assert stack.cold.one("Retry-After") == "5"
    assert stack.cold.one("Cache-Control") == "no-store"
    assert_common_headers(stack.cold, "r1")


def test_an_api_that_does_not_take_the_connection_is_a_timeout(stack: Stack) -> None:
    stack.tls.switch("green")
    try:
        reply = stack.tls.get("/api/echo", tls=True)
        assert reply.status in (502, 504)  # some networks refuse what cannot be reached
        assert_common_headers(reply, "r2")
    finally:
        stack.tls.switch("blue")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200), ("/index.html", 200), ("/deals/7", 200), ("/sw.js", 200), ("/assets/app-r1.js", 200),
        ("/assets/app-r0.js", 200), ("/assets/app-gone.js", 404), ("/assets/", 404), ("/none.png", 404), ("/api", 301),
        ("/api/echo", 200), ("/api/missing", 404), ("/api/down", 503), ("/api/foreign", 200), ("/api/rude", 200),
        ("/healthz", 200), ("/metrics", 404), ("/health/ready", 404), ("/.hidden", 404),
    ],
)  # fmt: skip
def test_every_response_has_the_headers_once(nginx: Nginx, path: str, status: int) -> None:
    for method in ("GET", "HEAD"):
        reply = nginx.get(path, method=method)
        assert reply.status == status
        assert_common_headers(reply, "r1")


def test_a_page_may_add_to_its_policy_and_nothing_else_may(nginx: Nginx) -> None:
    """A 304 brings its policy too: a browser takes the headers of the 304 over."""
    tag = nginx.get("/").one("ETag")
    for path in ("/", "/deals", "/index.html", "/sw.js", "/none.png"):
        assert nginx.get(path).one("Content-Security-Policy") == PAGE_CSP
    assert nginx.get("/", If_None_Match=tag).one("Content-Security-Policy") == PAGE_CSP
    for path in ("/assets/app-r1.js", "/assets/app-gone.js", "/api/echo", "/api/rude", "/healthz", "/metrics"):
        assert nginx.get(path).one("Content-Security-Policy") == OTHER_CSP
    assert "unsafe" not in PAGE_CSP + OTHER_CSP


@pytest.mark.parametrize(
    ("path", "kind", "cached"),
    [
        ("/sw.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/manifest.webmanifest", "application/manifest+json; charset=utf-8", "no-cache"),
        ("/assets/picture-12345678.avif", "image/avif", "public, max-age=31536000, immutable"),
        ("/assets/picture-12345678.webp", "image/webp", "public, max-age=31536000, immutable"),
        ("/assets/picture-12345678.png", "image/png", "public, max-age=31536000, immutable"),
    ],
)
def test_what_a_web_application_has(nginx: Nginx, path: str, kind: str, cached: str) -> None:
    reply = nginx.get(path)
    assert (reply.status, reply.one("Content-Type"), reply.one("Cache-Control")) == (200, kind, cached)
    if not path.startswith("/assets/"):
        for coding, name in (("gzip", b"gzip"), ("gzip, br", b"brotli")):
            assert nginx.get(path, Accept_Encoding=coding).body == name + b", made in the build"


def test_method_and_syntax_errors_have_the_headers_too(nginx: Nginx) -> None:
    refused = nginx.get("/index.html", method="POST", body=b"x")
    assert refused.status == 405
    assert_common_headers(refused, "r1")
    malformed = nginx.raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert malformed.startswith(b"HTTP/1.1 400 ")
    assert malformed.count(b"X-Release: r1\r\n") == 1
    assert malformed.count(b"Content-Security-Policy: ") == 1
    too_long = nginx.raw(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert too_long.startswith(b"HTTP/1.1 414 ")
    assert too_long.count(b"X-Release: r1\r\n") == 1


def test_what_the_api_says_is_passed_on(nginx: Nginx) -> None:
    down = nginx.get("/api/down")
    assert down.json()["error"]["code"] == "database"
    assert down.one("Retry-After") == "7"
    words = nginx.get("/api/words")
    assert words.one("ETag") == '"w1"'
    assert words.one("Cache-Control") == "private, max-age=5"
    assert words.one("Last-Modified") == "Tue, 24 Nov 2026 10:00:00 GMT"
    rude = nginx.get("/api/rude")
    assert not rude.all("X-Powered-By") and not rude.all("Access-Control-Allow-Origin")


def test_a_rename_moves_files_and_api_together(nginx: Nginx) -> None:
    for slot, release in (("blue", "r1"), ("green", "r2"), ("blue", "r1")):
        nginx.switch(slot)
        page, api = nginx.get("/"), nginx.get("/api/echo")
        assert page.one("X-Release") == api.one("X-Release") == release
        assert release.encode() in page.body and api.json()["release"] == release


def test_body_and_release_agree_while_the_link_moves(nginx: Nginx) -> None:
    stop = threading.Event()
    wrong: list[str] = []
    done: dict[str, int] = {"r1": 0, "r2": 0}

    def client(path: str) -> None:
        try:
            with contextlib.closing(nginx.connection()) as connection:
                while not stop.is_set():
                    reply = ask(connection, path)
                    release = reply.one("X-Release")
                    if reply.status != 200 or release.encode() not in reply.body:
                        wrong.append(f"{path}: {reply}")
                    done[release] += 1
        except Exception as error:  # a thread's failure is the test's
            wrong.append(repr(error))

    clients = [threading.Thread(target=client, args=(path,)) for path in ("/", "/deals", "/api/echo")]
    for thread in clients:
        thread.start()
    for turn in range(600):
        nginx.switch("green" if turn % 2 else "blue")
        time.sleep(0.002)
    stop.set()
    for thread in clients:
        thread.join(10)
    assert not wrong, f"{wrong[:3]}\n{nginx.output()}"
    assert min(done.values()) > 20, done


def test_nothing_routed_is_said_clearly(nginx: Nginx) -> None:
    nginx.switch(None)
    for path in ("/", "/api/echo", "/assets/app-r1.js", "/sw.js"):
        reply = nginx.get(path)
        assert reply.status == 503
        assert reply.json()["error"]["code"] == "not_routed"
        assert "No release is routed" in reply.json()["error"]["message"]
        assert reply.one("Retry-After") == "5"
        assert_common_headers(reply, "none")
    assert nginx.get("/healthz").status == 200


@pytest.mark.parametrize("path", ["/", "/deals/7", "/index.html", "/none.png", "/assets/app-r1.js"])
def test_maintenance_is_a_page_for_people(nginx: Nginx, path: str) -> None:
    before = nginx.get(path)
    with nginx.closed():
        for method, headers in (("GET", {"If_None_Match": before.all("ETag")[0]} if before.all("ETag") else {}),
                                ("GET", {"Range": "bytes=0-3"}), ("POST", {}), ("HEAD", {})):  # fmt: skip
            reply = nginx.get(path, method=method, body=b"x" if method == "POST" else None, **headers)
            assert reply.status == 503
            assert reply.one("Content-Type") == "text/html; charset=utf-8"
            assert (reply.one("Retry-After"), reply.one("Cache-Control")) == ("120", "no-store")
            assert not reply.all("ETag") and not reply.all("Last-Modified")
            assert int(reply.one("Content-Length")) > 400
            if method == "HEAD":
                assert reply.body == b""
            else:
                assert b"come back in about 2 minutes" in reply.body and b"light dark" in reply.body
                assert b"<script" not in reply.body and b"http:" not in reply.body and b"https:" not in reply.body
            policy = reply.one("Content-Security-Policy")
            assert "default-src 'none'" in policy and "unsafe" not in policy and "script" not in policy
            if style := re.search(rb"<style>(.*?)</style>", reply.body, re.DOTALL):
                digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
                assert f"style-src 'sha256-{digest}';" in policy
            else:
                assert method == "HEAD"
            assert reply.one("X-Release") == "r1" and reply.one("X-Content-Type-Options") == "nosniff"
    after = nginx.get(path)
    assert (after.status, after.body) == (before.status, before.body)
    assert_common_headers(after, "r1")


def test_maintenance_is_an_error_for_programs(stack: Stack, nginx: Nginx) -> None:
    before = len(stack.blue.seen)
    with nginx.closed():
        for method in ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"):
            reply = nginx.get(
                "/api/echo", method=method, Origin=ORIGIN, body=b"x" * 70_000 if method == "POST" else None
            )
            assert (reply.status, reply.one("Retry-After")) == (503, "120")
            assert reply.one("Cache-Control") == "no-store"
            assert reply.one("Content-Type").startswith("application/json")
            assert_common_headers(reply, "r1")
            assert reply.one("Access-Control-Allow-Origin") == ORIGIN
            if method != "HEAD":
                assert reply.json()["error"]["code"] == "maintenance"
                assert "Try again in 120 s" in reply.json()["error"]["message"]
        # Answered, or a page of that origin could not read the 503.
        preflight = nginx.get("/api/echo", method="OPTIONS", Origin=ORIGIN, Access_Control_Request_Method="PATCH")
        assert preflight.status == 204 and preflight.one("Access-Control-Allow-Origin") == ORIGIN
        assert nginx.get("/healthz").status == 200 and nginx.get("/metrics").status == 404
        assert nginx.get("/api/stream").status == 503
        # An unrouted site in maintenance is in maintenance.
        nginx.switch(None)
        assert nginx.get("/api/echo").json()["error"]["code"] == "maintenance"
        nginx.switch("blue")
    assert len(stack.blue.seen) == before
    assert nginx.get("/api/echo").status == 200
    # The page has no address of its own.
    assert nginx.get("/.maintenance").status == 404


def test_only_the_token_passes_maintenance(nginx: Nginx) -> None:
    with nginx.closed() as directory:
        (nginx.route / "maintenance" / "short").touch()
        for path in ("/", "/deals", "/assets/app-r1.js", "/api/echo"):
            assert nginx.get(path, X_Maintenance_Bypass=TOKEN).status == 200
        echo = nginx.get("/api/echo", X_Maintenance_Bypass=TOKEN)
        assert_common_headers(echo, "r1")
        assert not [name for name in echo.json()["headers"] if "maintenance" in name]
        page = nginx.get("/", X_Maintenance_Bypass=TOKEN)
        assert nginx.get("/", X_Maintenance_Bypass=TOKEN, If_None_Match=page.one("ETag")).status == 304
        assert nginx.get("/none.png", X_Maintenance_Bypass=TOKEN).status == 404
        for wrong in (
            "f" * 32, TOKEN.upper(), TOKEN + "0", TOKEN[:-1], "on", "short", "", ".", "./" + TOKEN, TOKEN + "/",
            "../maintenance/" + TOKEN, "../maintenance/on", "../active/www/index.html", "on/../" + TOKEN,
            TOKEN + "%00", f"{TOKEN}, {TOKEN}",
        ):  # fmt: skip
            for path in ("/", "/api/echo"):
                assert nginx.get(path, X_Maintenance_Bypass=wrong).status == 503, wrong
        line = b"GET /api/echo HTTP/1.0\r\nHost: a\r\nX-Maintenance-Bypass: %s\r\n\r\n"
        assert nginx.raw(line % TOKEN.encode()).startswith(b"HTTP/1.1 200 ")
        assert nginx.raw(line % b"../maintenance/on").startswith(b"HTTP/1.1 503 ")
        (directory / TOKEN).unlink()
        assert nginx.get("/", X_Maintenance_Bypass=TOKEN).status == 503
        assert "/route/maintenance" not in nginx.output(), "looking for a file that is not there is no error"
    # What is no maintenance is no matter of the header.
    assert nginx.get("/", X_Maintenance_Bypass="f" * 32).status == 200


def test_a_page_of_ones_own_for_maintenance(stack: Stack) -> None:
    with stack.tls.closed():
        reply = stack.tls.get("/deals", tls=True)
        assert (reply.status, reply.body.decode()) == (503, OWN_PAGE)
        # Nobody knows its styles.
        assert "style-src 'unsafe-inline';" in reply.one("Content-Security-Policy")
        assert reply.one("Strict-Transport-Security")
        assert stack.tls.get("/api/echo", tls=True).json()["error"]["code"] == "maintenance"
        assert stack.tls.get("/healthz").status == 200


def test_what_is_open_survives_maintenance(nginx: Nginx, slow: threading.Event) -> None:
    with contextlib.closing(nginx.connection()) as stream, contextlib.closing(nginx.connection()) as kept:
        assert ask(kept, "/api/echo").status == 200
        stream.request("GET", "/api/stream")
        answer = stream.getresponse()
        assert answer.read(13) == b"data: first\n\n"
        with nginx.closed():
            assert [ask(kept, path).status for path in ("/api/echo", "/", "/healthz")] == [503, 503, 200]
            slow.set()
            assert answer.read() == b"data: last\n\n"
        assert ask(kept, "/api/echo").status == 200


def test_a_link_out_of_the_slots_is_not_served(nginx: Nginx) -> None:
    elsewhere = nginx.route / "elsewhere/www"
    elsewhere.mkdir(parents=True)
    (elsewhere / "index.html").write_text("no release")
    (nginx.route / "active").unlink()
    (nginx.route / "active").symlink_to("elsewhere")
    reply = nginx.get("/")
    assert reply.status == 503 and b"no release" not in reply.body


def test_cache_policy(nginx: Nginx) -> None:
    immutable = "public, max-age=31536000, immutable"
    for path in ("/assets/app-r1.js", "/assets/app-r0.js"):
        assert nginx.get(path).one("Cache-Control") == immutable
    for path in ("/", "/deals", "/index.html", "/sw.js", "/plain.js"):
        assert nginx.get(path).one("Cache-Control") == "no-cache"
    for path in ("/assets/app-gone.js", "/none.png", "/healthz"):
        assert nginx.get(path).one("Cache-Control") == "no-store"
    asset = nginx.get("/assets/app-r1.js")
    again = nginx.get("/assets/app-r1.js", If_None_Match=asset.one("ETag"))
    assert again.status == 304 and again.one("Cache-Control") == immutable
    assert_common_headers(again, "r1")


def test_earlier_assets_stay_and_a_missing_one_is_no_page(nginx: Nginx) -> None:
    assert nginx.get("/assets/app-r0.js").body == b"// of an earlier release\n"
    assert nginx.get("/assets/app-r2.js").status == 404  # the other slot's, not pooled
    for path in ("/assets/app-gone.js", "/none.png", "/deals/none.js"):
        assert b"<!doctype html><title>r1" not in nginx.get(path).body


def test_a_tag_holds_for_one_release_only(nginx: Nginx) -> None:
    first = nginx.get("/")
    tag = first.one("ETag")
    assert not first.all("Last-Modified")
    for value in (tag, tag[2:], f'"other", {tag}'):
        for path in ("/", "/deals", "/index.html", "/sw.js"):
            same = nginx.get(path, If_None_Match=value)
            assert (same.status, same.body) == (304, b"")
            assert same.one("ETag") == tag and same.one("Cache-Control") == "no-cache"
            assert_common_headers(same, "r1")
    partial = nginx.get("/", Range="bytes=0-3", If_Range="Thu, 01 Jan 1970 00:00:00 GMT")
    assert (partial.status, partial.body) == (200, first.body)
    nginx.switch("green")
    dated = nginx.get("/", If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT")
    assert dated.status == 200 and b"r2" in dated.body
    second = nginx.get("/", If_None_Match=tag, If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT")
    assert second.status == 200 and b"r2" in second.body
    assert len(second.body) == len(first.body)
    assert second.one("ETag") != tag
    own = f'"0-{len(first.body):x}"'  # nginx's tag for both files
    assert nginx.get("/", If_None_Match=own).status == 200
    missing = nginx.get("/none.png", If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT")
    assert missing.status == 404 and not missing.all("ETag")


def test_precompressed_files_are_served_as_they_are(stack: Stack, nginx: Nginx) -> None:
    gzip = nginx.get("/assets/app-r1.js", Accept_Encoding="gzip")
    assert (gzip.one("Content-Encoding"), gzip.body) == ("gzip", b"gzip, made in the build")
    brotli = nginx.get("/assets/app-r1.js", Accept_Encoding="gzip, br")
    assert (brotli.one("Content-Encoding"), brotli.body) == ("br", b"brotli, made in the build")
    assert brotli.one("Content-Type").startswith("text/javascript")
    assert "Accept-Encoding" in ", ".join(brotli.all("Vary"))
    for reply in (gzip, brotli):
        assert_common_headers(reply, "r1")
    assert stack.tls.get("/assets/app-r1.js", tls=True, Accept_Encoding="br").body == SCRIPT.encode()


@pytest.mark.parametrize("path", ["/plain.js", "/api/words"])
def test_the_rest_is_compressed_on_the_way(nginx: Nginx, path: str) -> None:
    plain = nginx.get(path)
    assert not plain.all("Content-Encoding")
    gzip = nginx.get(path, Accept_Encoding="gzip")
    assert gzip.one("Content-Encoding") == "gzip"
    assert zlib.decompress(gzip.body, 31) == plain.body
    best = nginx.get(path, Accept_Encoding="br, gzip")
    if path.startswith("/api/"):  # an encoder of Brotli costs too much for every answer in flight
        assert best.one("Content-Encoding") == "gzip"
    else:
        assert best.one("Content-Encoding") == "br"
        assert 0 < len(best.body) < len(plain.body) / 10
    for reply in (gzip, best):
        assert_common_headers(reply, "r1")


def test_the_rate_is_limited_for_each_address(nginx: Nginx) -> None:
    def statuses(address: str) -> list[int]:
        replies = [nginx.get("/api/echo", X_Forwarded_For=address) for _request in range(12)]
        for reply in replies:
            assert_common_headers(reply, "r1")
            if reply.status == 429:
                assert reply.json()["error"]["code"] == "too_many_requests"
                assert reply.one("Retry-After") == "1" and reply.one("Cache-Control") == "no-store"
        return [reply.status for reply in replies]

    limited = statuses("198.51.100.1")
    assert limited[:4] == [200] * 4 and limited.count(429) >= 6
    assert statuses("203.0.113.9") == [200] * 12  # exempt
    assert nginx.get("/api/echo", X_Forwarded_For="198.51.100.2").status == 200  # another address
    assert nginx.get("/", X_Forwarded_For="198.51.100.1").status == 200  # files are not counted


def test_connections_are_limited_for_each_address(stack: Stack, nginx: Nginx, slow: threading.Event) -> None:
    before = stack.blue.count("/api/slow")
    holders = [
        threading.Thread(target=nginx.get, args=("/api/slow",), kwargs={"X_Forwarded_For": "198.51.100.7"})
        for _holder in range(2)
    ]
    for holder in holders:
        holder.start()
    end = time.monotonic() + 5
    while stack.blue.count("/api/slow") < before + 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert nginx.get("/api/echo", X_Forwarded_For="198.51.100.7").status == 429
    slow.set()
    for holder in holders:
        holder.join(5)
    assert nginx.get("/api/echo", X_Forwarded_For="198.51.100.7").status == 200


def test_open_streams_are_limited_by_themselves(nginx: Nginx, slow: threading.Event) -> None:
    address = {"X-Forwarded-For": "198.51.100.9"}
    with contextlib.ExitStack() as streams:
        for expected in (200, 200, 429):
            connection = streams.enter_context(contextlib.closing(nginx.connection()))
            connection.request("GET", "/api/stream", headers=address)
            assert connection.getresponse().status == expected
        # Two requests at a time are allowed, and two streams are open.
        assert nginx.get("/api/echo", X_Forwarded_For="198.51.100.9").status == 200
        slow.set()


def test_a_body_that_is_too_large(stack: Stack, nginx: Nginx) -> None:
    fitting = nginx.get("/api/echo", method="POST", body=b"x" * 1_000_000)
    assert fitting.json()["received"] == 1_000_000
    before = len(stack.blue.seen)
    with contextlib.closing(nginx.connection()) as connection:
        connection.putrequest("POST", "/api/echo")
        connection.putheader("Content-Length", "2000000")
        connection.endheaders()
        answer = connection.getresponse()
        refused = Reply(answer.status, answer.getheaders(), answer.read())
    assert refused.status == 413 and refused.json()["error"]["code"] == "payload_too_large"
    assert_common_headers(refused, "r1")
    assert len(stack.blue.seen) == before


def test_cors_for_listed_origins_only(stack: Stack, nginx: Nginx) -> None:
    allowed = nginx.get("/api/echo", Origin=ORIGIN)
    assert allowed.one("Access-Control-Allow-Origin") == ORIGIN
    assert "X-Release" in allowed.one("Access-Control-Expose-Headers")
    before = len(stack.blue.seen)
    preflight = nginx.get("/api/deals/1", method="OPTIONS", Origin=ORIGIN, Access_Control_Request_Method="PATCH")
    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.one("Access-Control-Allow-Origin") == ORIGIN
    assert "PATCH" in preflight.one("Access-Control-Allow-Methods")
    assert "Content-Type" in preflight.one("Access-Control-Allow-Headers")
    assert preflight.one("Access-Control-Max-Age") == "600"
    assert len(stack.blue.seen) == before
    for reply in (allowed, preflight, nginx.get("/api/echo")):
        assert "Origin" in ", ".join(reply.all("Vary"))
        assert_common_headers(reply, "r1")
    for origin in ("https://evil.test", ORIGIN + ".evil.test", "null"):
        for method in ("GET", "OPTIONS"):
            reply = nginx.get("/api/echo", method=method, Origin=origin, Access_Control_Request_Method="PATCH")
            assert not [name for name, _value in reply.headers if name.lower().startswith("access-control-")]
    assert not nginx.get("/", Origin=ORIGIN).all("Access-Control-Allow-Origin")


def test_endpoints_of_the_api_stay_inside(stack: Stack, nginx: Nginx) -> None:
    before = len(stack.blue.seen)
    for path in (
        "/metrics",
        "/health/live",
        "//metrics",
        "/%6detrics",
        "/api/../metrics",
        "/api/%2e%2e/metrics",
        "/metrics;/../api/echo",
        "/metrics/..%2fapi/echo",
        "/api/x/%2E./metrics",
        "/api/..;/metrics",
    ):
        reply = nginx.get(path)
        assert reply.status == 404, path
        assert_common_headers(reply, "r1")
    assert len(stack.blue.seen) == before
    dotted = nginx.get("/api/echo?q=../a..b")
    assert dotted.json()["path"] == "/api/echo?q=../a..b"


def test_counters_are_for_the_metrics_network(stack: Stack, networks: dict[str, dict[str, str]]) -> None:
    attached = json.loads(docker("inspect", stack.main.name))[0]["NetworkSettings"]["Networks"]
    replies = []
    for name in networks:
        connection = http.client.HTTPConnection(attached[name]["IPAddress"], 8081, timeout=5)
        with contextlib.closing(connection):
            replies.append(ask(connection, "/stub_status"))
    assert [reply.status for reply in replies] == [403, 200]
    assert replies[1].body.startswith(b"Active connections:")
    assert stack.main.get("/stub_status").body.startswith(b"<!doctype html>")


def test_request_ids(nginx: Nginx) -> None:
    own = nginx.get("/api/echo", X_Request_Id="checkout-42.a_b")
    assert own.one("X-Request-Id") == own.json()["headers"]["x-request-id"] == "checkout-42.a_b"
    for harmful in ("short", "with blank inside", 'quote"quote"quote', "x" * 200):
        made = nginx.get("/api/echo", X_Request_Id=harmful)
        assert made.one("X-Request-Id") == made.json()["headers"]["x-request-id"] != harmful
        assert len(made.one("X-Request-Id")) == 32
    assert nginx.get("/api/rude").one("X-Request-Id") != "other"


def test_the_client_behind_a_trusted_proxy_only(stack: Stack, nginx: Nginx) -> None:
    claimed = "192.0.2.66, 203.0.113.5, 10.255.0.1"  # a lie, the client, an outer proxy
    believed = nginx.get("/api/echo", X_Forwarded_For=claimed, X_Forwarded_Proto="https", Forwarded="for=192.0.2.66")
    headers = believed.json()["headers"]
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "203.0.113.5"
    assert headers["x-forwarded-proto"] == "https" and believed.one("Strict-Transport-Security")
    assert "forwarded" not in headers
    doubted = stack.tls.get("/api/echo", tls=True, X_Forwarded_For="192.0.2.66", X_Forwarded_Proto="http")
    headers = doubted.json()["headers"]
    assert headers["x-forwarded-for"] not in ("192.0.2.66", "203.0.113.5")
    assert headers["x-forwarded-proto"] == "https"
    assert not nginx.get("/").all("Strict-Transport-Security")


def test_connections_to_the_api_are_kept(stack: Stack, nginx: Nginx) -> None:
    nginx.get("/api/echo")
    before = stack.blue.connections
    for _request in range(20):
        assert "connection" not in nginx.get("/api/echo").json()["headers"]
    assert stack.blue.connections - before <= 2  # one for each worker


def test_only_reads_are_repeated_on_a_closed_connection(stack: Stack, nginx: Nginx) -> None:
    for method in ("GET", "POST"):
        path = f"/api/stale?{method}"
        for _attempt in range(50):  # until the worker that gets the request has a kept connection
            before = stack.blue.count(path)
            nginx.get("/api/echo")
            reply = nginx.get(path, method=method, body=b"x" if method == "POST" else None)
            sent = stack.blue.count(path) - before
            if method == "GET":
                assert reply.status == 200
            else:
                assert sent == 1
            if sent > 1 or reply.status == 502:
                break
        else:
            pytest.fail(f"no {method} met a closed connection")


def test_streams_arrive_at_once(nginx: Nginx, slow: threading.Event) -> None:
    with contextlib.closing(nginx.connection()) as connection:
        connection.timeout = 3  # the API waits longer than that for the test to go on
        connection.request("GET", "/api/stream", headers={"Accept-Encoding": "gzip, br"})
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "text/event-stream"
        assert answer.getheader("Content-Encoding") is None
        assert answer.read(13) == b"data: first\n\n"
        slow.set()
        assert answer.read() == b"data: last\n\n"


def test_only_websocket_changes_the_protocol(nginx: Nginx) -> None:
    request = b"GET /api/socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\nhello"
    opened = nginx.raw(request % b"websocket")
    assert opened.startswith(b"HTTP/1.1 101 ") and opened.endswith(b"echo hello")
    assert opened.count(b"X-Release: r1") == 1
    plain = nginx.get("/api/echo", Connection="Upgrade", Upgrade="h2c").json()["headers"]
    assert "upgrade" not in plain


def test_tls(stack: Stack) -> None:
    nginx = stack.tls
    redirect = nginx.get("/deals?page=2", Host="crm.example.test")
    assert (redirect.status, redirect.one("Location")) == (308, "https://crm.example.test:9443/deals?page=2")
    assert_common_headers(redirect, "r1")
    assert not redirect.all("Strict-Transport-Security")
    assert nginx.get("/healthz").status == 200
    for path in ("/", "/api/echo", "/assets/app-gone.js"):
        reply = nginx.get(path, tls=True)
        assert reply.one("Strict-Transport-Security") == "max-age=31536000"
        assert_common_headers(reply, "r1")
    context = ssl.create_default_context(cafile=str(nginx.directory / "config/current/secrets/tls.crt"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    for version, expected in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context.minimum_version = context.maximum_version = version
        plain = socket.create_connection(("127.0.0.1", nginx.https), timeout=5)
        with plain, context.wrap_socket(plain, server_hostname="localhost") as secured:
            assert (secured.version(), secured.selected_alpn_protocol()) == (expected, "h2")
    with socket.create_connection(("127.0.0.1", nginx.https), timeout=5) as plain:
        plain.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert plain.recv(4096).startswith(b"HTTP/1.1 308 ")


def test_tls_1_1_is_refused(stack: Stack) -> None:
    """By hand, since the client's own library may refuse to offer it: a ClientHello of RFC 4346."""
    offer = b"\x03\x02" + os.urandom(32) + b"\x00" + b"\x00\x06\xc0\x09\xc0\x13\x00\x2f" + b"\x01\x00"
    hello = b"\x01" + len(offer).to_bytes(3, "big") + offer
    with socket.create_connection(("127.0.0.1", stack.tls.https), timeout=5) as plain:
        plain.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        answer = plain.recv(64)
    assert (answer[0], answer[5:7]) == (21, b"\x02\x46")  # a fatal alert: protocol_version


def test_the_access_log_is_json(nginx: Nginx) -> None:
    agent = 'quote " backslash \\ umlaut \xfc'  # sent as Latin-1: not UTF-8
    nginx.get(
        "/api/missing?q=%22",
        X_Request_Id="log-of-the-api",
        User_Agent=agent,
        Referer="https://a.test/\u00e4".encode().decode("latin-1"),
        X_Forwarded_For="203.0.113.8",
    )
    nginx.get("/deals", X_Request_Id="log-of-a-page")
    nginx.raw(b"BROKEN\r\n\r\n")
    nginx.switch("green")
    nginx.get("/", X_Request_Id="log-of-green")
    entry = nginx.log("log-of-the-api")
    assert set(entry) == {
        "time", "request_id", "remote_addr", "method", "uri", "protocol", "status", "bytes", "request_time",
        "upstream_addr", "upstream_status", "upstream_time", "release", "slot", "referrer", "agent",
    }  # fmt: skip
    datetime.datetime.fromisoformat(entry["time"])
    assert (entry["method"], entry["uri"], entry["status"]) == ("GET", "/api/missing?q=%22", 404)
    assert entry["remote_addr"] == "203.0.113.8" and entry["bytes"] > 0
    assert (entry["release"], entry["slot"], entry["upstream_status"]) == ("r1", "blue", "404")
    assert float(entry["upstream_time"]) <= entry["request_time"] + 0.01 and ":" in entry["upstream_addr"]
    assert (entry["agent"], entry["referrer"]) == ("(not UTF-8)", "https://a.test/\u00e4")
    page = nginx.log("log-of-a-page")
    assert (page["release"], page["upstream_addr"], page["status"]) == ("r1", "", 200)
    assert page["referrer"] == ""
    assert nginx.log("log-of-green")["slot"] == "green"


def test_what_runs_is_hardened_and_small(nginx: Nginx) -> None:
    """Idle memory is far below the usage target of 100 MB; counters of cgroup v2, else v1."""
    used = docker(
        "exec", nginx.name, "sh", "-c",
        "cat /sys/fs/cgroup/memory.current 2>&- || cat /sys/fs/cgroup/memory/memory.usage_in_bytes",
    )  # fmt: skip
    assert 1 << 20 < int(used) < 40 << 20
    status = docker("exec", nginx.name, "sh", "-c", "cat /proc/[0-9]*/status")
    assert status.count("Name:\tnginx") == 3  # the master and the pinned two workers
    assert "Uid:\t0" not in status and status.count("CapEff:\t0000000000000000") == status.count("CapEff:")
    written = subprocess.run(
        ("docker", "exec", nginx.name, "touch", "/etc/sixty/x", "/route/x", "/usr/x"),
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert written.stderr.count("Read-only file system") == 3


def test_a_reload_ends_within_its_time(nginx: Nginx) -> None:
    """A tree swapped in beside the old one is what the workers run after a HUP, the link being the same."""
    trees = nginx.directory / "config/trees"
    for path in (trees / "one").rglob("*"):
        target = trees / "two" / path.relative_to(trees / "one")
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text().replace("frame-ancestors 'none'", "frame-ancestors 'self'"))
    current, new = nginx.directory / "config/current", nginx.directory / "config/new"
    try:
        new.symlink_to("trees/two")
        new.replace(current)
        docker("kill", "--signal=HUP", nginx.name)
        end = time.monotonic() + 5
        while "frame-ancestors 'self'" not in nginx.get("/").one("Content-Security-Policy"):
            assert time.monotonic() < end, nginx.output()
            time.sleep(0.1)
    finally:
        new.symlink_to("trees/one")
        new.replace(current)
        docker("kill", "--signal=HUP", nginx.name)
