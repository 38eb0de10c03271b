# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images go; see images of one repository as numbers of their age."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.image_garbage import (
    Image,
    garbage,
    repository,
)

WANTED = ["sixty/redis:9", "reg.example:5000/sixty/api:9"]


def image(*tags, size=10, created=0):
    return Image(f"id of {tags[0] if tags else None}", tags, size, created)


OLD = [image(f"sixty/redis:{age}", created=age) for age in (1, 2, 3)]


@pytest.mark.parametrize(
    ("images", "used", "budget", "gone"),
    [
        ([], [], 0, []),
        (OLD, [], 0, [1, 2, 3]),
        (OLD, [], 19, [1, 2]),
        (OLD, [], 20, [1]),
        (OLD, [], 30, []),
        # One that is over the budget takes those with it that are older, also the small ones.
        ([image("sixty/redis:1", size=1, created=1), image("sixty/redis:2", size=50, created=2)], [], 40, [1, 2]),
        (OLD, ["id of sixty/redis:2"], 0, [1, 3]),
        # What the inventory names, what somebody else named as well, what has no name, and other repositories.
        ([image("sixty/redis:9"), image("sixty/redis:8", "mine/redis:8"), image(), image("sixty/nginx:1")], [], 0, []),
        ([image("redis:1"), image("other/sixty/redis:1"), image("reg.example:5000/other:1")], [], 0, []),
        ([image("reg.example:5000/sixty/api:1", "reg.example:5000/sixty/api:2")], [], 0, [1]),
    ],
)
def test_garbage(images, used, budget, gone):
    found = garbage(images, used, WANTED, budget)
    assert [int(entry.tags[0].rpartition(":")[2]) for entry in found] == gone


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("redis", "redis"),
        ("redis:8", "redis"),
        ("reg.example:5000/sixty/api:1", "reg.example:5000/sixty/api"),
        ("reg.example:5000/api", "reg.example:5000/api"),
    ],
)
def test_repository(reference, name):
    assert repository(reference) == name
