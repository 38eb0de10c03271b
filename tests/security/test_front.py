# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client of the site can do to nginx, and what it can reach through it, on the deployed stack.

Rate, connections, streams, bodies, CORS, headers and the paths that API and nginx could read differently are in
tests/integration/test_nginx_config.py, with limits that a test can reach.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import PORT, ask, docker, routed
from ansible_collections.sixty_sales.memory_optimized.tests.integration.test_nginx_config import (
    PREFIX,
    Nginx,
    certificate,
    render,
)

# What only somebody inside may see: of the API, of nginx, the exporters, Prometheus, Alertmanager, the monitor.
INSIDE = (
    *(b"process_cpu", b"nodejs_", b"Active connections", b"go_goroutines", b"container_memory", b"memory_budget"),
    *(b'"checks"', b'"database"', b"alertmanager", b"root:x:0:0", b"BEGIN ", b"PRIVATE KEY", b"server_tokens"),
)
PATHS = [
    *("/metrics", "/health", "/health/live", "/health/ready", "//metrics", "/%6detrics", "/metrics/", "/METRICS"),
    *("/api/../metrics", "/api/%2e%2e/metrics", "/api/..%2fhealth/ready", "/api/..;/metrics", "/api/metrics"),
    *("/api/health", "/api/health/ready", "/stub_status", "/api/stub_status", "/nginx_status", "/server-status"),
    # The Memory Monitor's, Prometheus's and Alertmanager's own.
    *("/api/v1/status", "/api/v1/targets", "/api/v1/query?query=up", "/api/v2/status", "/api/v2/silences"),
    *("/-/ready", "/-/reload", "/-/quit", "/graph", "/debug/pprof/", "/healthz/../metrics"),
]
TRAVERSAL = [
    *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/assets/../../../../etc/passwd"),
    *(
        "/assets/..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets../www/index.html",
    ),
    *("/..\\..\\etc\\passwd", "/%5c..%5c..%5cetc%5cpasswd", "/%c0%ae%c0%ae/etc/passwd", "/%252e%252e/etc/passwd"),
    *("/assets/%00/../../etc/passwd", "//etc/passwd", "/etc/sixty/current/nginx.conf", "/.maintenance"),
    *("/.env", "/.git/config", "/%2egit/config", "/.htpasswd", "/assets/.env", "/assets/.git/config", "/a/.hidden"),
]


def say(data: bytes, seconds: float = 5) -> bytes:
    """What nginx answers to these bytes until it closes, or nothing more comes."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=seconds) as connection:
        parts = []
        with contextlib.suppress(TimeoutError, ConnectionResetError, BrokenPipeError):
            connection.sendall(data)
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1."), answer[:80]
    return int(answer.split(b" ", 2)[1])


def request(path: str, method: str = "GET", host: str = "localhost", more: str = "") -> bytes:
    """A request as it is on the wire, which no library would put in order."""
    return say(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode("latin-1"))


def test_the_words_are_those_that_are_looked_for():
    """The same words from where they are: the API's metrics, in its container."""
    code = "exec 3<>/dev/tcp/127.0.0.1/3000; printf 'GET %s HTTP/1.0\\r\\n\\r\\n' {} >&3; cat <&3"
    for path, word in (("/metrics", b"nodejs_"), ("/health/ready", b'"checks"')):
        ended = subprocess.run(
            ["docker", "exec", f"{docker_name()}", "bash", "-c", code.format(path)], capture_output=True, timeout=30
        )
        assert word in ended.stdout, ended


def docker_name() -> str:
    return docker("ps", "--format", "{{.Names}}", "--filter", f"label=sixty.release={routed()}").split()[0]


# -- what is inside


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_the_inside_is_served(path):
    answer = request(path)
    assert not [word for word in INSIDE if word in answer], answer
    # The page for a path that is no file, or nothing.
    assert status(answer) in (400, 404) or b"<!doctype html>" in answer.lower(), answer[:300]


@pytest.mark.parametrize(
    "host", ["memory-monitor", "prometheus:9090", "10.60.4.5", "127.0.0.1:8081", "postgres", "x" * 200]
)
def test_a_host_header_chooses_nothing(host):
    """There is one site, whatever is asked for; no name leads to another server or to another upstream."""
    for path in ("/metrics", "/stub_status", "/api/v1/status"):
        answer = request(path, host=host)
        assert not [word for word in INSIDE if word in answer] and status(answer) in (200, 404), answer[:200]


def test_it_is_no_proxy():
    for target in (
        "http://10.60.4.5:9090/metrics",
        "http://127.0.0.1:8081/stub_status",
        "http://169.254.169.254/latest",
    ):
        answer = request(target)
        assert not [word for word in INSIDE if word in answer], answer
    assert status(request("postgres:5432", method="CONNECT")) == 400 or status(request("/", method="CONNECT")) == 405


# -- files


@pytest.mark.parametrize("path", TRAVERSAL)
def test_no_path_leads_out_of_the_bundle(path):
    answer = request(path)
    assert not [word for word in INSIDE if word in answer], answer
    assert status(answer) in (400, 404) or b"<!doctype html>" in answer.lower(), answer[:300]


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PROPFIND", "MOVE", "CONNECT"])
def test_files_are_only_read(method):
    assert status(request("/index.html", method=method)) == 405


# -- requests that are no good


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Large: " + b"a" * 9000 + b"\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n"
            + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4000) for n in range(12))
            + b"\r\n",
            400,
        ),
        # One length and one only, or two servers see two requests in it.
        (
            b"POST /api/deals HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /api/deals HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
        (b"POST /api/deals HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /api/deals HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
    ],
)
def test_a_request_that_is_no_good_is_refused(data, wanted):
    assert status(say(data, seconds=2)) == wanted


def test_a_line_feed_in_a_path_adds_no_header():
    for path in ("/%0d%0aX-Injected:%201", "/api/deals?q=%0d%0aX-Injected:%201", "/%E5%98%8AX-Injected:1"):
        head = request(path).partition(b"\r\n\r\n")[0]
        assert b"\r\nx-injected" not in head.lower()


def test_whoever_is_slow_is_let_go():
    """Ten seconds for headers and fifteen for a body that does not move, while others are served."""

    def held(first: bytes, rest: bytes) -> float:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", PORT), timeout=25) as connection:
            connection.sendall(first)
            connection.settimeout(0.25)
            while time.monotonic() - began < 25:
                with contextlib.suppress(TimeoutError):
                    try:
                        if rest:
                            connection.sendall(rest)
                        if connection.recv(65536) == b"":
                            break
                    except (ConnectionResetError, BrokenPipeError):
                        break
            return time.monotonic() - began

    head = b"POST /api/deals HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    cases = [(b"", b""), (b"GET / HTTP/1.1\r\n", b"X-a: b\r\n"), (head + b"\r\n{", b"")]
    with ThreadPoolExecutor(3) as pool:
        times = [pool.submit(held, *case) for case in cases]
        assert ask("/").status == 200
        nothing, dripping, body = (each.result() for each in times)
    assert 9 < nothing < 12 and 9 < dripping < 12 and 14 < body < 18, (nothing, dripping, body)


# -- TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An nginx of its own with the role's configuration for a certificate."""
    base, network, (pem, key) = tmp_path_factory.mktemp("tls"), f"{PREFIX}-sec", certificate()
    slots = {"blue": "192.0.2.1", "green": "192.0.2.2"}
    tree = render(base, {"tls": {"nginx_tls_certificate": pem, "nginx_tls_key": key, "stack_slots": slots}})["tls"]
    (base / "tls").mkdir()
    docker("network", "create", network)
    try:
        made = Nginx("tls-sec", base / "tls", [network], tree)
        made.switch("blue")
        yield made
    finally:
        docker("rm", "--force", "--volumes", f"{PREFIX}-tls-sec", check=False)
        docker("network", "rm", network)


def s_client(tls: Nginx, *arguments: str, text: str = "") -> str:
    """What openssl says of a handshake; the library's own floor is taken away, so that the server's counts."""
    ended = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{tls.https}", "-servername", "localhost", *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
        check=False,
    )
    return ended.stdout


def suite(said: str) -> str:
    found = re.search(r"Cipher is (\S+)", said)
    return found[1] if found else "(NONE)"


@pytest.mark.parametrize(
    ("version", "wanted"), [("tls1", False), ("tls1_1", False), ("tls1_2", True), ("tls1_3", True)]
)
def test_tls_versions(tls, version, wanted):
    said = s_client(tls, f"-{version}", "-cipher", "ALL:@SECLEVEL=0")
    assert (suite(said) != "(NONE)") is wanted, said
    assert wanted or "alert protocol version" in said


def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption_only(tls):
    """Each suite that openssl knows, offered alone."""
    known = subprocess.run(
        ["openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    ).stdout.strip()
    names = [name for name in known.split(":") if not name.startswith("TLS_")]
    assert len(names) > 60 and {"AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "NULL-SHA256"} <= set(names)
    with ThreadPoolExecutor(8) as pool:
        said = pool.map(lambda name: suite(s_client(tls, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")), names)
        taken = {name for name, found in zip(names, said) if found == name}
    # Of a certificate with an elliptic curve; one of RSA has the same three in its own name.
    kinds = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    assert taken == {f"ECDHE-ECDSA-{kind}" for kind in kinds}


def test_tls_keeps_no_ticket_and_renegotiates_not(tls):
    said = s_client(tls, "-tls1_2", "-no_ign_eof", text="Q\n")
    assert "Secure Renegotiation IS supported" in said and "Compression: NONE" in said
    assert "TLS session ticket:" not in said
    again = s_client(tls, "-tls1_2", "-no_ign_eof", text="R\n")
    assert "RENEGOTIATING" in again and ("no renegotiation" in again or "unexpected eof" in again), again


def test_strict_transport_security_is_said_over_tls(tls):
    said = s_client(tls, "-quiet", "-ign_eof", text="GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert "Strict-Transport-Security: max-age=31536000" in said
    plain = http.client.HTTPConnection("127.0.0.1", tls.http, timeout=10)
    with contextlib.closing(plain):
        plain.request("GET", "/x", headers={"Host": "localhost"})
        answer = plain.getresponse()
        assert (answer.status, answer.getheader("Location")) == (308, "https://localhost/x")
        assert answer.getheader("Strict-Transport-Security") is None


def test_a_hidden_file_among_the_assets_is_not_served(tls):
    assets = Path(tls.route) / "slots/blue/r1/www/assets"
    for folder in (assets, assets.parent):
        (folder / ".env").write_text("hidden")
    assert (assets / "app-r1.js").exists()
    for path, wanted in (("/assets/app-r1.js", 200), ("/assets/.env", 404), ("/.env", 404), ("/assets/%2eenv", 404)):
        reply = tls.get(path, tls=True)
        assert reply.status == wanted and b"hidden" not in reply.body, path
