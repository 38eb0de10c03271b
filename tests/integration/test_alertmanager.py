# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts arrive: the role's Alertmanager, in a stack of its own, and receivers on this machine that it really reaches.

The receivers listen on the gateway of its network ``egress``, with TLS and a certificate that only the role's variable
makes it believe. What they get is checked against schemas of what Slack and PagerDuty take.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import itertools
import json
import os
import re
import signal
import time
from html import unescape
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.plugins.modules.container_memory_info import kernel_view
from ansible_collections.sixty_sales.memory_optimized.tests.alertmanager import receivers
from ansible_collections.sixty_sales.memory_optimized.tests.alertmanager.rendering import Rendering
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    ROOT,
    Play,
    docker,
    eventually,
    info,
    inspect,
    play,
)

NAME, SUBNETS, PORT = "amgr", "10.93", 19093
CONTAINER = f"{NAME}-alertmanager"
GATEWAY = f"{SUBNETS}.7.1"
CURRENT = Path(f"/srv/{NAME}/config/alertmanager/current")
STACK = {
    "stack_name": NAME, "stack_subnet_prefix": SUBNETS, "alertmanager_port": PORT,
    # nginx does not run, but the host is asked whether its port is free.
    "nginx_http_port": 19080,
    # What Alertmanager needs of them.
    "stack_networks": {
        name: {"subnet": f"{SUBNETS}.{number}.0/24", "internal": name == "metrics"}
        for name, number in {"metrics": 4, "admin": 6, "egress": 7}.items()
    },
}  # fmt: skip
QUICK = {
    "alertmanager_group_wait": "200ms",
    "alertmanager_group_interval": "1s",
    "alertmanager_heartbeat_interval": 2,
    "alertmanager_snapshot_interval": "1s",
}
# Long enough for a message that must not come: group_wait, group_interval and a moment.
SETTLED = 1.5

SLACK, PASSWORD, KEY = "T4711sLaCk/B4711sLaCk/sEcReT4711oFsLaCk", "pAsSw0rd4711oFmAiL", "4711" * 8
HEARTBEAT, TOKEN = "4711-0815-hEaRtBeAt", "tOkEn4711oFtHeWeBhOoK"
SECRETS = {"slack": SLACK, "mail": PASSWORD, "pagerduty": KEY, "heartbeat": HEARTBEAT, "webhook": TOKEN}

SCHEMAS = ROOT / "tests/alertmanager/schemas"
RUNBOOK, PROMETHEUS = "https://wiki.example.com/runbook#x", "http://localhost:9090/graph?g0.expr=a+%3E+85&g0.tab=1"


# -- the stack


def apply(*arguments: str, **variables: Any) -> Play:
    ended = play(
        *("--skip-tags", "monitoring", *arguments),
        playbook="tests/alertmanager/apply.yml",
        **STACK,
        **QUICK,
        **variables,
    )
    assert ended.code == 0, ended.tail
    return ended


def remove() -> None:
    ended = play(playbook="playbooks/destroy.yml", docker_host_purge=True, **STACK)
    assert ended.code == 0, ended.tail


@pytest.fixture(scope="module")
def unheard():
    """The role as its defaults are, on a host that had nothing: what the play said."""
    if docker("ps", "--all", "--quiet", "--filter", f"label=sixty.stack={NAME}"):
        remove()
    yield apply()
    remove()


def api(method: str, path: str, body: Any = None) -> Any:
    """The API, as Prometheus uses it."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)) as connection:
        headers = {"Content-Type": "application/json"}
        connection.request(method, f"/api/v2{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    assert answer.status == 200, text
    return json.loads(text) if text else None


def at(seconds: float = 0) -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(seconds=seconds)).isoformat()


def alert(name: str, severity: str = "warning", /, over: bool = False, annotations: Any = None, **labels: str) -> dict:
    """An alert as Prometheus sends it: it ends by itself unless it is sent again."""
    return {
        "labels": {"alertname": name, "severity": severity, "stack": NAME, "host": "web1", **labels},
        "annotations": {
            "summary": f"Container approaching memory limit: {labels.get('service')}",
            "description": "It has 55.2MiB of 64MiB (unreclaimable), which is 86.3 %; allowed are 85 %.",
            "runbook_url": RUNBOOK,
            **(annotations or {}),
        },
        "startsAt": at(-120),
        "endsAt": at(-1 if over else 240),
        "generatorURL": PROMETHEUS,
    }


def post(*alerts: dict) -> None:
    api("POST", "/alerts", alerts)


# -- the receivers


class Channels:
    """All receivers, and what reached them about an alert or a service."""

    def __init__(self, directory: Path) -> None:
        self.certificate = receivers.certificate(GATEWAY, directory)
        self.web = receivers.Web(GATEWAY, self.certificate.context)
        self.mail_server = receivers.Mail(GATEWAY, self.certificate.context, ("alerts", PASSWORD))

    def variables(self) -> dict[str, Any]:
        return {
            "stack_secrets": {
                "alertmanager_slack_webhook_url": f"{self.web.url}/services/{SLACK}",
                "alertmanager_smtp_password": PASSWORD,
                "alertmanager_pagerduty_routing_key": KEY,
                "alertmanager_heartbeat_url": f"{self.web.url}/ping/{HEARTBEAT}",
                "alertmanager_webhook_token": TOKEN,
            },
            "alertmanager_slack": {"channel": "#production-alerts", "icon_emoji": ":rotating_light:"},
            "alertmanager_mail": {
                "host": GATEWAY, "port": self.mail_server.port, "username": "alerts",
                "from": "Alerts <alerts@example.com>", "to": ["ops@example.com", "night@example.com"],
            },
            "alertmanager_pagerduty_url": f"{self.web.url}/v2/enqueue",
            "alertmanager_webhook_url": f"{self.web.url}/rollback",
            "alertmanager_ca_certificates": self.certificate.text,
        }  # fmt: skip

    def slack(self, word: str) -> list[dict]:
        sent = (request.json for request in self.web.at(f"/services/{SLACK}"))
        return [message for message in sent if word in message["attachments"][0]["title"]]

    def mail(self, word: str) -> list[Any]:
        return [message for _to, _from, message in list(self.mail_server.messages) if word in message["Subject"]]

    def pagerduty(self, word: str) -> list[dict]:
        sent = (request.json for request in self.web.at("/v2/enqueue"))
        return [event for event in sent if word in event["payload"]["summary"]]

    def webhook(self, word: str) -> list[receivers.Request]:
        sent = self.web.at("/rollback")
        return [request for request in sent if word in json.dumps(request.json["groupLabels"])]

    def all(self, word: str) -> list[list[Any]]:
        return [self.slack(word), self.mail(word), self.pagerduty(word), self.webhook(word)]

    def team(self, word: str) -> tuple[int, int]:
        return len(self.slack(word)), len(self.mail(word))

    def heartbeats(self) -> list[float]:
        return [request.at for request in self.web.at(f"/ping/{HEARTBEAT}")]

    def close(self) -> None:
        self.web.close()
        self.mail_server.close()


@pytest.fixture(scope="module")
def channels(unheard, tmp_path_factory):
    """All channels are configured. What the play said with -vvv is kept."""
    made = Channels(tmp_path_factory.mktemp("receivers"))
    made.said = apply("-vvv", "--diff", **made.variables()).text
    eventually(lambda: api("GET", "/status")["versionInfo"]["version"], "Alertmanager answers")
    post(alert("Watchdog", "none"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def incident(channels):
    """A critical alert that asks for a rollback, and its end: everything that everybody got."""
    labels = {"service": "api", "slot": "green", "release": "r2", "name": "amgr-api-r2", "rollback_trigger": "memory"}
    post(alert("MemoryCritical", "critical", **labels))
    eventually(lambda: all(channels.all("MemoryCritical api")[:3]), "people are told", 15)
    eventually(lambda: channels.webhook("MemoryCritical"), "the rulebook is told", 15)
    post(alert("MemoryCritical", "critical", over=True, **labels))
    eventually(
        lambda: all(len(sent) > 1 for sent in channels.all("MemoryCritical")), "all are told that it is over", 15
    )
    time.sleep(SETTLED)
    return dict(zip(("slack", "mail", "pagerduty", "webhook"), channels.all("MemoryCritical")))


# -- configuration


PARTS: dict[str, dict[str, Any]] = {
    "slack": {
        "stack_secrets": {"alertmanager_slack_webhook_url": "https://hooks.slack.com/services/T0/B0/x"},
        "alertmanager_slack": {"channel": "#alerts", "username": 'a "b" \' #c: {d}', "icon_url": "https://x.example/y.png"},
    },
    "mail": {
        "stack_secrets": {"alertmanager_smtp_password": PASSWORD},
        "alertmanager_mail": {
            "host": "smtp.example.com", "port": 465, "secure": "always", "username": "a: 'b'",
            "from": "A: <a@example.com>", "to": ["b@example.com", "c@example.com"],
        },
    },
    "pagerduty": {"stack_secrets": {"alertmanager_pagerduty_routing_key": KEY}},
    "webhook": {
        "stack_secrets": {"alertmanager_webhook_token": TOKEN},
        "alertmanager_webhook_url": "https://control.example.com:5000/rollback",
    },
    "heartbeat": {"stack_secrets": {"alertmanager_heartbeat_url": "https://hc-ping.com/x"}},
}  # fmt: skip


def together(*names: str) -> dict[str, Any]:
    """Variables of several channels."""
    variables: dict[str, Any] = {"stack_secrets": {}}
    for name in names:
        secrets = {**variables["stack_secrets"], **PARTS[name]["stack_secrets"]}
        variables.update({**PARTS[name], "stack_secrets": secrets})
    return variables


def amtool(directory: Path, script: str) -> str:
    """Output of a script in the image, with the directory at /etc/sixty/current."""
    image = inspect(CONTAINER)["Image"]
    options = ("--rm", "--network=none", "--entrypoint=sh", f"--volume={directory}:/etc/sixty/current:ro")
    return docker("run", *options, image, "-ec", script)


@pytest.fixture(scope="module")
def combinations(unheard, tmp_path_factory) -> Path:
    """The role's configuration for every combination of channels, in directories that are named after them."""
    directory = tmp_path_factory.mktemp("combinations")
    directory.chmod(0o755)
    for number in range(len(PARTS) + 1):
        for names in itertools.combinations(PARTS, number):
            for name, text in Rendering(stack_name=NAME, **together(*names)).files().items():
                path = directory / ("-".join(names) or "none") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    return directory


def test_every_combination_of_channels_is_a_configuration(combinations):
    said = amtool(combinations, "amtool check-config /etc/sixty/current/*/alertmanager.yml")
    assert said.count("Checking") == 2 ** len(PARTS) and "FAILED" not in said, said
    trees = [yaml.safe_load(path.read_text()) for path in combinations.glob("*/alertmanager.yml")]
    for part in ("route", "inhibit_rules"):
        assert all(tree[part] == trees[0][part] for tree in trees), "the routes are the same whichever channels are set"
    for path in combinations.glob("*/alertmanager.yml"):
        made = {
            name: {key for key in receiver if key.endswith("_configs")}
            for receiver in yaml.safe_load(path.read_text())["receivers"]
            for name in [receiver["name"]]
        }
        on = set(path.parent.name.split("-"))
        team = {"slack": "slack_configs", "mail": "email_configs"}
        assert made == {
            "team": {team[name] for name in on & team.keys()},
            "pagerduty": {"pagerduty_configs"} if "pagerduty" in on else set(),
            "webhook": {"webhook_configs"} if "webhook" in on else set(),
            "heartbeat": {"webhook_configs"} if "heartbeat" in on else set(),
        }
        assert not [secret for secret in SECRETS.values() if secret in path.read_text()]


# Alert -> its severities.
BOTH = ("warning", "critical")
ALERTS: dict[str, tuple[str, ...]] = {
    "HighMemoryUsage": ("warning",), "MemoryWarning": ("warning", "info"), "MemoryCritical": ("critical",),
    "TotalMemoryHigh": ("warning",), "TotalMemoryCritical": ("critical",), "ContainerOOMKilled": BOTH,
    "HostOOMKill": BOTH, "ContainerRestartLoop": BOTH, "MemoryExhaustionPredicted": BOTH, "MemoryLeak": ("warning",),
    "ApiLatencyDegraded": BOTH, "ApiErrorRate": BOTH, "HealthCheckFailing": BOTH, "TargetDown": BOTH,
    "ServiceDown": BOTH, "HostDown": ("critical",), "MonitorDown": ("critical",),
    "DiskSpaceLow": BOTH, "CertificateExpiresSoon": BOTH,
    "BackupTooOld": BOTH, "BackupFailed": ("warning",),
    "PrometheusSeriesHigh": ("warning",), "PrometheusRuleFailing": ("critical",),
    "ConfigReloadFailed": BOTH, "NotificationsFailing": ("critical",), "Watchdog": ("none",),
}  # fmt: skip
TRIGGERS = ("", "memory", "performance", "health", "restarts")


def expected(name: str, severity: str, trigger: str) -> str:
    """Receivers in their order."""
    if name == "Watchdog":
        return "heartbeat"
    return ",".join((["webhook"] if trigger else []) + (["pagerduty"] if severity == "critical" else []) + ["team"])


def test_every_alert_takes_its_route(combinations):
    cases = [(name, severity, trigger) for name, all in ALERTS.items() for severity in all for trigger in TRIGGERS]
    # One that nobody thought of is told as well.
    cases += [("SomethingNew", severity, "") for severity in ("info", "warning", "critical", "")]
    script = ["c=/etc/sixty/current/none/alertmanager.yml"]
    for name, severity, trigger in cases:
        labels = {"alertname": name, "severity": severity, "rollback_trigger": trigger, "service": "api", "stack": NAME}
        given = " ".join(f"{label}={value}" for label, value in labels.items() if value)
        script.append(f"amtool config routes test --config.file=$c {given}")
    said = amtool(combinations, "\n".join(script)).splitlines()
    said = [line for line in said if not line.startswith("Warning: --config.file flag overrides")]
    assert said == [expected(*case) for case in cases]


def test_every_rule_of_prometheus_is_among_them():
    found = {
        name
        for path in (ROOT / "roles/prometheus/templates/rules").glob("*")
        for name in re.findall(r"alert: (\w+)", path.read_text())
    }
    assert found and found <= ALERTS.keys(), found - ALERTS.keys()


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"alertmanager_slack": {"channel": "#alerts"}}, "alertmanager_slack_webhook_url is not"),
        ({"stack_secrets": {"alertmanager_slack_webhook_url": "T000/B000/XXX"}}, "slack_webhook_url is no http"),
        ({"stack_secrets": {"alertmanager_heartbeat_url": "hc-ping.com/x"}}, "heartbeat_url is no http"),
        ({"stack_secrets": {"alertmanager_smtp_password": "CHANGE_ME"}}, "placeholder"),
        ({"stack_secrets": {"alertmanager_slack_url": "https://x.example"}}, "nothing reads: alertmanager_slack_url"),
        ({"stack_secrets": {"alertmanager_pagerduty_routing_key": "short"}}, "has 5 characters"),
        ({"alertmanager_mail": {"port": 25}}, "has no host, no from, no to"),
        ({"alertmanager_mail": {"host": "h", "from": "f", "to": []}}, "has no to"),
        ({"alertmanager_mail": {"host": "h", "from": "f", "to": ["t"], "username": "u"}}, "smtp_password is not"),
        (
            {"alertmanager_mail": {"host": "h", "from": "f", "to": ["t"], "secure": "always"}},
            "for port 587 it is starttls",
        ),
        ({"alertmanager_mail": {"host": "h", "from": "f", "to": ["t"], "port": 465}}, "it is always"),
        (
            {
                "alertmanager_mail": {"host": "h", "from": "f", "to": ["t"], "username": "u", "secure": "never"},
                "stack_secrets": {"alertmanager_smtp_password": PASSWORD},
            },
            "sends no password",
        ),
        ({"alertmanager_webhook_url": "https://control.example.com"}, "alertmanager_webhook_token is not"),
        (
            {"alertmanager_webhook_url": "control:5000", "stack_secrets": {"alertmanager_webhook_token": TOKEN}},
            "alertmanager_webhook_url is no http",
        ),
        ({"alertmanager_heartbeat_interval": 1}, "2 seconds or more"),
        ({"alertmanager_ca_certificates": "/etc/ssl/own.pem"}, "is no PEM text"),
    ],
)
def test_half_a_channel_is_refused(variables, problem):
    [found] = Rendering(**variables).value("__alertmanager_problems")
    assert problem in found


def test_whole_channels_are_not_refused():
    assert Rendering(**together(*PARTS)).value("__alertmanager_problems") == []
    assert Rendering(**together(*PARTS)).value("__alertmanager_channels") == ["slack", "mail", "pagerduty"]
    # An inventory may name all of them and leave them empty.
    empty = {name: "" for part in PARTS.values() for name in part["stack_secrets"]}
    assert Rendering(stack_secrets=empty).value("__alertmanager_problems") == []
    assert Rendering(stack_secrets=empty).value("__alertmanager_channels") == []


def test_that_nobody_is_told_is_said(unheard):
    assert "NOBODY IS TOLD of alerts: neither Slack nor mail nor PagerDuty is configured." in unheard.said
    assert "Only critical" in Rendering(**together("pagerduty")).value("__alertmanager_unheard")
    for name in ("slack", "mail"):
        assert Rendering(**together(name)).value("__alertmanager_unheard") == ""
    for name in ("webhook", "heartbeat"):
        assert "NOBODY" in Rendering(**together(name)).value("__alertmanager_unheard"), "nobody reads these"


# -- arrival


def check(schema: str, value: Any) -> None:
    jsonschema.validate(value, json.loads((SCHEMAS / schema).read_text()), jsonschema.Draft202012Validator)


def test_the_configuration_is_that_of_the_role(channels):
    """So what was checked above for all combinations is what runs here."""
    for name, text in Rendering(**STACK, **QUICK, **channels.variables()).files().items():
        assert (CURRENT / name).read_text() == text, name


def test_slack_is_told_and_that_it_is_over(incident):
    firing, resolved = incident["slack"]
    check("slack_incoming_webhook.json", firing)
    check("slack_incoming_webhook.json", resolved)
    assert (firing["channel"], firing["icon_emoji"]) == ("#production-alerts", ":rotating_light:")
    [part] = firing["attachments"]
    assert (part["color"], part["title"]) == ("danger", f"[{NAME}] CRITICAL MemoryCritical api")
    assert part["title_link"] == PROMETHEUS
    assert part["text"] == (
        "*Container approaching memory limit: api (release r2)*\n"
        "It has 55.2MiB of 64MiB (unreclaimable), which is 86.3 %; allowed are 85 %.\n"
        f"<{RUNBOOK}|Runbook>  <{PROMETHEUS.replace('&', '&amp;')}|Prometheus>"
    )
    [part] = resolved["attachments"]
    assert (part["color"], part["title"]) == ("good", f"[{NAME}] RESOLVED MemoryCritical api")
    assert part["text"].startswith("Over: Container approaching memory limit: api (release r2)\n<")


def test_mail_arrives_encrypted_with_a_login(channels, incident):
    firing, resolved = incident["mail"]
    assert set(channels.mail_server.logins) == {("alerts", PASSWORD)}
    to, sender = next((to, sender) for to, sender, message in channels.mail_server.messages if message is firing)
    assert (set(to), sender) == ({"ops@example.com", "night@example.com"}, "alerts@example.com")
    assert firing["Subject"] == f"[{NAME}] CRITICAL MemoryCritical api"
    assert resolved["Subject"] == f"[{NAME}] RESOLVED MemoryCritical api"
    text, html = (part.get_content() for part in firing.iter_parts())
    numbers = "55.2MiB of 64MiB (unreclaimable), which is 86.3 %"
    for body in (text, html):
        assert numbers in body and "approaching memory limit: api (release r2)" in body
    assert re.search(r"^Since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC\r?$", text, re.MULTILINE)
    assert f"Runbook:    {RUNBOOK}\nPrometheus: {PROMETHEUS}\n" in text.replace("\r\n", "\n")
    for address, name in ((RUNBOOK, "Runbook"), (PROMETHEUS, "Prometheus")):
        assert f'<a href="{address}">{name}</a>' in unescape(html)
    assert re.search(r"^Over at 20\d\d-.* UTC: Container approaching", next(resolved.iter_parts()).get_content())


def test_pagerduty_opens_one_incident_and_closes_it(incident):
    firing, resolved = incident["pagerduty"]
    check("pagerduty_events_v2.json", firing)
    check("pagerduty_events_v2.json", resolved)
    assert (firing["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert firing["routing_key"] == KEY and firing["dedup_key"] == resolved["dedup_key"]
    payload = firing["payload"]
    summary = f"[{NAME}] CRITICAL MemoryCritical api: Container approaching memory limit: api"
    assert (payload["summary"], payload["severity"], payload["source"]) == (summary, "critical", "localhost")
    assert (payload["class"], payload["component"], payload["group"]) == ("MemoryCritical", "api", NAME)
    assert "86.3 %" in payload["custom_details"]["firing"]
    assert firing["links"] == [{"href": RUNBOOK, "text": "Runbook"}, {"href": PROMETHEUS, "text": "Prometheus"}]


def test_the_rulebook_gets_what_asks_for_a_rollback_with_the_token(incident):
    firing, resolved = incident["webhook"]
    assert [request.json["status"] for request in (firing, resolved)] == ["firing", "resolved"]
    assert firing.headers["authorization"] == resolved.headers["authorization"] == f"Bearer {TOKEN}"
    assert firing.json["version"] == "4"
    [one] = firing.json["alerts"]
    assert (one["labels"]["rollback_trigger"], one["labels"]["release"]) == ("memory", "r2")


def test_a_warning_wakes_nobody(channels):
    post(alert("BackupTooOld", service="postgres"))
    eventually(lambda: channels.team("BackupTooOld") == (1, 1), "the team is told", 15)
    time.sleep(SETTLED)
    assert [len(sent) for sent in channels.all("BackupTooOld")] == [1, 1, 0, 0]
    [message] = channels.slack("BackupTooOld")
    assert message["attachments"][0]["color"] == "warning"


def test_hostile_values_stay_text(channels):
    evil = "<!channel> & <https://evil.example|Runbook> <script>alert(1)</script> {{ .ExternalURL }} ${x}"
    annotations = {
        "summary": f"{evil}\r\nBcc: all@evil.example\r\n\r\n",
        "description": "x" * 5000 + evil,
        "runbook_url": "javascript:alert(1)",
    }
    labels = {"service": f"\r\nBcc: all@evil.example\r\n{evil}", "release": f"r1{evil}"}
    post({**alert("HostOOMKill", "critical", annotations=annotations, **labels), "generatorURL": "javascript:alert(2)"})
    eventually(lambda: all(channels.all("HostOOMKill")[:3]), "people are told", 15)

    [slack], [mail], [event] = channels.all("HostOOMKill")[:3]
    check("slack_incoming_webhook.json", slack)
    check("pagerduty_events_v2.json", event)
    [part] = slack["attachments"]
    for text in (part["title"], part["text"], part["fallback"]):
        assert "&lt;!channel&gt; &amp; &lt;https://evil.example|Runbook&gt;" in text
        assert "<" not in text and ">" not in text, "nothing of it is markup"
    assert len(part["text"]) < 3000 and "title_link" not in part and "links" not in event
    assert "{{ .ExternalURL }}" in part["text"], "a value is no template"

    assert set(mail.keys()) == {"Subject", "To", "From", "Date", "Content-Type", "MIME-Version", "Message-Id"}
    assert mail["Subject"].startswith(f"[{NAME}] CRITICAL HostOOMKill Bcc: all@evil.example <!channel>")
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "<!channel>" in text and "javascript" not in text
    assert "&lt;script&gt;" in html and "<script" not in html and "javascript" not in html


def test_many_of_one_kind_are_one_message(channels):
    post(*(alert("MemoryLeak", service="worker", name=f"w{number}") for number in range(7)))
    eventually(lambda: channels.team("MemoryLeak") == (1, 1), "the team is told", 15)
    [message] = channels.slack("MemoryLeak")
    check("slack_incoming_webhook.json", message)
    [part] = message["attachments"]
    assert part["title"] == f"[{NAME}] WARNING MemoryLeak worker (7)"
    assert part["text"].count("approaching memory limit") == 5 and "These are 5 of 7.\n" in part["text"]
    # Two are over: told in one message with those that are not.
    post(*(alert("MemoryLeak", over=True, service="worker", name=f"w{number}") for number in range(2)))
    eventually(lambda: channels.team("MemoryLeak") == (2, 2), "that two are over is told", 15)
    [part] = channels.slack("MemoryLeak")[1]["attachments"]
    assert "(5)" in part["title"] and part["text"].count("\nOver: ") == 2


def test_the_stronger_one_hushes_the_weaker(channels):
    memory = {"service": "redis", "name": "amgr-redis"}
    post(
        alert("MemoryWarning", **memory), alert("HighMemoryUsage", **memory),
        alert("MemoryCritical", "critical", **memory),
        # Of another container, and not of memory: both are news.
        alert("HighMemoryUsage", service="nginx", name="amgr-nginx"), alert("TargetDown", **memory),
        alert("MemoryWarning", service="grafana", name="g"), alert("HighMemoryUsage", service="grafana", name="g"),
        alert("TotalMemoryHigh", scope="documented"), alert("TotalMemoryCritical", "critical", scope="stack"),
        alert("DiskSpaceLow", filesystem="logs"), alert("DiskSpaceLow", "critical", filesystem="logs"),
        alert("DiskSpaceLow", filesystem="docker"),
    )  # fmt: skip
    told = ["MemoryCritical redis", "HighMemoryUsage nginx", "TargetDown redis", "HighMemoryUsage grafana"]
    told += ["TotalMemoryCritical", "CRITICAL DiskSpaceLow", "WARNING DiskSpaceLow"]
    eventually(lambda: all(channels.team(word) == (1, 1) for word in told), "what is news is told", 20)
    time.sleep(SETTLED)
    for word in ("MemoryWarning", "HighMemoryUsage redis", "TotalMemoryHigh"):
        assert channels.team(word) == (0, 0), word
    [message] = channels.slack("WARNING DiskSpaceLow")
    assert message["attachments"][0]["title"].endswith("DiskSpaceLow"), "of two file systems one is told"


def test_a_host_that_is_down_is_the_only_news(channels):
    host = {"host": "web9"}
    post(
        alert("HostDown", "critical", service="memory_monitor", **host),
        alert("ServiceDown", "critical", service="elsewhere9", **host),
        alert("TargetDown", service="elsewhere9", **host),
        alert("TargetDown", service="elsewhere8", host="web8"),
    )
    eventually(lambda: channels.team("HostDown") == (1, 1), "the team is told", 15)
    eventually(lambda: channels.team("elsewhere8") == (1, 1), "another host is news", 15)
    beats = len(channels.heartbeats())
    time.sleep(SETTLED)
    assert channels.team("elsewhere9") == (0, 0) and channels.pagerduty("elsewhere9") == []
    # It beats every 2 s, which is longer than what settles here.
    eventually(lambda: len(channels.heartbeats()) > beats, "Watchdog goes on", 5)
    post(alert("HostDown", "critical", over=True, service="memory_monitor", **host))


def test_the_heartbeat_beats_until_watchdog_is_gone(channels):
    beats = eventually(lambda: len(channels.heartbeats()) > 3 and channels.heartbeats(), "it beats", 15)
    pauses = [after - before for before, after in itertools.pairwise(beats[-4:])]
    assert all(1.5 < pause < 3 for pause in pauses), pauses
    assert channels.team("Watchdog") == (0, 0)
    # What Prometheus does not send any more ends: from then on there is silence, and no call that all is well.
    post(alert("Watchdog", "none", over=True))
    time.sleep(SETTLED)
    last = len(channels.heartbeats())
    time.sleep(3)
    assert len(channels.heartbeats()) == last
    post(alert("Watchdog", "none"))
    eventually(lambda: len(channels.heartbeats()) > last, "it beats again", 15)


# -- silences


def silence(
    code: int = 0, environment: dict[str, str] | None = None, arguments: tuple[str, ...] = (), **variables: Any
) -> Play:
    given = {f"SILENCE_{name.upper()}": text for name, text in (environment or {}).items()}
    ended = play(
        *arguments, playbook="playbooks/silence.yml", environment={"SUDO_USER": "alice", **given}, **STACK, **variables
    )
    assert ended.code == code, ended.tail
    return ended


def active() -> list[dict]:
    return [entry for entry in api("GET", "/silences") if entry["status"]["state"] == "active"]


def hush(service: str, seconds: float) -> str:
    """A silence by the API, from now; its id."""
    matcher = {"name": "service", "value": service, "isRegex": False, "isEqual": True}
    wanted = {"startsAt": at(), "endsAt": at(seconds), "createdBy": "alice", "comment": "a test"}
    return api("POST", "/silences", {"matchers": [matcher], **wanted})["silenceID"]


@pytest.fixture
def quiet(channels):
    """Afterwards nothing is silent."""
    yield
    for entry in active():
        api("DELETE", f"/silence/{entry['id']}")


def test_a_silence_is_made_kept_changed_and_ended(channels, quiet):
    comment = 'Known: "it\'s" the <import>, ${ticket} 4711'
    asked = {"alert": "CertificateExpiresSoon", "service": "silent", "for": "1h30m", "comment": comment}
    said = silence(environment=asked).said
    assert "It fits no alert that fires now. Is the name right?" in said
    [entry] = active()
    assert (entry["comment"], entry["createdBy"]) == (comment, "alice")
    end = datetime.datetime.fromisoformat(entry["endsAt"].replace("Z", "+00:00"))
    assert 5340 < (end - datetime.datetime.now(datetime.timezone.utc)).total_seconds() <= 5400

    certificate = {"service": "silent"}
    post(alert("CertificateExpiresSoon", **certificate), alert("CertificateExpiresSoon", service="loud"))
    eventually(lambda: channels.team("CertificateExpiresSoon loud") == (1, 1), "the other one is told", 15)
    # The same for a shorter time is the same silence.
    again = silence(environment={**asked, "for": "20m"}).said
    assert "Is the name right" not in again and entry["id"] in again
    listed = silence()
    assert f"SILENT {entry['id'][:8]} CertificateExpiresSoon silent until" in listed.said and "by alice:" in listed.said
    assert re.search(r"FIRES CertificateExpiresSoon silent since \S+ \S+ UTC, silent", listed.said)
    assert listed.recap["changed"] == 0 and len(active()) == 1
    time.sleep(SETTLED)
    assert channels.team("CertificateExpiresSoon silent") == (0, 0)

    ended = silence(environment={"expire": entry["id"][:8]})
    assert f"Ended: {entry['id']}." in ended.said and "Nothing is silent." in ended.said and active() == []
    eventually(lambda: channels.team("CertificateExpiresSoon silent") == (1, 1), "it is told now", 15)


def test_a_silence_ends_by_itself(channels, quiet):
    hush("shortly", 3)
    post(alert("ApiErrorRate", service="shortly"))
    began = time.monotonic()
    eventually(lambda: channels.team("ApiErrorRate shortly") == (1, 1), "it is told after the silence", 15)
    assert time.monotonic() - began > 2


@pytest.mark.parametrize(
    ("asked", "mistake"),
    [
        ({"alert": "HighMemoryUsage"}, "A silence needs a reason"),
        ({"service": "redis", "comment": " "}, "A silence needs a reason"),
        ({"alert": "X", "comment": "y", "for": "soon"}, '"soon" is no time. Give FOR=<time>, such as 30m'),
        ({"alert": "X", "comment": "y", "for": "2"}, '"2" is no time'),
        ({"alert": "X", "comment": "y", "for": "0m"}, '"0m" is no time'),
        ({"comment": "y"}, "what is to be silent is not"),
        ({"expire": "all"}, '"all" is no id of a silence'),
        ({"expire": "08154711", "alert": "X", "comment": "y"}, "either made or ended"),
    ],
)
def test_what_is_no_silence_is_a_mistake(asked, mistake):
    asked = {"alert": "", "service": "", "for": "2h", "comment": "", "expire": "", **asked}
    variables = {f"alertmanager_silence_{name}": text for name, text in asked.items()}
    [found] = Rendering(**variables).value("__alertmanager_silence_mistakes")
    assert mistake in found


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"silence_alert": "HighMemoryUsage"}, "A silence needs a reason, for whoever looks next."),
        ({"silence_expire": "0815471100"}, "No silences begin with 0815471100. Nothing was changed. There are: none."),
        ({"alertmanager_port": 19094}, "does not answer at http://127.0.0.1:19094/api/v2"),
    ],
)
def test_what_cannot_be_done_is_refused(channels, variables, said):
    before = api("GET", "/silences")
    ended = play(playbook="playbooks/silence.yml", **{**STACK, **variables})
    assert ended.code != 0 and ended.recap["failed"] == 1, ended.tail
    assert said in ended.said and "Nothing was changed" in ended.said, ended.tail
    assert api("GET", "/silences") == before


# -- what stays, and what is not seen


def child() -> int:
    """The process of Alertmanager on the host, below the container's init."""
    init = inspect(CONTAINER)["State"]["Pid"]
    return int(Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])


def snapshots() -> float:
    """How many times both files were saved."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found = re.findall(r"^alertmanager_(?:silences|nflog)_maintenance_total (\S+)$", text, re.MULTILINE)
    return min(map(float, found))


def test_a_kill_loses_no_silence_and_floods_nobody(channels, quiet):
    told, silent = {"service": "killed"}, {"service": "hushed"}
    kept = hush("hushed", 600)
    alerts = [
        alert("TargetDown", **told),
        alert("HealthCheckFailing", "critical", **told),
        alert("TargetDown", **silent),
    ]
    post(*alerts)
    eventually(
        lambda: channels.team("TargetDown killed") == channels.team("HealthCheckFailing killed") == (1, 1), "told", 15
    )
    saved = snapshots()
    eventually(lambda: snapshots() >= saved + 2, "both files are saved", 15)

    restarts = inspect(CONTAINER)["RestartCount"]
    os.kill(child(), signal.SIGKILL)
    eventually(lambda: inspect(CONTAINER)["RestartCount"] == restarts + 1, "the engine starts it again", 15)
    eventually(lambda: [entry["id"] for entry in active()] == [kept], "the silence is there", 15)
    # Prometheus sends again what fires.
    post(*alerts, alert("Watchdog", "none"))
    eventually(lambda: len(api("GET", "/alerts")) >= 4, "the alerts are there", 15)
    time.sleep(SETTLED)
    assert channels.team("TargetDown killed") == channels.team("HealthCheckFailing killed") == (1, 1)
    assert len(channels.pagerduty("HealthCheckFailing killed")) == 1 and channels.team("hushed") == (0, 0)
    post(alert("TargetDown", over=True, **told))
    eventually(lambda: channels.team("RESOLVED TargetDown killed") == (1, 1), "that it is over is told", 15)


def test_no_secret_is_seen(channels, incident):
    places = {
        "alertmanager.yml": (CURRENT / "alertmanager.yml").read_text(),
        "docker inspect": docker("inspect", CONTAINER),
        "logs": docker("logs", CONTAINER),
        "the play with -vvv --diff": channels.said,
        "the API's status": json.dumps(api("GET", "/status")),
    }
    for place, text in places.items():
        assert len(text) > 500 and not [name for name, secret in SECRETS.items() if secret in text], place
    files = {path.name: path for path in (CURRENT / "secrets").iterdir()}
    assert set(files) == {
        "slack_webhook_url",
        "smtp_password",
        "pagerduty_routing_key",
        "heartbeat_url",
        "webhook_token",
    }
    for path in [CURRENT / "secrets", *files.values()]:
        status = path.stat()
        mode = 0o750 if path.is_dir() else 0o440
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 65534, mode), path


def unreclaimable() -> int:
    """Bytes that the kernel cannot take back."""
    return kernel_view(child(), int(info().get("CgroupVersion") or 1))["unreclaimable"]


def test_a_hundred_alerts_stay_within_its_target(channels):
    post(*(alert("MemoryLeak", service=f"hundred{number % 10}", name=f"h{number}") for number in range(100)))
    eventually(lambda: channels.team("hundred") == (10, 10), "ten groups are told", 30)
    target = int(BUDGET["services"]["alertmanager"]["usage_target"].rstrip("M")) << 20
    used = unreclaimable()
    print(f"unreclaimable memory: {used / 2**20:.1f} MiB")
    assert used < target
    assert not inspect(CONTAINER)["State"]["OOMKilled"]


@pytest.mark.slow
def test_failures_tell_no_secret_and_the_token_goes_nowhere_else(channels, tmp_path):
    """A certificate that nobody vouches for, a server without TLS, a redirect, an error, nobody there."""
    other = receivers.Web(GATEWAY, receivers.certificate(GATEWAY, tmp_path).context)
    plain = receivers.Mail(GATEWAY, channels.certificate.context, ("alerts", PASSWORD), tls="never")
    channels.web.answers.update(
        {"/moved": (307, {"Location": f"{channels.web.url}/rollback"}), "/v2/broken": (400, {})}
    )
    try:
        variables = channels.variables()
        variables["stack_secrets"].update({
            "alertmanager_slack_webhook_url": f"{other.url}/services/{SLACK}",
            "alertmanager_heartbeat_url": f"https://{GATEWAY}:1/ping/{HEARTBEAT}",
        })  # fmt: skip
        variables["alertmanager_mail"]["port"] = plain.port
        variables["alertmanager_pagerduty_url"] = f"{channels.web.url}/v2/broken"
        variables["alertmanager_webhook_url"] = f"{channels.web.url}/moved"
        apply(**variables)
        labels = {"service": "lost", "slot": "blue", "release": "r1", "rollback_trigger": "health"}
        post(alert("HealthCheckFailing", "critical", **labels), alert("Watchdog", "none"))
        reasons = ["x509: certificate signed by unknown authority", "does not advertise the STARTTLS extension"]
        reasons += ["status code 400", "status code 307", "connect: connection refused"]
        eventually(
            lambda: all(reason in docker("logs", CONTAINER) for reason in reasons), "all failures are logged", 30
        )
        assert other.requests == [] and plain.messages == [] and plain.logins == []
        assert channels.web.at("/moved") and channels.webhook("HealthCheckFailing") == []
        logs = docker("logs", CONTAINER)
        assert not [name for name, secret in SECRETS.items() if secret in logs]
    finally:
        other.close()
        plain.close()
    apply(**channels.variables())
    eventually(lambda: channels.team("HealthCheckFailing lost") == (1, 1), "what was held up arrives after all", 30)


# -- what takes longer


@pytest.mark.slow
def test_a_second_run_changes_nothing_and_a_change_is_reloaded(channels):
    assert apply(**channels.variables()).recap["changed"] == 0
    started = inspect(CONTAINER)["State"]["StartedAt"]
    variables = {**channels.variables(), "alertmanager_slack": {"channel": "#elsewhere"}}
    checked = apply("--check", "--diff", **variables)
    assert [line for line in checked.differences if "#elsewhere" in line]
    assert "#elsewhere" not in (CURRENT / "alertmanager.yml").read_text()
    assert "Land the configuration" in apply(**variables).changed
    assert inspect(CONTAINER)["State"]["StartedAt"] == started, "it was reloaded, not started again"
    post(alert("TargetDown", service="moved"))
    [message] = eventually(lambda: channels.slack("TargetDown moved"), "Slack is told", 15)
    assert message["channel"] == "#elsewhere"
    # Half a channel stops the play before anything has changed.
    ended = play(
        *("--skip-tags", "monitoring"), playbook="tests/alertmanager/apply.yml",
        **{**STACK, **QUICK, **variables, "stack_secrets": {}},
    )  # fmt: skip
    assert ended.code != 0 and "Alerts would be lost. alertmanager_slack is set" in ended.said
    assert "#elsewhere" in (CURRENT / "alertmanager.yml").read_text()
    apply(**channels.variables())


@pytest.mark.slow
def test_a_check_of_a_silence_changes_nothing(channels, quiet):
    asked = {"service": "checked", "comment": "a check"}
    assert "Nothing was changed: this was a check." in silence(environment=asked, arguments=("--check",)).said
    assert active() == []
    kept = hush("checked", 600)
    silence(environment={"expire": kept}, arguments=("--check",))
    assert [entry["id"] for entry in active()] == [kept]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_mail_over_tls_from_the_first_byte(channels):
    server = receivers.Mail(GATEWAY, channels.certificate.context, ("alerts", PASSWORD), tls="always", port=465)
    try:
        variables = channels.variables()
        variables["alertmanager_mail"].update(port=465, secure="always")
        apply(**variables)
        post(alert("TargetDown", service="tls"))
        eventually(lambda: server.messages, "mail arrives", 15)
        assert server.logins == [("alerts", PASSWORD)]
    finally:
        server.close()
    apply(**channels.variables())


@pytest.mark.slow
def test_a_burst_of_five_hundred_stays_within_the_limit(channels):
    """Fifty groups to Slack and mail, on top of what was there; then twice more, so 1,500 alerts fire in the end."""
    restarts, peaks = inspect(CONTAINER)["RestartCount"], []
    threshold = int(BUDGET["services"]["alertmanager"]["alert"].rstrip("M")) << 20

    def whole(wave: str) -> tuple[int, int]:
        """Groups of which all ten were told; with so short a wait, a part of them may have been told before."""
        slack = {message["attachments"][0]["title"] for message in channels.slack(wave)}
        mail = {message["Subject"] for message in channels.mail(wave)}
        return sum("(10)" in title for title in slack), sum("(10)" in title for title in mail)

    for wave in ("burst0-", "burst1-", "burst2-"):
        post(*(alert("MemoryLeak", service=f"{wave}{number % 50}", name=f"b{number}") for number in range(500)))
        peaks.append(0)
        end = time.monotonic() + 120
        while whole(wave) != (50, 50):
            assert time.monotonic() < end, whole(wave)
            peaks[-1] = max(peaks[-1], unreclaimable())
            time.sleep(0.2)
    print("peaks of unreclaimable memory in MiB:", [round(peak / 2**20, 1) for peak in peaks])
    assert peaks[0] < threshold, "no alert about the one who tells of alerts"
    assert inspect(CONTAINER)["RestartCount"] == restarts, "the kernel has not killed it"
