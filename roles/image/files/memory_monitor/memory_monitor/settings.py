# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The budget and what else the role lands as monitor.json."""

from __future__ import annotations

import json

FIGURES = ("limit", "reservation", "usage_target", "alert")
PERCENTS = ("warning_percent", "container_percent", "critical_percent")
TOTALS = ("total", "total_alert", "total_critical")


class Leak:
    """When growth counts as a leak; sizes in bytes, times in seconds."""

    __slots__ = ("bucket", "least_growth", "least_growth_percent", "least_window", "window")

    def __init__(self, entry):
        for name in self.__slots__:
            setattr(self, name, number(entry, name))
        if self.bucket < 1 or self.window < 12 * self.bucket:
            raise ValueError("leak.window has to hold at least twelve buckets of at least a second")


class Settings:
    """Raises ValueError, with the name of the entry that is wrong, for a text that is not such a file."""

    def __init__(self, text):
        data = json.loads(text)
        if not isinstance(data, dict) or not isinstance(data.get("stack"), str) or not data["stack"]:
            raise ValueError("stack has to name the stack")
        self.stack = data["stack"]
        self.totals = {name: number(data, name) for name in TOTALS}
        self.percents = {name: number(data, name) for name in PERCENTS}
        if not isinstance(data.get("services"), dict) or not isinstance(data.get("leak"), dict):
            raise ValueError("services and leak have to be objects")
        self.services = {
            name: {key: number(entry, key, f"services.{name}.") for key in FIGURES}
            for name, entry in data["services"].items()
        }
        # Those of which two run while a release takes over from another.
        self.colours = {name for name, entry in data["services"].items() if entry.get("colours", 1) > 1}
        self.leak = Leak(data["leak"])
        not_after = data.get("certificate_not_after")
        self.certificate_not_after = None if not_after is None else number(data, "certificate_not_after")


def number(entry, name, place=""):
    """A number that is not negative."""
    value = entry.get(name) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ValueError(f"{place}{name} has to be a number that is not negative, and is {value!r}")
    return value


def load(path):
    """Raises ValueError that names the file, also for one that cannot be read."""
    try:
        with open(path, encoding="utf-8") as handle:
            return Settings(handle.read())
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no configuration of the Memory Monitor: {error}") from error
