# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the engine has its settings: before its package starts it, and again where it runs without them."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
import yaml

TASKS = Path(__file__).resolve().parents[3] / "roles/docker_host/tasks"


def tasks(name):
    return {task["name"]: task for task in yaml.safe_load((TASKS / name).read_text())}


def test_the_settings_are_there_before_the_package_starts_the_engine():
    order = list(tasks("install.yml"))
    assert order.index("Write the engine's settings") < order.index("Install the engine")


@pytest.mark.parametrize(
    ("engine", "changed", "due"),
    [
        ({}, True, False),  # none is there: it reads them when it starts
        ({"host_info": {"LiveRestoreEnabled": True}}, False, False),
        ({"host_info": {"LiveRestoreEnabled": True}}, True, True),
        ({"host_info": {"LiveRestoreEnabled": False}}, False, True),  # in the file, and never read
    ],
)
def test_an_engine_is_told_to_read_them_where_it_has_not(engine, changed, due):
    environment = jinja2.Environment(autoescape=False)
    environment.tests["changed"] = lambda result: result["changed"]
    given = {
        "__docker_host_engine": engine,
        "__docker_host_settings": {"changed": changed},
        "docker_host_daemon_options": {"live-restore": True},
    }
    conditions = tasks("settings.yml")["Have the engine read them"]["when"]
    assert all(environment.compile_expression(one)(**given) for one in conditions) == due
