# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alertmanager as it runs: silences outlive it, and a channel that would tell nobody is refused."""

from __future__ import annotations

import json

import pytest

WEBHOOK = "https://hooks.example.com/services/molecule-hook"


@pytest.fixture
def get(asks):
    return lambda path: json.loads(asks(f"9093/api/v2/{path}"))


@pytest.fixture
def amtool(container):
    return lambda *words: container.output("amtool", "--alertmanager.url=http://127.0.0.1:9093", *words)


def test_it_has_no_peers_and_the_budgets_memory(get, container):
    assert get("status")["cluster"]["status"] == "disabled"
    assert {"GOMEMLIMIT=25MiB", "GOMAXPROCS=1"} <= set(container.output("env").splitlines())


def test_the_routes_lead_where_they_should(amtool):
    config = "--config.file=/etc/sixty/current/alertmanager.yml"
    test = lambda *labels: amtool("config", "routes", "test", config, *labels)  # noqa: E731
    assert test("alertname=Watchdog") == "heartbeat"
    assert test("alertname=X", "severity=warning") == "team"
    assert test("alertname=X", "severity=critical", "rollback_trigger=health") == "webhook,pagerduty,team"


def test_an_alert_is_taken_and_a_silence_hushes_it(amtool, get, eventually):
    amtool("alert", "add", "alertname=MoleculeTest", "service=redis", "severity=warning")
    eventually(lambda: [alert["status"]["state"] for alert in get("alerts?filter=service=redis")] == ["active"])
    amtool("silence", "add", "--author=molecule", "--comment=test", "--duration=1h", "service=redis")
    eventually(lambda: [alert["status"]["state"] for alert in get("alerts?filter=service=redis")] == ["suppressed"])


def test_a_silence_outlives_the_program(amtool, get, container, eventually, host):
    silences = lambda: {found["id"] for found in get("silences") if found["status"]["state"] == "active"}  # noqa: E731
    before = silences()
    assert before
    host.check_output("docker restart %s", container.name)
    eventually(lambda: host.run("curl --fail --silent http://127.0.0.1:9093/-/ready").rc == 0)
    assert silences() == before


def test_half_a_channel_is_refused(play, container, get):
    before = container.output("readlink", "/etc/sixty/current")
    recap = play(fails=True, alertmanager_slack={"channel": "#ops"})
    said = " ".join(recap.output.split())
    assert "alertmanager_slack is set, but stack_secrets.alertmanager_slack_webhook_url is not" in said
    assert "Alertmanager was not changed" in said
    assert container.output("readlink", "/etc/sixty/current") == before


def test_a_channel_comes_by_a_reload_and_its_secret_is_shown_nowhere(play, container, secrets, get, host):
    before = container.now("{{.Id}} {{.State.StartedAt}}")
    with_hook = {"stack_secrets": secrets | {"alertmanager_slack_webhook_url": WEBHOOK}}
    recap = play("--diff", alertmanager_slack={"channel": "#ops"}, **with_hook)
    assert container.now("{{.Id}} {{.State.StartedAt}}") == before
    assert "slack_configs" in get("status")["config"]["original"]
    seen = [recap.output, get("status")["config"]["original"], host.check_output("docker inspect %s", container.name)]
    assert not [text for text in seen if WEBHOOK in text]
    file = "/etc/sixty/current/secrets/slack_webhook_url"
    assert container.output("cat", file) == WEBHOOK
    assert container.output("stat", "--format=%u:%g %a", file) == "0:65534 440"


def test_only_the_host_itself_reaches_it(reachable):
    assert not reachable(9093)
