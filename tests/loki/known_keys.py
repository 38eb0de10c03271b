# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration against a list of all keys that a program knows: lines of path, type and perhaps default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SIZE = re.compile(r"\d+(\.\d+)?(B|[KMGT]i?B?)?")
DURATION = re.compile(r"0|(\d+(\.\d+)?(ns|us|ms|s|m|h|d|w|y))+|\d+")


class Known(NamedTuple):
    type: str
    default: str


def read(path: Path) -> tuple[str, dict[str, Known]]:
    """The version that the list is of, and path -> type and default ("-" where there is none)."""
    head, *lines = path.read_text().splitlines()
    keys = (line.split(" ", 2) for line in lines if not line.startswith("#"))
    return head.split(":")[0].split(" ")[-1], {name: Known(kind, (rest or ["-"])[0]) for name, kind, *rest in keys}


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of each setting; items of a list of mappings share the path "name[]"."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for item in node:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, node


def fits(value: Any, kind: str) -> bool:
    """Whether a value of YAML is of a documented type."""
    text = str(value)
    if kind == "any":
        return True
    if kind.startswith(("list", "multiple", "space_delimited")):
        return isinstance(value, list) or (kind[0] != "l" and isinstance(value, str))
    if kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, (bool, list)):
        return False
    if kind in ("int", "integer", "size"):
        return SIZE.fullmatch(text) is not None
    if kind in ("float", "double"):
        return isinstance(value, (int, float))
    if kind in ("duration", "time"):
        return DURATION.fullmatch(text) is not None
    return True


def problems(config: Any, known: dict[str, Known]) -> list[str]:
    """What is wrong with a configuration, one line for each setting."""
    found = []
    for path, value in leaves(config):
        if path not in known:
            found.append(f"{path}: unknown")
        elif not fits(value, known[path].type):
            found.append(f"{path}: {value!r} is no {known[path].type}")
    return found
