# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards as files: made by the code, and whole and tidy by themselves."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "scripts/dashboards/build.py"
FILES = sorted((ROOT / "roles/grafana/templates/dashboards").glob("*.json"))
# Grafana 12.4's own (DASHBOARD_SCHEMA_VERSION); an older one would be migrated on each load.
SCHEMA_VERSION = 42


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def board(path):
    return json.loads(path.read_text())


@pytest.fixture
def panels(board):
    """Those with values, not the titles of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_there_is_one_for_each_part_of_the_stack():
    assert [path.stem for path in FILES] == ["api", "logs", "memory", "nginx", "postgres", "redis", "release"]


def test_the_files_are_what_the_code_makes():
    done = subprocess.run([sys.executable, BUILD, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_says_what_is_out_of_date(tmp_path):
    """With copies of code and files, of which one is changed, one is missing and one is nobody's."""
    for folder in ("scripts", "roles/grafana", "roles/memory_budget"):
        subprocess.run(["cp", "-r", "--parents", folder, tmp_path], cwd=ROOT, check=True)
    subprocess.run(["cp", "galaxy.yml", tmp_path], cwd=ROOT, check=True)
    folder = tmp_path / "roles/grafana/templates/dashboards"
    (folder / "api.json").write_text((folder / "api.json").read_text().replace("Latency", "Speed"))
    (folder / "redis.json").unlink()
    (folder / "extra.json").write_text("{}")

    def run(*arguments):
        command = [sys.executable, tmp_path / "scripts/dashboards/build.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    checked = run("--check")
    assert checked.returncode == 1
    assert re.findall(r"(\w+)\.json is out of date", checked.stdout) == ["api", "extra", "redis"]
    assert (folder / "extra.json").exists()
    assert run().returncode == 0
    assert {found.name: found.read_bytes() for found in folder.iterdir()} == {
        found.name: found.read_bytes() for found in FILES
    }


def test_its_head(board, path):
    assert board["uid"] == path.stem
    assert board["schemaVersion"] == SCHEMA_VERSION
    assert board["refresh"] == "30s"
    assert board["timezone"] == "browser"
    assert board["tags"] == ["sixty"]
    assert board["editable"] is False
    assert board["title"] and board["description"].endswith(".")
    assert [link["title"] for link in board["links"]] == ["Dashboards", "Runbook"]
    assert board["links"][0]["tags"] == board["tags"]
    assert re.fullmatch(r"https://.+/docs/runbook\.md#[a-z]+", board["links"][1]["url"])


def test_switches_are_marked(board):
    [annotation] = board["annotations"]["list"]
    assert "release_switched_timestamp_seconds" in annotation["expr"]
    assert annotation["enable"] and annotation["useValueForTime"]


def test_ids_and_titles_are_unique(board, panels):
    for key in ("id", "title"):
        found = [panel[key] for panel in board["panels"]]
        assert len(set(found)) == len(found)
    for panel in panels:
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references)


def test_panels_lie_within_the_grid_and_not_on_each_other(board):
    for place in (panel["gridPos"] for panel in board["panels"]):
        assert place["w"] > 0 and place["h"] > 0
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24
    for one, other in itertools.combinations(board["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, f"{one['title']} lies on {other['title']}"


def test_each_panel_says_what_it_is_and_in_which_unit(panels):
    for panel in panels:
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["type"] == "logs" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_a_panel_has_few_points_and_few_series(panels):
    """24 hours are 288 steps of five minutes; Prometheus keeps a sample of each series in each."""
    for panel in panels:
        assert panel["type"] == "logs" or panel["maxDataPoints"] == 300, panel["title"]
        assert len(panel["targets"]) <= 10, panel["title"]


def test_a_panel_and_its_queries_ask_one_source(panels):
    for panel in panels:
        sources = [target["datasource"] for target in panel["targets"]]
        assert sources == [panel["datasource"]] * len(sources), panel["title"]
        assert panel["datasource"] in ({"type": "prometheus", "uid": "prometheus"}, {"type": "loki", "uid": "loki"})


def test_only_the_dashboard_of_the_logs_needs_loki(panels, path):
    """The role leaves that one out where there is no Loki."""
    assert {panel["datasource"]["uid"] for panel in panels} == {"loki" if path.stem == "logs" else "prometheus"}


def test_one_value_is_asked_for_once(panels):
    """A large number or a table shows the end of the range, and does not load all of it."""
    for panel in panels:
        single = panel["type"] in ("stat", "table", "bargauge")
        for target in panel["targets"]:
            if target["datasource"]["uid"] == "prometheus":
                assert (target["instant"], target["range"]) == (single, not single), panel["title"]
