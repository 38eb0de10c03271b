# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on a host of its own, reached over another connection than localhost: watched, flipped back, rolled back."""

from __future__ import annotations

import base64
import json

import pytest

WATCH = {"release_watch_seconds": 8, "release_watch_period": 1}
# Readiness fails some seconds after the start, and all else goes on.
SICK = """
import http from 'node:http';
const { emit } = http.Server.prototype;
const began = performance.now();
http.Server.prototype.emit = function (event, request, response) {
  if (event !== 'request' || request.url !== '/health/ready' || performance.now() - began < 9000) {
    return emit.apply(this, arguments);
  }
  response.writeHead(503, { 'x-release': process.env.RELEASE_ID }).end();
  return true;
};
"""


@pytest.fixture
def state(host, stack):
    return lambda: json.loads(host.file(f"/srv/{stack}/state.json").content_string)


def test_a_release_is_watched_and_promoted(play, asked, routed, running, state, stack, ask):
    old = routed()
    recap = play(release_id="watched-r2", **WATCH)
    assert "watched-r2 watched" in recap.output and "watched-r2 promoted" in recap.output
    answers = asked()
    assert {answer.status for answer in answers} == {200}
    assert [answers[0].json["release"], answers[-1].json["release"]] == [old, "watched-r2"]
    assert (routed(), running()) == ("watched-r2", [f"{stack}-api-watched-r2"])
    assert "deploy" not in state() and state()["releases"]["watched-r2"]["backup"]
    assert ask("/").headers["x-release"] == "watched-r2"


def test_it_flips_back_by_itself(play, asked, routed, running, stack, host):
    flags = ["--import", f"data:text/javascript;base64,{base64.b64encode(SICK.encode()).decode()}"]
    recap = play(fails=True, release_id="sick-r3", api_node_flags=flags, **{**WATCH, "release_watch_seconds": 40})
    said = " ".join(recap.output.split())
    assert "Release sick-r3 was rolled back" in said and "Trigger health: 4 health checks in a row failed" in said
    assert "/health/ready: HTTP 503" in said and "Release watched-r2 is served again" in said
    # Only its readiness is ill, so nobody lost anything by its short life.
    answers = asked()
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["release"] for answer in answers} == {"watched-r2", "sick-r3"}
    assert (routed(), running()) == ("watched-r2", [f"{stack}-api-watched-r2"])
    last = json.loads(host.check_output("tail -n 1 /srv/%s/journal.jsonl", stack))
    assert (last["event"], last["from"], last["trigger"]) == ("rolled_back", "sick-r3", "health")


def test_what_is_kept_of_it_is_roots(host, stack):
    assert host.file(f"/srv/{stack}/backups").mode == 0o700
    dumps = host.check_output("ls /srv/%s/backups", stack).split()
    assert dumps and {host.file(f"/srv/{stack}/backups/{name}").mode for name in dumps} == {0o600}
    assert not host.file(f"/srv/{stack}/lock.json").exists


def test_a_second_deploy_has_nothing_to_do(play, routed):
    recap = play(release_id="watched-r2", **WATCH)
    assert recap.changed == 0 and routed() == "watched-r2"
