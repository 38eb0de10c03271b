# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each item of the checklist: when it passes, when it fails, and when nobody can tell."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import checklist
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.checklist import ASK, FAIL, NOT_KNOWN, PASS

ROOT = pathlib.Path(__file__).resolve().parents[4]
MB = 1024**2
HOUR = 3600


def container(service="api", percent=10.0, **more):
    row = {"name": f"sixty-{service}", "service": service, "running": True, "percent": percent, "level": "ok"}
    return {**row, "limit": 384 * MB, "oom_kills": 0, "leak": False, "differences": [], **more}


def service(name="sixty-api", **more):
    return {"name": name, "state": "running", "health": "healthy", "ok": True, **more}


def request(name, ok=True):
    return {"name": name, "ok": ok, "status": 200 if ok else 502, "error": ""}


def sample(value, **labels):
    return {"labels": labels, "value": value}


def row(name, measured, unit="ms"):
    return {"metric": f"mobile: {name}", "measured": measured, "unit": unit}


FIGURES = {
    "Lighthouse score": 98,
    "Load time": 800,
    "Largest Contentful Paint": 1200,
    "First Input Delay": 16,
    "Cumulative Layout Shift": 0.01,
    "Time to Interactive": 2000,
}
ROWS = {f"mobile: {name}": row(name, value) for name, value in FIGURES.items()}


def facts(**more):
    """Of a deploy with which all is well."""
    return {
        "health": {
            "services": [service()],
            "requests": [request(name) for name in ("page", *checklist.WATCHERS)],
            "alerts": [],
        },
        "resources": {
            "containers": [container()],
            "total": {"name": "all together", "unreclaimable": 200 * MB, "limit": 2048 * MB, "level": "ok"},
            "thresholds": {"critical_percent": 90},
            "monitor": {"answers": True, "problem": ""},
        },
        "budget_errors": 0,
        "release": "r2",
        "image": "sixty/api:1",
        "page": "abc",
        "releases": [
            {"release": "r2", "state": "served", "served_first": "2026-11-24T19:52:11"},
            {"release": "r1", "state": "kept cold", "served_first": "2026-11-23T19:52:11"},
        ],
        "switched": 1000.0,
        "window": 600,
        "queries": {
            "memory_alerts": [],
            "highest": [sample(100 * MB, service="api"), sample(9 * MB, service="nginx")],
            "highest_total": [sample(300 * MB)],
            "targets_down": [],
            "watched": [sample(1.0)],
            "requests": [sample(500.2)],
            "errors": [sample(0.0)],
            "p95": [sample(0.02)],
            "undelivered": [sample(0.0)],
        },
        "watchdog": True,
        "receivers": ["slack"],
        "reports": {
            "bundle": {"total_bytes": 800_000, "files": 31},
            "performance": {"release": "r2", "age": HOUR, "ok": True, "rows": ROWS},
            "memory": {"release": "", "image": "sixty/api:1", "page": "abc", "age": HOUR, "ok": True, "rows": {}},
        },
        "max_age": 24 * HOUR,
        **more,
    }


def changed(path, value):
    """The facts with another value at a path such as C(resources.monitor.answers)."""
    found = json.loads(json.dumps(facts()))
    *folders, last = path.split(".")
    where = found
    for folder in folders:
        where = where[folder]
    where[last] = value
    return found


def verdict(name, given, answers=None):
    rows = checklist.evaluate(given, answers or {}, "all")
    [found] = [row for row in rows if row["name"] == name]
    return found["verdict"], found["evidence"]


NAMES = [item.name for item in checklist.ITEMS]
ASKED = [item.name for item in checklist.ITEMS if not item.judge]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ASKED])
def test_all_is_well(name):
    said, evidence = verdict(name, facts())
    assert said == PASS and evidence


CASES = [
    # item, what is different, verdict, a part of the evidence
    ("bundle-size", "reports.bundle.total_bytes", 5 * MB, FAIL, "5.00 of 5 MB in 31 files"),
    ("bundle-size", "reports.bundle.total_bytes", 5 * MB - 1, PASS, "of 5 MB"),
    ("bundle-size", "reports.bundle", None, NOT_KNOWN, "no report"),
    ("bundle-size", "reports.bundle", {"problem": "the report is broken"}, NOT_KNOWN, "broken"),
    ("memory-limits", "budget_errors", 2, FAIL, "2 errors"),
    ("memory-limits", "resources.containers", [container(differences=["sixty-api: limit 1 MB"])], FAIL, "limit 1 MB"),
    ("memory-limits", "resources.containers", [], PASS, "nothing is deployed yet"),
    ("health-checks", "resources.containers", [], NOT_KNOWN, "nothing is deployed"),
    ("health-checks", "health.services", [service(health="none")], FAIL, "sixty-api: none"),
    ("health-checks", "health.services", [service(health="unhealthy")], FAIL, "unhealthy"),
    ("health-checks", "health.services", [service(health="starting")], NOT_KNOWN, "still starting"),
    ("health-checks", "health.services", [service(state="stopped", health="none")], FAIL, "no container runs"),
    ("monitoring-ready", "resources.containers", [], NOT_KNOWN, "nothing is deployed"),
    ("monitoring-ready", "health.requests", [request("page")], FAIL, "no answer from Memory Monitor, Prometheus"),
    ("monitoring-ready", "queries.targets_down", [sample(0, job="redis")], FAIL, "not scraped: redis"),
    ("monitoring-ready", "queries.targets_down", None, NOT_KNOWN, "Prometheus does not say"),
    ("memory-usage", "resources.containers", [container(percent=95, level="critical")], FAIL, "critical: sixty-api"),
    ("memory-usage", "resources.total.level", "critical", FAIL, "critical: all together"),
    ("memory-usage", "resources.containers", [container(running=False)], FAIL, "no container runs"),
    ("memory-usage", "resources.containers", [], NOT_KNOWN, "nothing is deployed"),
    ("health-endpoints", "health.requests", [request("page", ok=False)], FAIL, "page: 502"),
    ("performance-metrics", "health.alerts", [{"name": "ApiLatencyDegraded"}], FAIL, "ApiLatencyDegraded fires"),
    ("performance-metrics", "health.alerts", [{"name": "BackupTooOld"}], PASS, "20 ms"),
    ("performance-metrics", "health.alerts", None, NOT_KNOWN, "Prometheus does not say"),
    ("performance-metrics", "queries.p95", [sample(float("nan"))], NOT_KNOWN, "no such sample"),
    ("alert-system", "watchdog", False, FAIL, "Watchdog"),
    ("alert-system", "watchdog", None, NOT_KNOWN, "Alertmanager does not say"),
    ("alert-system", "queries.undelivered", [sample(3.0)], FAIL, "3 messages were not delivered"),
    ("memory-within-limits", "resources.containers", [container(oom_kills=1)], FAIL, "killed for memory: sixty-api"),
    ("memory-within-limits", "queries.highest", [sample(380 * MB, service="api")], FAIL, "api 99 %"),
    ("memory-within-limits", "queries.highest", [], NOT_KNOWN, "no such sample"),
    ("performance-score", "reports.performance", None, NOT_KNOWN, "no report"),
    ("performance-score", "reports.performance.age", 25 * HOUR, NOT_KNOWN, "1d 1h old"),
    ("performance-score", "reports.performance.release", "r1", NOT_KNOWN, "of release r1, served is r2"),
    ("performance-score", "release", "", NOT_KNOWN, "served is none"),
    ("performance-score", "reports.performance.rows", {}, NOT_KNOWN, "no Lighthouse score"),
    (
        "performance-score",
        "reports.performance.rows",
        {"mobile: Lighthouse score": row("", 85, "")},
        FAIL,
        "85; 1h ago",
    ),
    ("load-time", "reports.performance.rows", {"mobile: Load time": row("", 2000)}, FAIL, "2,000; 1h ago"),
    (
        "thresholds",
        "reports.performance.rows",
        {**ROWS, "mobile: First Input Delay": row("", 51)},
        FAIL,
        "1,200, 51, 0.01, 2,000; 1h",
    ),
    ("memory-leaks", "reports.memory.ok", False, FAIL, "failed"),
    ("memory-leaks", "reports.memory.release", "r1", NOT_KNOWN, "of release r1"),
    ("memory-leaks", "reports.memory.image", "sixty/api:2", NOT_KNOWN, "of image sixty/api:2, served is sixty/api:1"),
    ("memory-leaks", "reports.memory.page", "abd", NOT_KNOWN, "of page abd"),
    ("memory-leaks", "reports.memory.page", "", NOT_KNOWN, "does not say what was tested"),
    ("memory-leaks", "page", "", NOT_KNOWN, "served is none"),
    ("memory-leaks", "resources.containers", [container(leak=True)], FAIL, "suspects sixty-api"),
    ("memory-leaks", "resources.monitor.answers", False, NOT_KNOWN, "does not answer"),
    ("services-healthy", "health.services", [service(ok=False)], FAIL, "not well: sixty-api"),
    ("services-healthy", "health.requests", [request("API", ok=False)], FAIL, "not well: API"),
    ("system-memory", "queries.highest_total", [sample(2048 * MB)], FAIL, "2048.0 of 2048 MB"),
    ("api-memory", "queries.highest", [sample(384 * MB, service="api")], FAIL, "384.0 of 384 MB"),
    ("frontend-memory", "queries.highest", [sample(1, service="api")], NOT_KNOWN, "no such sample"),
    (
        "memory-alerts",
        "queries.memory_alerts",
        [sample(1, alertname="HighMemoryUsage")],
        FAIL,
        "1 since the switch: High",
    ),
    ("memory-alerts", "queries.memory_alerts", None, NOT_KNOWN, "Prometheus does not say"),
    ("zero-downtime", "queries.errors", [sample(2.1)], FAIL, "2 of 500"),
    ("zero-downtime", "queries.requests", [], NOT_KNOWN, "no such sample"),
    ("zero-downtime", "queries.requests", [sample(0.0)], NOT_KNOWN, "no request"),
    ("zero-downtime", "switched", None, NOT_KNOWN, "is not known"),
    ("monitoring-active", "queries.watched", [sample(0.9)], FAIL, "90.0 % of the last 10m"),
    ("rollback-ready", "releases", None, NOT_KNOWN, "could not be listed"),
    ("rollback-ready", "releases", facts()["releases"][:1], NOT_KNOWN, "no release before"),
    (
        "rollback-ready",
        "releases",
        [facts()["releases"][0], {"release": "r1", "state": "rolled back", "served_first": "2026"}],
        FAIL,
        "no earlier release is kept",
    ),
    ("automated-alerting", "receivers", [], ASK, "who is told?"),
    ("automated-alerting", "receivers", None, NOT_KNOWN, "does not say"),
]


@pytest.mark.parametrize(("name", "path", "value", "says", "part"), CASES)
def test_what_is_different(name, path, value, says, part):
    said, evidence = verdict(name, changed(path, value))
    assert said == says and part in evidence, evidence


def test_every_check_can_fail_or_ask():
    assert {name for name, _path, _value, says, _part in CASES if says in (FAIL, ASK)} >= set(NAMES) - set(ASKED) - {
        "frontend-memory"
    }


# -- a person


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize(("answers", "says"), [([], ASK), ([True], PASS), ([False], FAIL)])
def test_a_question(name, answers, says):
    assert verdict(name, facts(), dict(zip([name], answers)))[0] == says


def test_an_answer_does_not_overrule_what_is_known():
    assert (
        verdict("services-healthy", changed("health.services", [service(ok=False)]), {"services-healthy": True})[0]
        == FAIL
    )
    assert verdict("automated-alerting", changed("receivers", []), {"automated-alerting": True}) == (
        PASS,
        "answered: yes",
    )


def test_answers_are_read():
    assert checklist.read_answers("on-call=yes, page-received=No") == {"on-call": True, "page-received": False}
    assert checklist.read_answers("") == {}


@pytest.mark.parametrize("text", ["yes", "on-call", "on-call=perhaps", "nobody=yes"])
def test_answers_that_are_none(text):
    with pytest.raises(ValueError, match=f"'{text}' is no answer"):
        checklist.read_answers(text)


# -- reports

MEMORY = {"release": "", "image": "i", "page": "p", "age": 20, "rows": {}}


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("bundle", {"total_bytes": 5, "chunks": [{}, {}]}, {"total_bytes": 5, "files": 2}),
        (
            "performance",
            {"release": "r2", "started": 100, "seconds": 50, "ok": True, "rows": [{"metric": "a"}]},
            {"release": "r2", "image": "", "page": "", "ok": True, "age": 50, "rows": {"a": {"metric": "a"}}},
        ),
        # Without a time of its own it is as old as its file.
        ("memory", {"image": "i", "page": "p", "ok": False}, {**MEMORY, "ok": False}),
        ("memory", {"image": "i", "page": "p", "ok": "yes"}, {**MEMORY, "ok": False}),
        ("memory", {"image": "i", "page": "p", "ok": True}, {**MEMORY, "ok": True}),
    ],
)
def test_a_report_is_read(name, document, expected):
    assert checklist.read_report(name, json.dumps(document), 180, 200) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [("bundle", "{"), ("bundle", "[]"), ("memory", "{}"), ("performance", '{"release": "r", "ok": 1, "rows": [3]}')],
)
def test_a_report_that_cannot_be_read(name, text):
    assert "the report is broken" in checklist.read_report(name, text, 0, 0)["problem"]


# -- Prometheus, Alertmanager and the page


def answer(body, status=200):
    return {"status": status, "body": body if isinstance(body, str) else json.dumps(body)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer({"data": {"result": [{"metric": {"a": "b"}, "value": [1, "2.5"]}]}}), [sample(2.5, a="b")]),
        (answer({"data": {"result": []}}), []),
        (answer("no JSON"), None),
        (answer({"data": {}}), None),
        (answer({}, status=503), None),
    ],
)
def test_samples(given, expected):
    assert checklist.samples(given) == expected


CONFIG = """receivers:
- name: team
{}- name: heartbeat
  webhook_configs:
  - send_resolved: false
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CONFIG.format(""), []),
        (CONFIG.format("  email_configs:\n  - to: a\n  slack_configs:\n  - channel: b\n"), ["email", "slack"]),
    ],
)
def test_receivers(text, expected):
    assert checklist.receivers(answer({"config": {"original": text}})) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [([{"labels": {"alertname": "Watchdog"}}], True), ([], False), ({"error": "x"}, None), ("no JSON", None)],
)
def test_the_watchdog(body, expected):
    assert checklist.has_watchdog(answer(body)) is expected


@pytest.mark.parametrize(
    ("switched", "now", "seconds", "around", "end"),
    [
        (1000.0, 1100.0, 300, 160, 1100.0),
        (1000.0, 9000.0, 8000, 660, 1600.0),
        (1000.0, 500_000.0, 86_400, 660, 1600.0),
        (None, 1000.0, 300, 60, 1000.0),
    ],
)
def test_what_is_looked_back_over(switched, now, seconds, around, end):
    assert checklist.window(switched, now) == seconds
    urls = checklist.query_urls("http://p", "sixty", switched, now)
    queries = {name: urllib.parse.unquote_plus(url.partition("?query=")[2]) for name, url in urls.items()}
    assert f"[{seconds}s]" in queries["memory_alerts"] and 'stack="sixty"' in queries["highest"]
    assert queries["requests"].endswith(f"[{around}s] @ {end}))")
    # Every brace of a selector is closed again.
    assert all(text.count("{") == text.count("}") and "{{" not in text for text in queries.values())


@pytest.mark.parametrize(
    ("status", "expected"), [(200, hashlib.sha256("<p>é".encode()).hexdigest()), (502, ""), (0, "")]
)
def test_the_page(status, expected):
    assert checklist.page_digest(answer("<p>é", status)) == expected


# -- what is shown


def test_the_phases():
    names = {phase: {row["name"] for row in checklist.evaluate(facts(), {}, phase)} for phase in checklist.CHOICES}
    assert "bundle-size" in names["pre"] and "bundle-size" in names["post"] and "bundle-size" not in names["during"]
    assert names["all"] == set(NAMES) and len(NAMES) == len(set(NAMES))


def test_the_table():
    rows = checklist.evaluate(changed("reports.memory", None), {}, "post")
    text = "\n".join(checklist.lines(rows, lambda word, level: f"<{level}>{word}"))
    assert "<warning>not known  Zero memory leaks detected" in re.sub(" +", " ", text).replace(
        "not known ", "not known  "
    )
    assert text.count("Zero memory leaks detected") == 2, "in the list and among the metrics"
    assert text.endswith("<ok>14 pass, <warning>1 not known, <alert>1 ask.")
    assert "Pre-Deployment" not in text


def test_a_label_moves_no_cursor():
    [line] = [
        text
        for text in checklist.lines(checklist.evaluate(changed("receivers", ["\x1b[2J"]), {}, "all"))
        if "Automated" in text
    ]
    assert "\x1b" not in line


def test_the_document_is_made_of_the_items():
    made = subprocess.run(
        [sys.executable, ROOT / "scripts/checklist_document.py", "--check"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    text = (ROOT / "PRODUCTION_DEPLOYMENT_CHECKLIST.md").read_text()
    for item in checklist.ITEMS:
        assert text.count(f"**{item.title}** (`{item.name}`)") == len(item.phases)


def test_every_command_is_a_target():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {item.command.split()[1] for item in checklist.ITEMS if item.command.startswith("make ")}
    assert named <= targets and len(named) > 5
