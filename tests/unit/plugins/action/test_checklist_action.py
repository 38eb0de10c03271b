# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checklist collects, against a real HTTP server; the engine and the person are stand-ins."""

from __future__ import annotations

import hashlib
import http.server
import json
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail, AnsiblePromptNoninteractive
from ansible_collections.sixty_sales.memory_optimized.plugins.action import checklist, stack_report

MB = 1024**2
BUDGET = {
    "budget": {"total": "2048M"},
    "thresholds": {
        **{"warning_percent": 80, "container_percent": 85, "critical_percent": 90},
        **{"total_alert": "1638M", "total_critical": "1843M"},
    },
    "services": {"api": {"limit": "384M", "usage_target": "320M"}},
}
KERNEL = {"usage": 40, "working_set": 40, "unreclaimable": 32 * MB, "limit": 384 * MB, "peak": 1, "oom_kills": 0}
CONTAINER = {
    **{"id": "0a" * 32, "name": "sixty-api-r2", "service": "api", "release": "r2", "running": True, "probe": ""},
    **{"health": "healthy", "started": "2026-11-25T00:00:00Z", "restarts": 0, "kernel": KERNEL, "differences": []},
}
ANSWERS = {
    "/api/v1/status": {
        **{"stack": "sixty", "phase": "steady", "host": None, "services": [], "total": {"percent": 1, "level": "ok"}},
        "release": {"slot": "blue", "release": "r2", "switched": 1000.0},
    },
    "/api/v1/query": {"data": {"result": [{"metric": {"service": "api", "alertname": "X"}, "value": [0, "0"]}]}},
    "/api/v1/alerts": {"data": {"alerts": []}},
    "/api/v2/alerts": [{"labels": {"alertname": "Watchdog"}}],
    "/api/v2/status": {"config": {"original": "receivers:\n- name: team\n"}},
    "/healthz": {},
}


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ANSWERS.get(self.path.partition("?")[0])
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_arguments):
        """Quiet."""


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Action(checklist.ActionModule):
    def __init__(self, site, **args):
        watchers = {name: site for name in ("monitor", "prometheus", "alertmanager")}
        given = {"stack": "sixty", "budget": BUDGET, "budget_errors": 0, "releases": [], **watchers}
        task = SimpleNamespace(args={**given, **args}, action="checklist", async_val=0, check_mode=False)
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
        super().__init__(task, connection, SimpleNamespace(), loader=None, templar=None, shared_loader_obj=None)
        self.engine = {"containers": [CONTAINER], "parent": {}}

    def _execute_module(self, module_name=None, module_args=None, task_vars=None):
        return self.engine

    def _low_level_execute_command(self, cmd):
        ended = subprocess.run(cmd, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
        return {"stdout": ended.stdout, "stderr": ended.stderr}

    def items(self):
        document = self.run(task_vars={"inventory_hostname": "h1"})["document"]
        return {row["name"]: (row["verdict"], row["evidence"]) for row in document["items"]}


@pytest.fixture
def shown(monkeypatch):
    lines = []
    monkeypatch.setattr(stack_report.display, "display", lines.append)
    return lines


@pytest.fixture
def person(monkeypatch):
    """Says the same to every question, until there is nobody any more."""
    said = []

    def prompt(text):
        if not said:
            raise AnsiblePromptNoninteractive("nobody")
        asked.append(text)
        return said[0]

    asked: list[str] = []
    monkeypatch.setattr(checklist.display, "prompt_until", prompt)
    return said, asked


def test_what_is_collected(site, shown, person):
    items = Action(site).items()
    assert items["api-memory"][0] == items["memory-limits"][0] == items["alert-system"][0] == "pass"
    assert items["memory-alerts"] == ("fail", "1 since the switch: X"), "Prometheus was asked"
    assert items["automated-alerting"][0] == items["on-call"][0] == "ask"
    assert items["performance-score"] == ("not known", "there is no report")
    [text] = shown
    assert text.startswith("sixty on h1, ") and "release r2\n\nverdict" in text and "Success Metrics" in text


def test_reports(site, shown, person, tmp_path):
    page = hashlib.sha256(b"{}").hexdigest()
    tested = {"image": "sixty/api:1", "page": page, "ok": True, "started": time.time(), "seconds": 0}
    (tmp_path / "memory.json").write_text(json.dumps(tested))
    (tmp_path / "bundle.json").write_text("{")
    reports = {name: str(tmp_path / f"{name}.json") for name in ("memory", "bundle", "none")}
    requests = [{"name": "page", "url": f"{site}/healthz"}]
    items = Action(site, image="sixty/api:1", requests=requests, reports=reports).items()
    assert items["memory-leaks"][0] == "pass", items["memory-leaks"]
    assert items["bundle-size"][0] == "not known" and "broken" in items["bundle-size"][1]


@pytest.mark.parametrize(("said", "verdict"), [(b"yes\r", "pass"), (b"n", "fail"), (b"", "ask"), (b"\xff", "ask")])
def test_a_person_is_asked(site, shown, person, said, verdict):
    answers, asked = person
    answers.append(said)
    items = Action(site, phase="pre").items()
    assert items["on-call"][0] == verdict and len(asked) == 1 and "Does somebody on call" in asked[0]


def test_nobody_is_asked_twice_or_for_a_program(site, shown, person):
    answers, asked = person
    answers.append(b"no")
    assert Action(site, phase="pre", answers="on-call=yes").items()["on-call"] == ("pass", "answered: yes")
    assert Action(site, phase="pre", output="json").items()["on-call"][0] == "ask"
    assert asked == [] and json.loads(shown[-1])["counts"] == {"pass": 2, "fail": 1, "not known": 1, "ask": 1}


def test_nothing_answers(shown, person):
    items = Action("http://127.0.0.1:1").items()
    assert {verdict for verdict, _evidence in items.values()} == {"pass", "not known", "ask", "fail"}
    failed = {name for name, (verdict, _evidence) in items.items() if verdict == "fail"}
    assert failed == {"monitoring-ready"}, "what is not known is no failure, what does not answer is one"


def test_an_engine_that_is_away(site, shown):
    action = Action(site)
    action.engine = {"failed": True, "msg": "The engine does not answer."}
    assert action.run(task_vars={}) == action.engine and shown == []


@pytest.mark.parametrize("wrong", [{"answers": "on-call=perhaps"}, {"phase": "later"}, {"budget_errors": "many"}])
def test_options_that_are_none(site, shown, wrong):
    with pytest.raises(AnsibleActionFail):
        Action(site, **wrong).items()
