# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import asyncio
import http.client
import json
import logging
import urllib.parse
import urllib.request
from typing import Any

DOCUMENTATION = r"""
---
short_description: Ask Alertmanager which alerts ask for a rollback
description:
  - Asks each Alertmanager again and again for alerts with the label C(rollback_trigger) that are neither silenced nor
    inhibited, and puts them in an event with C(host) and C(alerts). Nothing listens, so nobody can send anything.
  - An Alertmanager that does not answer is told once in the log, and again when it answers.
options:
  alertmanagers:
    description:
      - A list of C(host), the inventory's name of the machine, and C(url), where its Alertmanager is reached from here,
        through an SSH tunnel as a rule.
    type: list
    required: true
  interval:
    description: Seconds between two questions.
    type: float
    default: 15
  timeout:
    description: Seconds that an answer may take.
    type: float
    default: 5
"""

EXAMPLES = r"""
- sixty_sales.memory_optimized.alertmanager_poll:
    alertmanagers:
      - host: web1
        url: http://127.0.0.1:19093
"""

LARGEST = 4 << 20
ALERTS = "/api/v2/alerts?" + urllib.parse.urlencode(
    {
        **{"active": "true", "silenced": "false", "inhibited": "false", "unprocessed": "false"},
        "filter": 'rollback_trigger!=""',
    }
)
# ansible-rulebook runs this file without a name.
logger = logging.getLogger("alertmanager_poll")


def fetch(url: str, timeout: float) -> list[Any]:
    """The alerts; OSError, ValueError or HTTPException where there is no answer that can be used."""
    # Where it listens is on this machine, and no proxy is asked for that.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url.rstrip("/") + ALERTS, timeout=timeout) as answer:
        text = answer.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"the answer is larger than {LARGEST >> 20} MB")
    alerts = json.loads(text)
    if not isinstance(alerts, list):
        raise ValueError("the answer is no list of alerts")
    return alerts


async def follow(queue: Any, host: str, url: str, interval: float, timeout: float) -> None:
    """Ask one Alertmanager for ever."""
    answers = True
    while True:
        try:
            alerts = await asyncio.to_thread(fetch, url, timeout)
            if not answers:
                logger.warning("Alertmanager of %s at %s answers again.", host, url)
            answers = True
            if alerts:
                await queue.put({"host": host, "alerts": alerts})
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            if answers:
                logger.error(
                    "Alertmanager of %s at %s gives no answer that can be used: %s. Until it does, no release of %s is "
                    "rolled back by itself.",
                    *(host, url, error, host),
                )
            answers = False
        await asyncio.sleep(interval)


def check(args: dict[str, Any]) -> tuple[list[tuple[str, str]], float, float]:
    """(host and URL of each, interval, timeout), or ValueError for arguments that cannot be used."""
    places = args.get("alertmanagers")
    usable = isinstance(places, list) and all(
        isinstance(place, dict)
        and isinstance(place.get("host"), str)
        and urllib.parse.urlsplit(str(place.get("url"))).scheme in ("http", "https")
        for place in places
    )
    if not places or not usable:
        raise ValueError(f"alertmanagers has to be a list of host and url (http://...), not {places!r}")
    interval, timeout = float(args.get("interval", 15)), float(args.get("timeout", 5))
    if interval <= 0 or timeout <= 0:
        raise ValueError(f"interval is {interval:g} and timeout is {timeout:g}; both have to be above 0")
    return [(place["host"], place["url"]) for place in places], interval, timeout


async def main(queue: Any, args: dict[str, Any]) -> None:
    places, interval, timeout = check(args)
    await asyncio.gather(*(follow(queue, host, url, interval, timeout) for host, url in places))
