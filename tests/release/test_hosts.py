# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts, one after the other: a failure stops the rest and leaves them on the old release."""

from __future__ import annotations

import http.client
import json
import os

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import LOCAL, ROOT, deploy, docker, play
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults

WATCH = {"release_watch_seconds": 5, "release_watch_period": 1, "release_ready_timeout": 10}
# Two hosts are two stacks of this machine, with nothing in common but the engine.
HOSTS = {
    "first": {"stack_name": "host_first", "stack_subnet_prefix": "10.81", "nginx_http_port": 18081},
    "second": {"stack_name": "host_second", "stack_subnet_prefix": "10.82", "nginx_http_port": 18082},
}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    """The local inventory with two hosts instead of one; destroyed at the end."""
    folder = tmp_path_factory.mktemp("hosts")
    variables = yaml.safe_load((LOCAL / "hosts.yml").read_text())["stack"]["hosts"]["localhost"]
    hosts = {name: {**variables, **settings} for name, settings in HOSTS.items()}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"stack": {"hosts": hosts}}))
    paths = {
        "release_app_source": str(ROOT / "app"),
        "release_build_dir": str(ROOT / ".dev/build"),
        "local_secrets": str(folder / "secrets/{{ stack_name }}"),
    }
    group = yaml.safe_load((LOCAL / "group_vars/stack/main.yml").read_text())
    (folder / "group_vars").mkdir()
    (folder / "group_vars/stack.yml").write_text(yaml.safe_dump({**group, **paths}))
    yield folder
    deploy(inventory=folder, playbook="playbooks/destroy.yml", docker_host_purge=True)


def serving(host: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", HOSTS[host]["nginx_http_port"], timeout=5)
    connection.request("GET", "/api/release")
    return json.loads(connection.getresponse().read())["release"]


def journal(host: str) -> list[str]:
    path = f"/srv/{HOSTS[host]['stack_name']}/journal.jsonl"
    return [json.loads(line)["event"] for line in open(path, encoding="utf-8")]


def test_hosts_roll_one_by_one_and_a_failure_stops_the_rest(inventory):
    deploy(inventory=inventory, release_id="r1", **WATCH)
    assert (serving("first"), serving("second")) == ("r1", "r1")
    told = deploy(inventory=inventory, release_id="r2", **WATCH).said
    assert told.index("release r2 is served in slot") < told.rindex("release r2 is served in slot"), (
        "one after the other"
    )
    assert (serving("first"), serving("second")) == ("r2", "r2")
    before = (
        docker("ps", "--all", "--quiet", "--no-trunc", "--filter", "label=sixty.stack=host_second"),
        journal("second"),
    )
    bad = {**WATCH, **faults.variables("unhealthy-after:1"), "release_watch_seconds": 30}
    ended = play(inventory=inventory, release_id="r3", **bad)
    assert ended.code != 0 and ended.recap["failed"] == 1, ended.tail
    assert "Release r3 was rolled back" in ended.said, ended.tail
    # The second was validated, and is as it was.
    assert (serving("first"), serving("second")) == ("r2", "r2")
    after = (
        docker("ps", "--all", "--quiet", "--no-trunc", "--filter", "label=sixty.stack=host_second"),
        journal("second"),
    )
    assert after == before
    assert not os.path.exists("/srv/host_second/releases/r3")


def test_what_one_host_refuses_changes_none(inventory):
    """The first play asks all of them before the second changes the first."""
    budget = {"memory_budget_host_memory": "{{ '900M' if inventory_hostname == 'second' else '' }}"}
    ended = play(inventory=inventory, release_id="r4", **WATCH, **budget)
    assert ended.code != 0 and ended.recap["changed"] == 0, ended.tail
    assert (serving("first"), serving("second")) == ("r2", "r2")
