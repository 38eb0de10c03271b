# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sixty_sales.memory_optimized.plugins.filter import container_resources, to_bytes, to_unit

FILTERS = {
    name: function
    for module in (container_resources, to_bytes, to_unit)
    for name, function in module.FilterModule().filters().items()
}


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("384M", 402653184),
        ({"redis": "1K", "nginx": None, "api": {"limit": "2K"}}, {"redis": 1024, "api": {"limit": 2048}}),
        (["1K", None, 3], [1024, 3]),
    ],
)
def test_to_bytes(value, result):
    assert FILTERS["to_bytes"](value) == result


def test_to_unit():
    assert FILTERS["to_unit"]("96M", "MB") == "96MB"
    assert FILTERS["to_unit"]("384M", "M", suffix="") == "384"


def test_container_resources():
    entry = {"limit": "64M", "tmpfs": {"/tmp": "4M"}}
    assert FILTERS["container_resources"](entry, uid=999) == {
        "memory": "64M",
        "memory_swap": "64M",
        "tmpfs": ["/tmp:size=4m,mode=1777,noexec,nosuid,nodev,uid=999"],
    }


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("to_bytes", ["512Q"], "to_bytes: '512Q': unknown unit 'Q'"),
        ("to_bytes", [{"redis": "-1M"}], "'-1M' is negative"),
        ("to_unit", ["1M", "GB"], "no whole number of GB"),
        ("container_resources", [{}], "no memory limit|limit is missing"),
        ("container_resources", [{"limit": "8M", "cpu": 1}], "service.cpu is no key of the budget"),
        ("container_resources", ["64M"], "mapping"),
    ],
)
def test_bad_input_is_a_filter_error(name, arguments, words):
    with pytest.raises(AnsibleFilterError, match=words):
        FILTERS[name](*arguments)
