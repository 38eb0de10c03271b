# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx on a host, asked from outside of it: nothing routed, then a release without its API.

What its templates answer in detail is tested in tests/integration/test_nginx_config.py.
"""

from __future__ import annotations

import json

import pytest

SCRIPT = "export const words = '" + "memory budget " * 400 + "';\n"


@pytest.fixture
def route(host, stack):
    """Lay down a release in a slot, and move the route to it as a switch does: by one rename."""
    root = f"/srv/{stack}/route"

    def switch(slot, release):
        www = f"{root}/slots/{slot}/{release}/www"
        host.check_output("mkdir -p %s", f"{www}/assets")
        host.check_output("printf %%s %s > %s", f"<title>{release}</title>", f"{www}/index.html")
        host.check_output("printf %%s %s > %s", SCRIPT, f"{www}/assets/app-1a2b3c4d.js")
        host.check_output("cd %s && ln -sfn %s next && mv -T next active", root, f"slots/{slot}/{release}")

    return switch


@pytest.fixture
def workers(container):
    """Process ids of the workers on the host, read anew at each call."""

    def pids():
        rows = container.host.check_output("docker top %s -o pid,args", container.name).splitlines()
        return sorted(row.split()[0] for row in rows if "nginx: worker process" in row)

    return pids


def test_the_numbers_of_the_requirement(container, workers, host):
    text = container.output("cat", "/etc/sixty/current/nginx.conf")
    assert "worker_connections 2048;" in text
    # Pinned, whatever the number of the host's cores.
    assert len(workers()) == 2
    # A proxied request holds two descriptors.
    assert int(host.check_output("awk '/^Max open files/ { print $4 }' /proc/%s/limits", workers()[0])) >= 2 * 2048


def test_the_program_accepts_its_configuration(container):
    assert container.output("nginx", "-t", "-q", "-c", "/etc/sixty/current/nginx.conf") == ""


@pytest.mark.parametrize("path", ["/", "/deals/7", "/api/deals", "/assets/app-1a2b3c4d.js"])
def test_nothing_is_routed_yet(ask, path):
    answer = ask(path)
    assert answer.status == 503
    assert answer.headers["x-release"] == "none"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["retry-after"] == "5"
    assert answer.json["error"]["code"] == "not_routed"


def test_its_own_health_does_not_depend_on_that(ask):
    answer = ask("/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")


@pytest.mark.parametrize("path", ["/metrics", "/health/ready", "/health/live", "/stub_status", "/.env", "/.git/config"])
def test_what_is_nobodys_business(ask, path):
    assert ask(path).status in (404, 503)
    assert b"Active connections" not in ask(path).body


@pytest.mark.parametrize("path", ["/", "/api/deals", "/healthz", "/metrics"])
def test_security_headers_are_everywhere(ask, path):
    headers = ask(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert headers["server"] == "nginx"
    assert headers["x-request-id"]


def test_only_its_own_port_is_open(reachable):
    assert reachable(80)
    assert not [port for port in (443, 3000, 8080, 8081, 8443) if reachable(port)]


def test_the_counters_are_for_the_inside(container):
    request = "printf 'GET /stub_status HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    assert "Active connections" in container.output("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/8081; {request}")


def test_the_log_is_json_that_its_group_reads(ask, host, stack, eventually):
    path = f"/var/log/{stack}/nginx/access.log"
    ask("/log-me", X_Request_Id="molecule-request-1")
    eventually(lambda: "molecule-request-1" in host.file(path).content_string, 5)
    lines = [json.loads(line) for line in host.file(path).content_string.splitlines()]
    [line] = [line for line in lines if line["request_id"] == "molecule-request-1"]
    assert (line["uri"], line["status"], line["release"]) == ("/log-me", 503, "none")
    assert (host.file(path).uid, host.file(path).group) == (101, "adm")


def test_a_rename_moves_the_route_without_a_reload(ask, route, workers):
    before = workers()
    for slot, release in (("blue", "r1"), ("green", "r2"), ("blue", "r1")):
        route(slot, release)
        answer = ask("/deals/7")
        assert (answer.status, answer.headers["x-release"]) == (200, release)
        assert answer.body.decode() == f"<title>{release}</title>"
        assert answer.headers["cache-control"] == "no-cache"
    assert workers() == before


def test_hashed_assets_are_kept_for_a_year_and_compressed(ask, route):
    route("blue", "r1")
    plain = ask("/assets/app-1a2b3c4d.js")
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.body.decode() == SCRIPT
    for encoding in ("gzip", "br"):
        packed = ask("/assets/app-1a2b3c4d.js", Accept_Encoding=encoding)
        assert packed.headers["content-encoding"] == encoding
        assert len(packed.body) < len(plain.body) / 10


def test_an_absent_api_is_said_in_its_own_form(ask, route):
    route("green", "r2")
    answer = ask("/api/deals")
    assert answer.headers["x-release"] == "r2"
    # Refused by its neighbours, or not answered within the two seconds for a connection.
    assert (answer.status, answer.json["error"]["code"]) in {(502, "api_unreachable"), (504, "api_timeout")}


def test_check_mode_shows_a_change_and_touches_nothing(play, container, workers):
    before = workers()
    recap = play("--check", "--diff", nginx_client_max_body_size="2m")
    assert recap.changed > 0
    assert "+client_max_body_size 2m;" in recap.output
    assert workers() == before
    assert "client_max_body_size 1m;" in container.output("cat", "/etc/sixty/current/conf.d/memory.conf")


def test_a_change_is_reloaded_in_the_same_container(ask, play, container, workers, eventually):
    body = b" " * 1_500_000
    assert ask("/api/deals", method="POST", data=body).status == 413
    started, before = container.now("{{.State.StartedAt}}"), workers()
    play(nginx_client_max_body_size="2m")
    eventually(lambda: not set(workers()) & set(before))
    assert ask("/api/deals", method="POST", data=body).status != 413
    assert container.now("{{.State.StartedAt}}") == started


def test_an_invalid_configuration_is_refused_and_the_old_one_keeps_serving(ask, play, container, route):
    route("blue", "r1")
    before = container.output("readlink", "/etc/sixty/current")
    recap = play(fails=True, nginx_proxy_read_timeout="soon")
    assert "invalid value" in recap.output
    assert container.output("readlink", "/etc/sixty/current") == before
    assert ask("/").status == 200
