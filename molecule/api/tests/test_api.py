# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole application tier on a host of its own, asked from outside: data, release, and who reaches whom."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

ROWS = 200


@pytest.fixture
def api(containers):
    return containers["api"]


@pytest.fixture
def release(host, stack):
    """What the host's own state says is served."""
    return host.check_output("basename $(readlink %s)", f"/srv/{stack}/route/active")


@pytest.fixture
def count(containers):
    """Rows of a table, by PostgreSQL's own word."""

    def rows(table, where="true"):
        statement = f"SELECT count(*) FROM {table} WHERE {where}"
        return int(containers["postgres"].output("psql", "-XAtU", "postgres", "-d", "sixty", "-c", statement))

    return rows


def test_the_page_and_its_assets_come_through_nginx(ask, release):
    page = ask("/")
    assert (page.status, page.headers["x-release"]) == (200, release)
    assert b'<div id="root">' in page.body
    script = re.search(rb'src="(/assets/[^"]+)"', page.body)[1].decode()
    asset = ask(script, Accept_Encoding="br")
    assert (asset.status, asset.headers["content-encoding"]) == (200, "br")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_the_data_is_postgresqls(ask, count, release):
    answer = ask("/api/deals?page_size=5")
    assert (answer.status, answer.headers["x-release"]) == (200, release)
    assert answer.json["total"] == count("deals") == ROWS
    assert len(answer.json["items"]) == 5
    assert ask("/api/release").json == {"release": release}
    assert sum(stage["count"] for stage in ask("/api/pipeline").json["stages"]) == ROWS


def test_a_write_is_a_row_and_the_cache_knows(ask, count):
    query = "/api/deals?q=Molecule"
    assert ask(query).json["total"] == 0
    assert ask(query).headers["x-cache"].startswith("hit")
    deal = {"name": "Molecule", "company": "Sixty", "owner": "Ada", "stage": "lead", "amount_cents": 6000}
    created = ask("/api/deals", method="POST", data=deal)
    assert created.status == 201, created.body
    assert count("deals", "name = 'Molecule'") == 1
    assert ask(query).json["total"] == 1
    assert ask("/api/deals", method="POST", data={"name": ""}).status == 400


def test_its_own_endpoints_do_not_pass_nginx(ask, api):
    for path in ("/metrics", "/health/ready", "/health/live", "/api/../metrics", "/api/%2e%2e/metrics", "//metrics"):
        assert b"process_cpu" not in ask(path).body
        assert b'"checks"' not in ask(path).body
    request = "exec 3<>/dev/tcp/127.0.0.1/3000; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    assert "process_cpu" in api.output("bash", "-c", request)


def test_only_nginx_is_reachable_from_outside(reachable, host, stack):
    assert reachable(80)
    assert not [port for port in (3000, 5432, 6379, 8080, 8081) if reachable(port)]
    published = host.check_output("docker ps --filter label=sixty.stack=%s --format '{{.Names}} {{.Ports}}'", stack)
    assert [line.split()[0] for line in published.splitlines() if "->" in line] == [f"{stack}-nginx"]


def ip(container, network):
    """A container's address in a network."""
    networks = json.loads(container.now("{{json .NetworkSettings.Networks}}"))
    return networks[network]["IPAddress"]


def test_who_reaches_whom(containers, stack):
    """Each wall beside a door that shows that somebody listens there."""
    postgres, redis, nginx, api = (containers[name] for name in ("postgres", "redis", "nginx", "api"))
    database, cache = (ip(postgres, f"{stack}-db"), 5432), (ip(redis, f"{stack}-cache"), 6379)
    service = (ip(api, f"{stack}-app"), 3000)
    assert api.connects(*database) and api.connects(*cache) and nginx.connects(*service)
    assert not redis.connects(*database)
    assert not postgres.connects(*cache)
    assert not nginx.connects(*database)
    assert not nginx.connects(*cache)
    assert not redis.connects(*service)
    assert not postgres.connects(*service)


def test_nothing_but_nginx_can_leave_the_host(containers, host):
    """A listener of this test stands for the world; nginx, whose port is published, reaches it."""
    outside = host.check_output("ip -4 route show default").split()[2]
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        leavers = [name for name, container in containers.items() if container.connects(outside, port)]
    assert leavers == ["nginx"]


def test_node_has_the_budgets_numbers(api, host):
    pid = api.status["Pid"]
    command = host.file(f"/proc/{pid}/cmdline").content_string.split("\0")
    assert {"--max-old-space-size=384", "--max-semi-space-size=4", "--expose-gc"} <= set(command)
    environment = dict(line.split("=", 1) for line in api.output("env").splitlines())
    assert (environment["DATABASE_POOL_MAX"], environment["CACHE_MAX_ENTRIES"]) == ("5", "50")


def test_floods_are_refused(ask):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, ["/api/release"] * 200))
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} == {200, 429}
    assert refused[0].json["error"]["code"] == "too_many_requests"
    assert refused[0].headers["retry-after"] == "1"


def test_check_mode_shows_a_new_release_and_touches_nothing(play, ask, release, host, stack):
    before = host.check_output("docker ps --all --quiet --filter label=sixty.stack=%s", stack)
    recap = play("--check", "--diff", release_id="molecule-r2")
    assert f"Release {release} is served; molecule-r2 is due" in " ".join(recap.output.split())
    assert ask("/api/release").json == {"release": release}
    assert host.check_output("docker ps --all --quiet --filter label=sixty.stack=%s", stack) == before


def test_a_new_release_is_switched_to_without_a_lost_request(play, ask, asked, release):
    play(release_id="molecule-r2")
    answers = asked()
    assert {answer.status for answer in answers} == {200}
    assert [answers[0].json["release"], answers[-1].json["release"]] == [release, "molecule-r2"]
    assert all(answer.headers["x-release"] == answer.json["release"] for answer in answers)
    assert ask("/").headers["x-release"] == "molecule-r2"


def test_it_serves_from_postgresql_while_redis_is_away(ask, containers, host):
    host.check_output("docker stop %s", containers["redis"].name)
    try:
        answer = ask("/api/deals?sort=name&page_size=7")
        assert (answer.status, len(answer.json["items"])) == (200, 7)
    finally:
        host.check_output("docker start %s", containers["redis"].name)


def test_everything_comes_back_after_a_reboot(host, count, eventually):
    before = count("deals")
    subprocess.run(["docker", "restart", host.backend.host], check=True, capture_output=True, timeout=60)
    # Asked from the host, whose address may be another now.
    url = "http://127.0.0.1/api/release"
    eventually(lambda: host.run("curl --fail --silent --max-time 5 %s", url).stdout == '{"release":"molecule-r2"}', 90)
    assert count("deals") == before
