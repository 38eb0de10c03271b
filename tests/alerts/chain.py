# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole chain: a stack of its own, from the kernel's figures to messages that reach receivers on this machine.

Monitor, Prometheus and Alertmanager are those of the roles. The receivers listen with TLS at the address that the
engine's default bridge has on this machine; Alertmanager comes there through its network ``egress``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.stack_host import cgroup_parent
from ansible_collections.sixty_sales.memory_optimized.plugins.modules.container_memory_info import kernel_view
from ansible_collections.sixty_sales.memory_optimized.tests.alertmanager import receivers
from ansible_collections.sixty_sales.memory_optimized.tests.integration.kernel_log import KernelLog
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    ROOT,
    Play,
    deploy,
    docker,
    eventually,
    info,
    inspect,
    play,
)

NAME = "alr"
PORTS = {"memory_monitor": 18196, "prometheus": 18197, "alertmanager": 18198}
STACK: dict[str, Any] = {
    **{
        "stack_name": NAME,
        "release_watch_seconds": 0,
        "stack_subnet_prefix": "10.96",
        "nginx_address": "127.0.0.1",
        "nginx_http_port": 18096,
    },
    **{f"{service}_port": port for service, port in PORTS.items()},
    "image_optional": ["grafana", "loki", "fluent_bit"],
    # Its Redis outgrows its limit, which the tests make use of.
    "memory_budget_profile": "documented",
}
# Seconds are waited for, not minutes. How long an alert has to last is the rule's affair, and stays.
QUICK: dict[str, Any] = {
    "prometheus_scrape_interval": 2,
    "alertmanager_group_wait": "1s",
    "alertmanager_group_interval": "2s",
}
# Long enough for a message that must not come.
SETTLED = 5
# An alert arrives so many seconds after it has lasted as long as its rule wants.
ALLOWED = 30

TEAM = ("slack", "mail")
CRITICAL = (*TEAM, "pagerduty")
TRIGGER = (*CRITICAL, "webhook")

SCHEMAS = ROOT / "tests/alertmanager/schemas"
REPORT = ROOT / ".dev/reports/alerts.json"
DRIVER = info()["CgroupDriver"]
VERSION = int(info().get("CgroupVersion") or 1)


# -- containers and what fills them


def container(service: str) -> str:
    """Name of a service's running container."""
    if service != "api":
        return f"{NAME}-{service}"
    return f"{NAME}-api-{os.readlink(f'/srv/{NAME}/route/active').rpartition('/')[2]}"


def main_process(service: str) -> int:
    """What the container is for, below its init: its id on the host."""
    init = inspect(container(service))["State"]["Pid"]
    return int(Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])


def kill(service: str) -> None:
    os.kill(main_process(service), signal.SIGKILL)


def starts(service: str) -> int:
    """How often the engine has started it again."""
    return inspect(container(service))["RestartCount"]


def memory(service: str) -> dict[str, int]:
    """The kernel's figures."""
    return kernel_view(inspect(container(service))["State"]["Pid"], VERSION)


class Ballast:
    """A process in a running container. It takes memory as it is told and gives it back when it ends."""

    SCRIPT = '$| = 1; my @held; while (<STDIN>) { push @held, ""; vec($held[-1], $_ - 1, 8) = 1; print "held\\n" }'

    def __init__(self, service: str) -> None:
        self.service = service
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", container(service), "perl", "-e", self.SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def take(self, size: int) -> bool:
        """Hold so many bytes more; false when the kernel killed it for them."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{size}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() == "held\n"

    def fill(self, percent: float) -> Ballast:
        """Until the container's unreclaimable memory is a share of its limit."""
        for _ in range(20):
            figures = memory(self.service)
            missing = round(figures["limit"] * percent / 100) - figures["unreclaimable"]
            # Version 1 counts in batches of 32 pages a processor.
            if missing < 256 << 10:
                return self
            assert self.take(missing), f"{self.service} was killed at {figures}"
        raise AssertionError(f"{self.service} is not filled: {memory(self.service)}")

    def close(self) -> int:
        """End it. Returns its exit code."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return self._process.wait(20)


@contextlib.contextmanager
def ballast(*services: str) -> Iterator[list[Ballast]]:
    """Ballast in containers, which is gone after the block."""
    with contextlib.ExitStack() as stack:
        made = []
        for service in services:
            made.append(Ballast(service))
            stack.callback(made[-1].close)
        yield made


# -- messages


class Notice(NamedTuple):
    """A message that arrived; when, by the monotonic clock in seconds."""

    at: float
    channel: str
    firing: bool
    alert: str
    service: str
    text: str


class Mail(receivers.Mail):
    """One that remembers when a message came."""

    def __init__(self, *arguments: Any) -> None:
        self.times: list[float] = []
        super().__init__(*arguments)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        # First, so that there is a time for every message.
        self.times.append(time.monotonic())
        return await super().handle_DATA(server, session, envelope)


class Channels:
    """Slack, mail, PagerDuty, the webhook and the heartbeat, as the role's variables name them."""

    def __init__(self, directory: Path) -> None:
        address = json.loads(docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]
        certificate = receivers.certificate(address, directory)
        password = secrets.token_hex(16)
        self.web = receivers.Web(address, certificate.context)
        self.mail = Mail(address, certificate.context, ("alerts", password))
        given = ("postgres", "postgres_app", "redis_api", "redis_admin", "redis_exporter", "postgres_exporter")
        self.variables: dict[str, Any] = {
            "stack_secrets": {
                **{f"{name}_password": secrets.token_hex(16) for name in (*given, "grafana_admin")},
                "alertmanager_slack_webhook_url": f"{self.web.url}/slack",
                "alertmanager_smtp_password": password,
                "alertmanager_pagerduty_routing_key": secrets.token_hex(16),
                "alertmanager_heartbeat_url": f"{self.web.url}/heartbeat",
                "alertmanager_webhook_token": secrets.token_hex(16),
            },
            "alertmanager_slack": {"channel": "#alerts"},
            "alertmanager_mail": {
                **{"host": address, "port": self.mail.port, "username": "alerts"},
                **{"from": "alerts@example.com", "to": "ops@example.com"},
            },
            "alertmanager_pagerduty_url": f"{self.web.url}/pagerduty",
            "alertmanager_webhook_url": f"{self.web.url}/webhook",
            "alertmanager_ca_certificates": certificate.text,
            "alertmanager_heartbeat_interval": 2,
        }

    def notices(self) -> list[Notice]:
        """All that came, in its order; what Slack and PagerDuty got is what they take."""
        found = []
        for request in self.web.at("/slack"):
            check("slack_incoming_webhook.json", request.json)
            [part] = request.json["attachments"]
            found.append(Notice(request.at, "slack", *titled(part["title"]), part["text"]))
        for at, (_to, _from, message) in zip(list(self.mail.times), list(self.mail.messages)):
            text = next(message.iter_parts()).get_content()
            found.append(Notice(at, "mail", *titled(message["Subject"]), text))
        for request in self.web.at("/pagerduty"):
            check("pagerduty_events_v2.json", request.json)
            payload, firing = request.json["payload"], request.json["event_action"] == "trigger"
            # What nobody's service is has no component.
            where = payload["class"], payload.get("component", "")
            found.append(Notice(request.at, "pagerduty", firing, *where, payload["summary"]))
        for request in self.web.at("/webhook"):
            labels, firing = request.json["groupLabels"], request.json["status"] == "firing"
            text = json.dumps(request.json)
            found.append(Notice(request.at, "webhook", firing, labels["alertname"], labels["service"], text))
        return sorted(found)

    def heartbeats(self) -> list[float]:
        return [request.at for request in self.web.at("/heartbeat")]

    def close(self) -> None:
        self.web.close()
        self.mail.close()


def check(schema: str, value: Any) -> None:
    jsonschema.validate(value, json.loads((SCHEMAS / schema).read_text()), jsonschema.Draft202012Validator)


def titled(title: str) -> tuple[bool, str, str]:
    """(firing, alert, service) of ``[stack] CRITICAL MemoryCritical api (2)``."""
    found = re.fullmatch(rf"\[{NAME}\] (\S+) (\w+)(?: (\w+))?(?: \(\d+\))?", title)
    assert found, title
    return found[1] != "RESOLVED", found[2], found[3] or ""


# -- the chain


class Chain:
    """The deployed stack, its channels, and what the kernel says."""

    def __init__(self, directory: Path) -> None:
        self.log = KernelLog(NAME)
        self.channels = Channels(directory)
        # Alert and service -> seconds to each channel.
        self.report: dict[str, dict[str, float]] = {}

    def apply(self, tags: str = "all", quick: bool = True, **variables: Any) -> Play:
        """Deploy it, or the part of it that has these tags; ``monitoring`` are those that watch."""
        intervals = QUICK if quick else {}
        return deploy(f"--tags={tags}", **{**STACK, **intervals, **self.channels.variables, **variables})

    def close(self) -> None:
        self.channels.close()
        self.log.close()
        if self.report:
            REPORT.parent.mkdir(exist_ok=True)
            REPORT.write_text(json.dumps(self.report, indent=2, sort_keys=True) + "\n")

    def told(self, alert: str, service: str, since: float = 0, firing: bool = True) -> Counter[str]:
        """Channel -> messages about an alert."""
        return Counter(
            notice.channel
            for notice in self.channels.notices()
            if (notice.firing, notice.alert, notice.service) == (firing, alert, service) and notice.at >= since
        )

    def arrives(
        self, alert: str, service: str, channels: tuple[str, ...], since: float, label: str = "", within: float = 0
    ) -> dict[str, float]:
        """Wait until an alert was told on its channels, in time and once. Returns the seconds from ``since`` on."""
        within = within or lasting(alert) + ALLOWED
        taken = self._first(alert, service, channels, since, True, within)
        assert min(taken.values()) >= lasting(alert), f"told before its time: {taken}"
        self.report[f"{alert} {service}{label}"] = {**taken, "for": lasting(alert)}
        print(f"{alert} {service}{label}: for {lasting(alert):.0f} s, told after", taken, flush=True)
        assert max(taken.values()) <= within
        return taken

    def is_over(
        self,
        alert: str,
        service: str,
        channels: tuple[str, ...],
        since: float,
        label: str = "",
        within: float = ALLOWED,
    ) -> dict[str, float]:
        """The same for the message that it is over."""
        taken = self._first(alert, service, channels, since, False, within)
        self.report[f"{alert} {service}{label} resolved"] = taken
        print(f"{alert} {service}{label}: told that it is over after", taken, flush=True)
        assert max(taken.values()) <= within
        return taken

    def _first(
        self, alert: str, service: str, channels: tuple[str, ...], since: float, firing: bool, within: float
    ) -> dict[str, float]:
        def came() -> dict[str, float]:
            found: dict[str, float] = {}
            for notice in self.channels.notices():
                if (notice.firing, notice.alert, notice.service) == (firing, alert, service) and notice.at >= since:
                    found.setdefault(notice.channel, round(notice.at - since, 1))
            return found if found.keys() >= set(channels) else {}

        # A little longer, so that a message that is late is known by its seconds.
        what = f"{alert} {service} {'is told' if firing else 'is over'} on {channels}"
        try:
            found = eventually(came, what, since + within + 60 - time.monotonic())
        except AssertionError as error:
            told = [(round(notice.at - since, 1), *notice[1:5]) for notice in self.channels.notices()]
            raise AssertionError(f"{error}; (second, channel, firing, alert, service): {told[-40:]}") from error
        assert found.keys() == set(channels), found
        return found


def ask(service: str, path: str, **query: str) -> Any:
    """JSON of the monitor's, Prometheus's or Alertmanager's API."""
    url = f"http://127.0.0.1:{PORTS[service]}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def query(expression: str) -> list[tuple[dict[str, str], float]]:
    """(labels, value) of what Prometheus has now."""
    result = ask("prometheus", "/api/v1/query", query=expression)["data"]["result"]
    return [(entry["metric"], float(entry["value"][1])) for entry in result]


def lasting(alert: str) -> float:
    """Seconds for which a rule's expression has to hold."""
    groups = ask("prometheus", "/api/v1/rules", type="alert")["data"]["groups"]
    found = {rule["duration"] for group in groups for rule in group["rules"] if rule["name"] == alert}
    assert len(found) == 1, f"{alert}: {found}"
    return found.pop()


def counted(metric: str) -> Counter[str]:
    """Service -> sum of a counter of the monitor's over the stack's containers, where there is something to count."""
    found = query(f'sum by (service) ({metric}{{stack="{NAME}"}})')
    return Counter({labels["service"]: round(value) for labels, value in found if value})


def remove() -> None:
    docker("rm", "--force", LOOP, check=False)
    ended = play(playbook="playbooks/destroy.yml", docker_host_purge=True, **STACK)
    assert ended.code == 0, ended.tail


# The container of a service that the stack goes without here: nobody else's name, and in its cgroup.
LOOP = f"t-{NAME}-loop"


def run_loop(script: str, restarts: int) -> None:
    """Run a script as the first process of a container that is started again when it fails."""
    limit = query('memory_budget_limit_bytes{service="fluent_bit"}')[0][1]
    docker(
        *("run", "--detach", "--name", LOOP, "--cgroup-parent", cgroup_parent(NAME, "fluent_bit", DRIVER)),
        *("--memory", f"{limit:.0f}", "--memory-swap", f"{limit:.0f}", "--restart", f"on-failure:{restarts}"),
        *("--network", "none", "--entrypoint", "perl", inspect(container("redis"))["Image"], "-e", script),
    )
