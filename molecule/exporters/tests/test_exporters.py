# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporters as they run: each tells of its own backend, and can do nothing else there."""

from __future__ import annotations

import re

import pytest

PORTS = {"redis_exporter": 9121, "postgres_exporter": 9187, "nginx_exporter": 9113}


@pytest.fixture
def metric(containers):
    """Value of a metric of an exporter, asked from inside of it; labels as they are written, braces and all."""

    def value(service, name, labels=""):
        port = PORTS[service]
        request = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        answer = containers[service].output("bash", "-c", request)
        return float(re.search(rf"^{re.escape(name + labels)} (\S+)$", answer, re.MULTILINE)[1])

    return value


@pytest.mark.parametrize(
    ("exporter", "backend", "up"),
    [
        ("redis_exporter", "redis", "redis_up"),
        ("postgres_exporter", "postgres", "pg_up"),
        ("nginx_exporter", "nginx", "nginx_up"),
    ],
)
def test_it_sees_its_backend_come_and_go(metric, containers, host, eventually, exporter, backend, up):
    eventually(lambda: metric(exporter, up) == 1)
    host.check_output("docker stop %s", containers[backend].name)
    try:
        eventually(lambda: metric(exporter, up) == 0, 45)
    finally:
        host.check_output("docker start %s", containers[backend].name)
    eventually(lambda: metric(exporter, up) == 1, 45)


def test_the_numbers_are_the_backends(metric, containers):
    assert metric("redis_exporter", "redis_memory_max_bytes") == 64 << 20
    query = "SELECT pg_database_size('sixty')"
    size = int(containers["postgres"].output("psql", "-XAtU", "postgres", "-d", "sixty", "-c", query))
    assert metric("postgres_exporter", "pg_database_size_bytes", '{datname="sixty"}') == size
    assert metric("nginx_exporter", "nginx_connections_accepted") > 0


def test_its_user_of_redis_can_only_look(containers, secrets):
    login = ["redis-cli", "--no-auth-warning", "--user", "exporter", "--pass", secrets["redis_exporter_password"]]
    assert "redis_version" in containers["redis"].output(*login, "INFO", "server")
    for words in (["GET", "sixty:api:x"], ["CONFIG", "GET", "*"], ["FLUSHALL"], ["KEYS", "*"]):
        assert containers["redis"].output(*login, *words).startswith("NOPERM")


def test_its_user_of_postgresql_reads_no_row(containers):
    psql = ["psql", "-XAtU", "postgres", "-d", "sixty", "-c"]
    held = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication FROM pg_roles WHERE rolname = 'monitor'"
    assert containers["postgres"].output(*psql, held) == "f"
    own = "BEGIN; CREATE TABLE molecule (secret text); SET LOCAL ROLE monitor; SELECT * FROM molecule; ROLLBACK"
    refused = containers["postgres"].run(*psql, own)
    assert refused.rc != 0
    assert "permission denied for table molecule" in refused.stderr


def test_none_is_reachable_from_outside(reachable):
    assert not [port for port in PORTS.values() if reachable(port)]
