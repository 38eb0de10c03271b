# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import memory_budget
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.budget_profiles import (
    DOCUMENTED,
    merged,
    service,
)


class Exited(Exception):
    """exit_json or fail_json was called."""

    def __init__(self, result):
        super().__init__(result.get("msg"))
        self.result = result


@pytest.fixture
def run(monkeypatch):
    """Runs the module's main with arguments; gives its result, with failed where it failed."""

    def leave(failed):
        def method(_module, **result):
            raise Exited({"failed": failed, **result})

        return method

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave(False))
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", leave(True))

    def run_module(**arguments):
        with patch_module_args(arguments), pytest.raises(Exited) as caught:
            memory_budget.main()
        return caught.value.result

    return run_module


def arguments(overrides=None, profile="documented", **more):
    return {
        "data": merged(profile, overrides),
        "documented": DOCUMENTED,
        "overrides": overrides or {},
        "profile": profile,
        "host_memory": "8G",
        "host_cpus": 2,
        **more,
    }


def test_accepts_and_reports(run):
    result = run(**arguments())
    assert not result["failed"]
    assert result["changed"] is False
    assert (result["errors"], result["warnings_found"], result["failure"]) == (0, 6, "")
    assert result["parent_limit"] == 2048 * 1024**2
    assert result["totals"]["peak"] == 2000 * 1024**2
    assert [phase["phase"] for phase in result["timeline"]] == ["steady", "overlap", "drain", "promoted"]
    assert {row["service"]: row["limit"] for row in result["rows"]}["api"] == 384 * 1024**2
    assert result["report"].startswith(result["table"])


def test_returns_what_it_documents(run):
    documented = set(yaml.safe_load(memory_budget.RETURN))
    assert set(run(**arguments())) - {"failed", "changed"} == documented


@pytest.mark.parametrize("check_mode", [False, True])
def test_fails_with_every_error(run, check_mode):
    overrides = {"services": {"redis": {"limit": "512Q"}, "loki": {"limit": "700M"}}}
    result = run(**arguments(overrides, _ansible_check_mode=check_mode))
    assert result["failed"]
    for words in ("size/unit", "'512Q': unknown unit 'Q'", "budget/sum", "Nothing was changed", "do: "):
        assert words in result["msg"]
    assert result["errors"] == 2


def test_can_leave_the_failing_to_the_caller(run):
    result = run(**arguments(service("redis", limit="512Q"), fail_on_error=False))
    assert not result["failed"]
    assert result["errors"] == 1
    assert "size/unit" in result["failure"]


def test_strict(run):
    result = run(**arguments(strict=True))
    assert result["failed"]
    assert "memory_budget_strict" in result["msg"]
    assert not run(**arguments(profile="hardened", strict=True))["failed"]


@pytest.mark.parametrize("given", ["", None])
def test_reads_the_host_where_nothing_is_given(run, monkeypatch, tmp_path, given):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        2025472 kB\n", encoding="ascii")
    monkeypatch.setattr(memory_budget, "MEMINFO", str(meminfo))
    monkeypatch.setattr(memory_budget.os, "cpu_count", lambda: 3)
    result = run(**arguments(host_memory=given, host_cpus=None))
    assert (result["host_memory"], result["host_cpus"]) == (1978 * 1024**2, 3)
    assert result["parent_limit"] == 1678 * 1024**2


def test_says_when_the_host_cannot_be_read(run, monkeypatch, tmp_path):
    monkeypatch.setattr(memory_budget, "MEMINFO", str(tmp_path / "none"))
    result = run(**arguments(host_memory=None))
    assert result["failed"]
    assert "host's memory cannot be read" in result["msg"]
    assert "Give it as host_memory" in result["msg"]


@pytest.mark.parametrize("given", ["2Q", "0", "-1G", [1]])
def test_refuses_a_host_memory_that_is_no_size(run, given):
    result = run(**arguments(host_memory=given))
    assert result["failed"]
    assert result["msg"].startswith("host_memory cannot be read: ")


def test_data_alone_is_enough(run):
    result = run(data={"budget": {"total": "64M"}, "services": {"web": {"limit": "65M"}}}, host_memory="1G")
    assert "web 65 = 65 MB > 64 MB, 1 MB too much" in result["msg"]
