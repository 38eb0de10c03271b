# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix: a row for each fault and service, kept from run to run in build/reports/faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIER = ("nginx", "api", "redis", "postgres")
WATCHERS = ("memory_monitor", "prometheus", "alertmanager", "redis_exporter", "postgres_exporter", "nginx_exporter")
SERVICES = (*TIER, *WATCHERS)

# Fault -> what it is done to.
FAULTS: dict[str, tuple[str, ...]] = {
    "archive truncated": ("images on their way", "packed release", "backup"),
    "SSH lost in a deploy": ("first deploy", "before the switch", "in the watch"),
    "two operators at once": ("second deploy", "lock of a dead deploy"),
    "PostgreSQL killed in writes": ("postgres",),
    "out of memory": SERVICES,
    "network cut": SERVICES,
    "engine restarted": ("host",),
    "disk full": ("host",),
    "host rebooted": ("in order", "power cut"),
}

# Seconds in which the site has to serve again once the cause is gone, or since the fault where that mends itself. They
# are sums of what is configured, not of what was measured: docs/reliability.md has the arithmetic.
BOUNDS: dict[str, float] = {
    "archive truncated": 0,
    "SSH lost in a deploy": 0,
    "two operators at once": 0,
    "PostgreSQL killed in writes": 30,
    "out of memory": 30,
    "network cut": 30,
    "engine restarted": 30,
    "disk full": 90,
    "host rebooted": 180,
}
COLUMNS = ("fault", "service", "outage_s", "lost_acknowledged", "recovered_by", "told_how")


class Matrix:
    """summary.json and summary.md in a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.json, self.text = directory / "summary.json", directory / "summary.md"

    def rows(self) -> list[dict[str, Any]]:
        return json.loads(self.json.read_text()) if self.json.exists() else []

    def add(self, row: dict[str, Any]) -> None:
        missing = [name for name in COLUMNS if row.get(name) in (None, "")]
        assert not missing, f"the row of {row.get('fault')}, {row.get('service')} does not say {', '.join(missing)}"
        assert row["service"] in FAULTS[row["fault"]], row
        others = [one for one in self.rows() if (one["fault"], one["service"]) != (row["fault"], row["service"])]
        order = [(fault, service) for fault, services in FAULTS.items() for service in services]
        found = sorted([*others, row], key=lambda one: order.index((one["fault"], one["service"])))
        self.json.write_text(json.dumps(found, indent=2) + "\n")
        self.text.write_text(table(found))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; what is not among the rows was not run."""
    there = {(row["fault"], row["service"]): row for row in rows}
    lines = [
        "| Fault | Of | Site away | Acknowledged and lost | Comes back by | Told by |",
        "|---|---|---|---|---|---|",
    ]
    for fault, services in FAULTS.items():
        for service in services:
            row = there.get((fault, service))
            if row is None:
                lines.append(f"| {fault} | {service} | not run | | | |")
                continue
            lost = f"{row['lost_acknowledged']} of {row['acknowledged']}"
            lines.append(f"| {fault} | {service} | {away(row)} | {lost} | {row['recovered_by']} | {row['told_how']} |")
    return "\n".join(lines) + "\n"


def away(row: dict[str, Any]) -> str:
    """Seconds, and how many of them after a cause that somebody had to take away."""
    if not row["outage_s"]:
        return "0"
    held = row.get("held_s", 0)
    return f"{row['outage_s']} s" + (f", {row['back_s']} s of them after the cause was gone" if held else "")
