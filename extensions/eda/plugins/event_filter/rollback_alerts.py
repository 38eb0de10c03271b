# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from typing import Any

DOCUMENTATION = r"""
---
short_description: Events for alerts that ask for a rollback
description:
  - Makes of a list of alerts one event for each release and trigger, and drops all others. A value that is not what it
    has to be is dropped as well, so that no text of an alert reaches a template, a playbook or a log.
  - An event only says that the host is to be asked; what becomes of it is decided there.
"""

EXAMPLES = r"""
- sixty_sales.memory_optimized.alertmanager_poll:
    alertmanagers: [{host: web1, url: "http://127.0.0.1:19093"}]
  filters:
    - sixty_sales.memory_optimized.rollback_alerts:
"""

TRIGGERS = ("health", "memory", "performance", "restarts")
# As plugins/module_utils/release.py has it; ansible-rulebook imports nothing from collections.
RELEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")


def main(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Events with C(host), C(release) and C(trigger), for an event with C(host) and C(alerts).

    It raises nothing, whatever came in: an error here would end the rulebook.
    """
    host, alerts = event.get("host"), event.get("alerts")
    found = set()
    for alert in alerts if isinstance(alerts, list) else []:
        labels = alert.get("labels") if isinstance(alert, dict) else None
        if isinstance(labels, dict):
            release, trigger = labels.get("release"), labels.get("rollback_trigger")
            if isinstance(release, str) and RELEASE_ID.fullmatch(release) and trigger in TRIGGERS:
                found.add((release, trigger))
    return [
        {"host": host, "release": release, "trigger": trigger, "meta": {"hosts": host}}
        for release, trigger in sorted(found)
    ]
