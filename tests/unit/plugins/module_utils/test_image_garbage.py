# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images go; see images of one repository as numbers of their age."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.image_garbage import Image, garbage

WANTED = ["sixty/redis:9"]
KNOWN = [*WANTED, "sixty/redis:8", *(f"sixty/redis:{age}" for age in (1, 2, 3)), "reg.example:5000/sixty/api:1"]


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
        # What the inventory names, what somebody else named as well, what has no name, and what the stack never had.
        ([image("sixty/redis:9"), image("sixty/redis:8", "mine/redis:8"), image(), image("sixty/redis:7")], [], 0, []),
        ([image("sixty/redis:9", "sixty/redis:8")], [], 0, []),
        ([image("reg.example:5000/sixty/api:1", "sixty/redis:1")], [], 0, [1]),
    ],
)
def test_garbage(images, used, budget, gone):
    found = garbage(images, used, WANTED, KNOWN, budget)
    assert [int(entry.tags[0].rpartition(":")[2]) for entry in found] == gone
