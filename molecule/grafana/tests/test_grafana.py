# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana as it runs: what is provisioned, who comes in, and whether it fits."""

from __future__ import annotations

import base64
import json

import pytest

BOARDS = {"api", "memory", "nginx", "postgres", "redis", "release"}


@pytest.fixture
def ask(container, secrets, eventually):
    """The answer of Grafana's API to its administrator, as JSON; with password=None to nobody in particular."""
    eventually(lambda: container.run("wget", "-q", "-O", "-", "http://127.0.0.1:3000/api/health").rc == 0, 120)

    def request(path, password=secrets["grafana_admin_password"]):
        login = base64.b64encode(f"admin:{password}".encode()).decode()
        headers = [f"--header=Authorization: Basic {login}"] if password else []
        result = container.run("wget", "-q", "-O", "-", *headers, f"http://127.0.0.1:3000{path}")
        return json.loads(result.stdout) if result.rc == 0 else result.stderr

    return request


def test_it_runs_the_version_that_is_pinned(ask, container):
    assert container.inspect["Config"]["Image"].rsplit(":", 1)[1] == ask("/api/health")["version"]


def test_nobody_comes_in_without_the_password(ask):
    for password in (None, "admin", "not-the-password"):
        assert "401" in ask("/api/dashboards/home", password), password
    assert "401" in ask("/api/search", None)


def test_the_login_form_gives_a_strict_cookie(ask, container, secrets):
    body = json.dumps({"user": "admin", "password": secrets["grafana_admin_password"]})
    header = "--header=Content-Type: application/json"
    result = container.run("wget", "-S", "-O", "-", header, f"--post-data={body}", "http://127.0.0.1:3000/login")
    assert result.rc == 0, result.stderr
    [cookie] = [line for line in result.stderr.splitlines() if "grafana_session=" in line]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie


def test_its_data_sources_are_provisioned(ask):
    sources = {source["uid"]: source for source in ask("/api/datasources")}
    assert set(sources) == {"prometheus"}
    assert sources["prometheus"]["url"] == "http://prometheus:9090"
    assert sources["prometheus"]["isDefault"] and sources["prometheus"]["readOnly"]


def test_its_dashboards_are_provisioned(ask):
    assert {found["uid"] for found in ask("/api/search?type=dash-db")} == BOARDS
    for uid in BOARDS:
        found = ask(f"/api/dashboards/uid/{uid}")
        assert found["meta"]["provisioned"]
        assert found["meta"]["folderUid"] == "sixty"
        assert found["dashboard"]["panels"]


def test_the_home_page_is_the_memory_overview(ask):
    assert ask("/api/dashboards/home")["dashboard"]["title"] == "Memory overview"


def test_what_is_off_is_off(ask):
    settings = ask("/api/frontend/settings")
    assert not settings["unifiedAlertingEnabled"]
    assert not settings["pluginAdminEnabled"]
    assert not settings["liveEnabled"]
    assert not settings["newsFeedEnabled"]
    assert not settings["publicDashboardsEnabled"]
    assert not settings["snapshotEnabled"]


def test_no_plugin_was_installed_and_none_is_a_process(ask, container):
    assert container.output("ls", "/var/lib/grafana/plugins") == ""
    assert "gpx_" not in container.output("ps")


def test_its_pages_are_protected(ask, container):
    result = container.run("wget", "-S", "-O", "/dev/null", "http://127.0.0.1:3000/login")
    assert "frame-ancestors 'none'" in result.stderr
    assert "X-Content-Type-Options: nosniff" in result.stderr


def test_prometheus_can_scrape_it(ask, container):
    assert "grafana_build_info" in container.output("wget", "-q", "-O", "-", "http://127.0.0.1:3000/metrics")


def test_its_log_is_json_without_errors(ask, container, host):
    lines = host.check_output("docker logs %s 2>&1", container.name).splitlines()
    assert not [line for line in lines if json.loads(line)["level"] == "error"]


def test_it_fits_into_its_limit(ask, container, budget):
    """Unreclaimable memory after all dashboards were read, and nothing of it was killed."""
    for _round in range(5):
        for uid in BOARDS:
            ask(f"/api/dashboards/uid/{uid}")
    kernel = container.kernel
    usage = int(kernel.read("memory", "memory.usage_in_bytes", "memory.current"))
    rows = dict(line.split() for line in kernel.read("memory", "memory.stat", "memory.stat").splitlines())
    prefix = "" if kernel.v2 else "total_"
    unreclaimable = usage - int(rows[f"{prefix}inactive_file"]) - int(rows[f"{prefix}active_file"])
    assert unreclaimable < kernel.memory * budget["thresholds"]["critical_percent"] / 100
    assert container.now("{{.RestartCount}}") == "0"


def test_a_change_reaches_it_and_the_users_stay(play, ask, container):
    before = container.now("{{.Id}}")
    play(grafana_root_url="https://grafana.example.com/")
    assert container.now("{{.Id}}") != before
    assert ask("/api/frontend/settings")["appUrl"] == "https://grafana.example.com/"
