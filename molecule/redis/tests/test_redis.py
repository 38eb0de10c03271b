# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis as it runs: the requirement's numbers, and who may do what."""

from __future__ import annotations

import pytest


@pytest.fixture
def redis(container, secrets):
    """Ask as a user of the ACL; with user=None without logging in."""

    def ask(*words, user="admin", password=None):
        login = []
        if user:
            login = ["--user", user, "--pass", password or secrets.get(f"redis_{user}_password", user)]
        return container.output("redis-cli", "--no-auth-warning", *login, *words)

    return ask


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory", str(64 * 1024 * 1024)),
        ("maxmemory-policy", "allkeys-lru"),
        ("save", "900 1 300 10 60 1000"),
        ("maxmemory-clients", "5%"),
        ("appendonly", "no"),
        ("dir", "/data"),
        ("loglevel", "notice"),
    ],
)
def test_the_running_configuration(redis, name, value):
    assert redis("CONFIG", "GET", name).split("\n") == [name, value]


@pytest.mark.parametrize("user", ["default", "api", "admin"])
def test_nobody_comes_in_without_the_password(container, redis, user):
    assert redis("PING", user=None).startswith("NOAUTH")
    assert "WRONGPASS" in container.output("redis-cli", "AUTH", user, "not-the-password")


def test_the_probe_can_only_ping(redis):
    assert redis("PING", user="health") == "PONG"
    assert redis("GET", "sixty:api:x", user="health").startswith("NOPERM")


def test_the_api_can_cache(redis):
    assert redis("SET", "sixty:api:x", "1", "EX", "60", user="api") == "OK"
    assert redis("GET", "sixty:api:x", user="api") == "1"


@pytest.mark.parametrize(
    "words",
    [
        ("FLUSHALL",),
        ("CONFIG", "SET", "maxmemory", "1gb"),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("GET", "somebody-elses"),
        ("SHUTDOWN", "NOSAVE"),
        ("ACL", "LIST"),
    ],
)
def test_the_api_cannot_harm_it(redis, words):
    assert redis(*words, user="api").startswith("NOPERM")


def test_its_files_hold_no_password(container, secrets):
    text = container.output("sh", "-c", "cat /etc/sixty/current/redis.conf /etc/sixty/current/secrets/*")
    assert "user admin" in text
    assert not [value for key, value in secrets.items() if value in text]


def test_it_is_not_reachable_from_outside(reachable):
    assert not reachable(6379)


def test_check_mode_shows_a_change_and_touches_nothing(play, container, redis):
    recap = play("--check", "--diff", redis_log_level="verbose")
    assert recap.changed > 0
    assert "+loglevel verbose" in recap.output
    assert redis("CONFIG", "GET", "loglevel").split() == ["loglevel", "notice"]


def test_a_change_reaches_it_and_the_data_stays(play, container, redis):
    redis("SET", "kept", "yes")
    before, started = container.now("{{.Id}}"), container.now("{{.State.StartedAt}}")
    play(redis_log_level="verbose")
    assert redis("CONFIG", "GET", "loglevel").split() == ["loglevel", "verbose"]
    assert container.now("{{.Id}}") == before
    assert container.now("{{.State.StartedAt}}") != started
    assert redis("GET", "kept") == "yes"


def test_it_comes_back_when_it_ends(container, eventually, host):
    host.check_output("kill -KILL %s", container.status["Pid"])
    eventually(lambda: container.run("redis-cli", "--user", "health", "--pass", "health", "PING").stdout == "PONG\n")
    assert container.now("{{.RestartCount}}") == "1"
