# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images of earlier releases and versions are removed. Pure; sizes are bytes."""

from __future__ import annotations

import typing as t


class Image(t.NamedTuple):
    """An image of the engine; C(created) is in seconds since 1970."""

    id: str
    tags: t.Tuple[str, ...]
    size: int
    created: int


def garbage(
    images: t.Iterable[Image], used: t.Collection[str], wanted: t.Collection[str], known: t.Collection[str], budget: int
) -> t.List[Image]:
    """Images that the stack has had, that no container uses and nobody names, beyond a budget, oldest first.

    C(used) are ids; C(known) are the references of the stack's own, now and before. What has another name as well is
    somebody else's. The newest stay, since to go back to a version that is there takes no build; the first that goes
    over the budget is removed, and all that are older.
    """
    unused = [
        image
        for image in images
        if image.tags and image.id not in used and not set(image.tags) & set(wanted) and set(image.tags) <= set(known)
    ]
    unused.sort(key=lambda image: (-image.created, image.tags))
    total = 0
    for index, image in enumerate(unused):
        total += image.size
        if total > budget:
            return unused[index:][::-1]
    return []
