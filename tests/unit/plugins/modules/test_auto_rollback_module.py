# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""auto_rollback on a stack's directory, with an Alertmanager that answers over HTTP."""

from __future__ import annotations

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_records
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import auto_rollback
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules import release_world
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.module_runner import run_main
from docker.errors import DockerException


def alert(release, state="active", **labels):
    return {
        "labels": {"alertname": "A", "stack": "sixty", "rollback_trigger": "health", "release": release, **labels},
        "status": {"state": state},
        "startsAt": "2026-11-24T19:52:11.123Z",
    }


class Alertmanager(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_arguments):
        """Quiet."""


@pytest.fixture
def alertmanager():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Alertmanager)
    server.asked, server.status, server.body = [], 200, json.dumps([alert("r2")]).encode()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(world, alertmanager, monkeypatch):
    def run(check=False, **more):
        url = f"http://127.0.0.1:{alertmanager.server_address[1]}"
        given = release_world.arguments(world, None, manifest=None, alertmanager_url=url, **{"wait": 0, **more})
        given.pop("warm_up")
        return run_main(monkeypatch, auto_rollback.main, given, check)

    return run


@pytest.fixture
def deployed(served, switch):
    """r2 is served after r1."""
    assert not switch("r2")["failed"]
    served.events.clear()
    return served


def test_a_bad_release_is_gone_back_from_once(deployed, ask, switch):
    before = release_world.snapshot(deployed.root)
    decided = ask()
    assert (decided["verdict"], decided["release"], decided["before"]) == ("rollback", "r2", "r1")
    assert decided["alert"]["trigger"] == "health" and not decided["changed"]
    assert release_world.snapshot(deployed.root) == before
    assert not switch(None, action="rollback", manifest=None)["failed"]
    # The same alert goes on, and one about the release that is served now comes.
    decided = ask()
    assert (decided["verdict"], decided["release"]) == ("ignore", "r1") and "about others: A of r2" in decided["reason"]


def test_what_is_served_because_of_a_rollback_stays(deployed, ask, switch, alertmanager):
    switch(None, action="rollback", manifest=None)
    alertmanager.body = json.dumps([alert("r1"), alert("r2")]).encode()
    assert "because release r2 was gone back from" in ask()["reason"]
    # Somebody goes forward again, and takes it upon himself.
    switch("r2", action="rollback", manifest=None)
    decided = ask()
    assert decided["verdict"] == "ignore" and "gone to by a rollback, not by a deploy" in decided["reason"]
    # A deploy is a new beginning.
    deployed.prepare("r3")
    assert not switch("r3")["failed"]
    alertmanager.body = json.dumps([alert("r3")]).encode()
    assert "cool-down is 900 s" in ask()["reason"]
    decided = ask(cooldown=0)
    assert (decided["verdict"], decided["before"]) == ("rollback", "r2")


def test_outside_the_window(deployed, ask):
    decided = ask(window=0)
    assert decided["verdict"] == "ignore" and "the window is 0 s" in decided["reason"]


def test_only_what_fires_is_asked_for_and_counts(deployed, ask, alertmanager):
    ask()
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(alertmanager.asked[0]).query)
    assert query["filter"] == ['stack="sixty"', 'rollback_trigger!=""']
    assert query["active"] == ["true"] and query["silenced"] == query["inhibited"] == ["false"]
    alertmanager.body = json.dumps([alert("r2", "suppressed"), alert("r2", stack="other")]).encode()
    assert ask()["verdict"] == "ignore"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b""),
        (200, b""),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b"[1]"),
        (200, b"\xff"),
        (200, b" " * ((4 << 20) + 1)),
    ],
)
def test_without_the_word_of_alertmanager_nothing_is_done(deployed, ask, alertmanager, status, body):
    alertmanager.status, alertmanager.body = status, body
    decided = ask()
    assert decided["failed"]
    assert "no answer that can be used" in decided["msg"] and "Nothing was changed" in decided["msg"]


def test_an_alertmanager_that_is_away(deployed, ask, alertmanager):
    alertmanager.shutdown()
    alertmanager.server_close()
    assert "make rollback-emergency" in ask()["msg"]


def test_there_is_no_way_back(served, ask, alertmanager):
    alertmanager.body = json.dumps([alert("r1")]).encode()
    decided = ask()
    assert decided["verdict"] == "ignore" and "There is no release to go back to from r1" in decided["reason"]
    assert decided["before"] == ""


def test_not_across_contract_migrations(served, switch, ask):
    switch("r2", action="migrate", contract=True)
    switch("r2")
    decided = ask()
    assert decided["verdict"] == "ignore" and "contract migrations" in decided["reason"]


@pytest.fixture
def deploying(deployed):
    """Another deploy is under way: this process's."""
    records = release_records.Records(str(deployed.root))
    records.begin({"release": "r3", "phase": "staged", "previous": {"slot": "green", "release": "r2"}}, "ann@box")
    return records


def test_a_deploy_is_waited_for_and_then_it_decides_anew(deploying, ask, monkeypatch):
    decided = ask()
    assert decided["verdict"] == "wait" and "release r3 is staged, by ann@box" in decided["reason"]
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            deploying.finish()

    monkeypatch.setattr(auto_rollback.time, "sleep", sleep)
    assert ask(wait=60)["verdict"] == "rollback" and len(waited) == 3


def test_a_deploy_that_leads_to_another_release_makes_the_alert_void(deploying, deployed, ask, monkeypatch):
    deployed.prepare("r3")

    def sleep(_seconds):
        # It ends in r3, while this waits.
        deploying.finish()
        route = deployed.root / "route" / "active"
        route.unlink()
        route.symlink_to("slots/blue/r3")

    monkeypatch.setattr(auto_rollback.time, "sleep", sleep)
    assert "Release r3 is served, and the alerts are about others: A of r2" in ask(wait=60)["reason"]


def test_check_mode_waits_for_nothing(deploying, ask):
    assert ask(check=True, wait=600)["verdict"] == "wait"


def test_a_deploy_that_was_broken_off(deployed, deploying, ask, monkeypatch):
    """Its process is gone: before its switch there is nothing that a rollback could be for."""
    monkeypatch.setattr(release_records, "started", lambda pid: None)
    decided = ask()
    assert decided["verdict"] == "ignore" and "the deploy of release r3 was broken off" in decided["reason"]


def test_a_lost_journal_is_no_reason(deployed, ask):
    (deployed.root / "journal.jsonl").unlink()
    assert "does not say when it was switched to" in ask()["reason"]


def test_a_state_that_is_broken(deployed, ask):
    (deployed.root / "state.json").write_text("{", encoding="utf-8")
    decided = ask()
    assert decided["failed"] and "state.json" in decided["msg"] and "Nothing was changed" in decided["msg"]


def test_the_engine_away(deployed, ask):
    deployed.engine_error = DockerException("no socket")
    assert "The engine does not answer" in ask()["msg"]


@pytest.mark.parametrize("name", ["window", "cooldown"])
def test_arguments_that_cannot_be(deployed, ask, name):
    assert f"{name} is -1" in ask(**{name: -1})["msg"]
