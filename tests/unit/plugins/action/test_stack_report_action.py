# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's commands run here, against a real HTTP server; the engine and the clock are stand-ins."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.sixty_sales.memory_optimized.plugins.action import stack_report

MB = 1024**2
BUDGET = {
    "budget": {"total": "2048M"},
    "thresholds": {
        **{"warning_percent": 80, "container_percent": 85, "critical_percent": 90},
        **{"total_alert": "1638M", "total_critical": "1843M"},
    },
    "services": {"redis": {"limit": "64M", "usage_target": "56M"}},
}
KERNEL = {
    "usage": 40 * MB,
    "working_set": 40 * MB,
    "unreclaimable": 32 * MB,
    "limit": 64 * MB,
    "peak": 1,
    "oom_kills": 0,
}
ENGINE = {
    "containers": [
        {
            **{"id": "0a" * 32, "name": "sixty-redis", "service": "redis", "release": "", "running": True},
            **{"health": "healthy"},
            **{"probe": "", "started": "2026-11-25T00:00:00Z", "restarts": 0, "kernel": KERNEL, "differences": []},
        }
    ],
    "parent": {},
}
STATUS = {
    **{"stack": "sixty", "phase": "overlap", "host": None, "services": []},
    "total": {"usage": 9 * MB, "unreclaimable": 8 * MB, "limit": 16 * MB, "percent": 50.0, "level": "ok"},
}
ALERTS = {"data": {"alerts": [{"labels": {"alertname": "Leak"}, "state": "firing"}]}}


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        bodies = {"/api/v1/status": json.dumps(STATUS), "/api/v1/alerts": json.dumps(ALERTS), "/page": "<html>\xe9"}
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/page")
        else:
            self.send_response(200 if self.path in bodies else 404)
            self.send_header("X-Release", "r1")
        self.end_headers()
        self.wfile.write(bodies.get(self.path, "").encode())

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


NOBODY = "http://127.0.0.1:1"


class Interrupted(Exception):
    """Ctrl-C."""


class Action(stack_report.ActionModule):
    def __init__(self, **args):
        given = {"kind": "resources", "stack": "sixty", "budget": BUDGET, "monitor": NOBODY, "prometheus": NOBODY}
        task = SimpleNamespace(args={**given, **args}, action="stack_report", async_val=0, check_mode=False)
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
        super().__init__(task, connection, SimpleNamespace(), loader=None, templar=None, shared_loader_obj=None)
        self.engine, self.modules, self.lost, self.command = dict(ENGINE), [], 0, None

    def _execute_module(self, module_name=None, module_args=None, task_vars=None):
        self.modules.append((module_name, module_args))
        return self.engine

    def _low_level_execute_command(self, cmd):
        if self.lost:
            self.lost -= 1
            raise AnsibleConnectionFailure("gone")
        ended = subprocess.run(self.command or cmd, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
        # As SSH with a terminal hands it over.
        return {"stdout": "a banner\r\n" + ended.stdout.replace("\n", "\r\n"), "stderr": ended.stderr}

    def start(self, *hosts):
        return self.run(task_vars={"inventory_hostname": "h1", "ansible_play_hosts": hosts or ("h1",)})


@pytest.fixture
def shown(monkeypatch):
    lines = []
    monkeypatch.setattr(stack_report.display, "display", lines.append)
    monkeypatch.setattr(stack_report.display, "columns", 79)
    return lines


@pytest.fixture
def clock(monkeypatch):
    """Interrupts after so many sleeps."""
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise Interrupted

    monkeypatch.setattr(stack_report.time, "sleep", sleep)
    return slept


def test_a_table_of_the_memory(site, shown):
    action = Action(monitor=site)
    result = action.start()
    assert (result["changed"], result["document"]["host"], result["document"]["phase"]) == (False, "h1", "overlap")
    [text] = shown
    assert re.match(r"sixty on h1, \d\d:\d\d:\d\d, phase overlap\n\ncontainer ", text)
    assert "target" in text.splitlines()[2], "a pipe has room for all columns"
    [(name, given)] = action.modules
    assert name == "sixty_sales.memory_optimized.container_memory_info"
    assert given["stack"] == "sixty" and given["expected"]["redis"]["memory"] == "64M"


def test_one_json_document(site, shown):
    document = Action(monitor=site, output="json").start()["document"]
    [text] = shown
    assert json.loads(text) == document and "\n" not in text


def test_without_the_monitor_it_is_the_engine_alone(shown):
    monitor = Action().start()["document"]["monitor"]
    assert monitor == {"answers": False, "problem": "Connection refused"}
    assert "sixty-redis" in shown[0]


def test_an_engine_that_does_not_answer_is_the_result(shown):
    action = Action()
    action.engine = {"failed": True, "msg": "The engine does not answer: no."}
    assert action.start() == action.engine and shown == []


def test_health(site, shown):
    requests = [{"name": "page", "url": f"{site}/moved"}, {"name": "gone", "url": f"{site}/gone"}]
    requests += [{"name": "dead", "url": NOBODY}, {"name": "Grafana", "url": NOBODY, "service": "grafana"}]
    document = Action(kind="health", requests=requests, prometheus=site).start()["document"]
    told = {row["name"]: (row["status"], row["release"], row["error"], row["ok"]) for row in document["requests"]}
    assert told == {
        "page": (200, "r1", "", True),
        "gone": (404, "r1", "", False),
        "dead": (0, "", "Connection refused", False),
    }
    assert [alert["name"] for alert in document["alerts"]] == ["Leak"]
    assert not document["healthy"] and "Alert Leak fires" in shown[0]


def test_health_without_prometheus(site, shown):
    document = Action(kind="health", requests=[{"name": "page", "url": f"{site}/page"}]).start()["document"]
    assert document["healthy"] and document["alerts"] is None


def test_a_url_is_no_command(site, tmp_path):
    marker = tmp_path / "marker"
    [answer] = Action()._ask([f"{site}/'; touch {marker}; '"])
    assert not marker.exists() and answer["status"] in (0, 400, 404)


@pytest.mark.parametrize(
    ("command", "says"), [("echo 'python3: not found' >&2; exit 127", "python3: not found"), ("true", "a banner")]
)
def test_a_host_without_python(command, says):
    action = Action()
    action.command = command
    [answer] = action._ask([NOBODY])
    assert (answer["status"], answer["error"]) == (0, f"python3 on the host: {says}")


@pytest.mark.parametrize("wrong", [{"kind": "other"}, {"output": "xml"}, {"period": "soon"}, {"budget": None}])
def test_options_that_are_none(wrong):
    with pytest.raises(AnsibleActionFail):
        Action(**wrong).start()


# -- live


def test_one_host_is_redrawn_in_place(site, shown, clock):
    action = Action(monitor=site, follow=True)
    with pytest.raises(Interrupted):
        action.start()
    cleared, *frames = shown
    assert cleared == "\x1b[H\x1b[J" and len(frames) == 3
    for frame in frames:
        assert frame.startswith("\x1b[Hsixty on h1") and frame.endswith("Every 2 s; end with Ctrl-C.\x1b[K\x1b[J")
        assert all(line.endswith("\x1b[K") for line in frame.split("\n")[:-1])
        assert max(len(re.sub(r"\x1b\[.", "", line)) for line in frame.split("\n")[:4]) <= 79
    assert action.modules == [], "the monitor costs the host a request, the engine a process"
    assert all(1 < seconds <= 2 for seconds in clock)


def test_several_hosts_tell_a_line_each(site, shown, clock):
    with pytest.raises(Interrupted):
        Action(monitor=site, follow=True).start("h1", "h2")
    assert len(shown) == 3 and all(re.match(r"\d\d:\d\d:\d\d h1  8.0 of 16 MB \[", line) for line in shown)


def test_live_json(site, shown, clock):
    with pytest.raises(Interrupted):
        Action(monitor=site, follow=True, output="json").start()
    assert [json.loads(line)["kind"] for line in shown] == ["resources"] * 3


def test_live_without_the_monitor(shown, clock):
    action = Action(follow=True)
    with pytest.raises(Interrupted):
        action.start()
    assert len(action.modules) == 3 and "The Memory Monitor does not answer" in shown[-1]


def test_a_connection_that_is_lost_is_tried_again(site, shown, clock):
    action = Action(monitor=site, follow=True)
    action.lost = 1
    with pytest.raises(Interrupted):
        action.start()
    assert shown[1] == "h1: the connection is lost (gone); trying again" and "sixty on h1" in shown[2]


def test_an_engine_that_is_away_is_tried_again(shown, clock):
    action = Action(follow=True)
    action.engine = {"failed": True, "msg": "The engine does not answer: no."}
    with pytest.raises(Interrupted):
        action.start()
    assert shown[1:] == ["h1: The engine does not answer: no. Trying again."] * 3


# -- colours


def test_colours_are_ansibles(monkeypatch):
    monkeypatch.setattr("ansible.utils.color.ANSIBLE_COLOR", True)
    assert Action()._paint("x", "critical") == "\x1b[0;31mx\x1b[0m"
    assert Action()._paint("x", "") == "x"
    # A pipe, NO_COLOR, ANSIBLE_NOCOLOR.
    monkeypatch.setattr("ansible.utils.color.ANSIBLE_COLOR", False)
    assert Action()._paint("x", "critical") == "x"
