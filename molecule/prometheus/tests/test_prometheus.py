# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus between what it asks and whom it tells."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def get(asks):
    """Data of an answer of its API."""
    return lambda path: json.loads(asks(f"9090/api/v1/{path}"))["data"]


@pytest.fixture
def query(get):
    """Values of an instant query, which has nothing that a URL has to escape."""
    return lambda expression: [float(found["value"][1]) for found in get(f"query?query={expression}")["result"]]


def test_what_runs_here_is_scraped(get, eventually):
    """The other targets are of services that this scenario leaves away."""
    wanted = {"memory_monitor", "alertmanager", "prometheus"}
    up = lambda: {target["labels"]["job"] for target in get("targets")["activeTargets"] if target["health"] == "up"}  # noqa: E731
    eventually(lambda: up() == wanted, 45)


def test_the_monitors_figures_are_asked_for_by_the_rules(query, eventually, containers):
    eventually(lambda: query("container_memory_unreclaimable_bytes"), 45)
    assert sorted(query("container_spec_memory_limit_bytes")) == sorted(
        float(container.kernel.memory) for container in containers.values()
    )


def test_it_tells_alertmanager(asks, get, eventually):
    """The Watchdog always fires."""
    fires = lambda: {alert["labels"]["alertname"] for alert in json.loads(asks("9093/api/v2/alerts"))}  # noqa: E731
    eventually(lambda: "Watchdog" in fires(), 60)
    assert get("alertmanagers")["activeAlertmanagers"]


def test_its_flags_are_the_budgets(get, budget):
    settings = budget["services"]["prometheus"]["settings"]
    flags = get("status/flags")
    assert flags["query.max-samples"] == str(settings["query_max_samples"])
    assert flags["query.max-concurrency"] == str(settings["query_max_concurrency"])
    assert flags["web.enable-admin-api"] == flags["web.enable-lifecycle"] == "false"


def test_go_has_the_budgets_number(containers, budget):
    wanted = budget["services"]["prometheus"]["settings"]["gomemlimit"].removesuffix("M")
    assert f"GOMEMLIMIT={wanted}MiB" in containers["prometheus"].output("env").splitlines()


def test_only_the_host_itself_reaches_what_watches(reachable):
    assert not [port for port in (8080, 9090, 9093) if reachable(port)]


def test_a_rule_that_is_no_rule_never_lands(play, host, containers, asks):
    """promtool reads the new tree in its own image before the link moves."""
    before = containers["prometheus"].output("readlink", "/etc/sixty/current")
    recap = play(fails=True, prometheus_scrape_interval=-1)
    said = " ".join(recap.output.split())
    assert "the new configuration was refused, the old one keeps serving" in said and "promtool" in said
    assert containers["prometheus"].output("readlink", "/etc/sixty/current") == before
    assert asks("9090/-/ready")


def test_a_change_is_loaded_without_a_restart(play, containers, get):
    prometheus = containers["prometheus"]
    before = prometheus.now("{{.Id}} {{.State.StartedAt}}")
    play(prometheus_scrape_interval=7)
    assert "scrape_interval: 7s" in get("status/config")["yaml"]
    assert prometheus.now("{{.Id}} {{.State.StartedAt}}") == before
