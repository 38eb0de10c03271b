# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""monitor.json, and what is said about one that is wrong."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB, configuration
from memory_monitor.settings import Settings, load


def test_settings():
    found = Settings(configuration(certificate_not_after=1800000000))
    assert found.stack == "sixty" and found.services["redis"]["usage_target"] == 56 * MB
    assert found.totals["total"] == 2048 * MB and found.percents["container_percent"] == 85
    assert found.colours == {"api"} and found.certificate_not_after == 1800000000
    assert (found.leak.window, found.leak.bucket) == (21600, 60)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"stack": ""}, "stack"),
        ({"stack": None}, "stack"),
        ({"total": "2G"}, "total has to be a number that is not negative, and is '2G'"),
        ({"total_alert": -1}, "total_alert"),
        ({"warning_percent": True}, "warning_percent"),
        ({"services": []}, "services"),
        ({"services": {"redis": {"limit": 1}}}, "services.redis.reservation"),
        ({"services": {"redis": 5}}, "services.redis.limit"),
        ({"leak": None}, "leak"),
        ({"leak": {"bucket": 60}}, "has to be a number"),
        ({"certificate_not_after": "tomorrow"}, "certificate_not_after"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, part):
    path = tmp_path / "monitor.json"
    path.write_text(configuration(**changes))
    with pytest.raises(ValueError) as raised:
        load(path)
    assert str(path) in str(raised.value) and part in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_what_is_no_object(tmp_path, text):
    path = tmp_path / "monitor.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="no configuration of the Memory Monitor"):
        load(path)


def test_a_window_that_is_too_short():
    leak = json.loads(configuration())["leak"]
    with pytest.raises(ValueError, match="twelve buckets"):
        Settings(configuration(leak={**leak, "window": 600}))


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        load(tmp_path / "monitor.json")
