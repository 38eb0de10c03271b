#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watching of a deployed stack takes: memory of each watcher over a window, from Prometheus itself.

Usage: run.py [--prometheus http://127.0.0.1:9090] [--window 1h]
Deploy, wait for the window, run it. It only reads.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import urllib.parse
import urllib.request

WATCHERS = '{service=~"memory_monitor|prometheus|alertmanager|grafana|loki|fluent_bit|.*_exporter"}'
MB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--window", default="1h")
    options = parser.parse_args()

    def ask(query: str) -> dict[str, float]:
        """The instant vector of a query, by service or job."""
        url = f"{options.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        labels = [entry["metric"] for entry in found]
        names = [label.get("service") or label.get("job", "") for label in labels]
        return {name: float(entry["value"][1]) for name, entry in zip(names, found)}

    def over(function: str, metric: str) -> dict[str, float]:
        # Of the containers that are there now; one that was replaced meanwhile is too short for a trend.
        return ask(
            f"max by (service) ({function}({metric}{WATCHERS}[{options.window}]) and on (id) {metric}{WATCHERS})"
        )

    held = over("max_over_time", "container_memory_unreclaimable_bytes")
    if not held:
        print(f"Prometheus at {options.prometheus} knows of no watcher; deploy first.", file=sys.stderr)
        return 1
    rss, usage = over("max_over_time", "container_memory_rss"), over("max_over_time", "container_memory_usage_bytes")
    limit = ask(f"max by (service) (container_spec_memory_limit_bytes{WATCHERS})")
    trend, kills = over("deriv", "container_memory_rss"), over("increase", "container_oom_events_total")
    scrapes = max(over("count_over_time", "container_memory_rss").values())

    print(
        f"{'most in ' + options.window:18} {'rss':>8} {'not freed':>10} {'usage':>8} {'limit':>6} {'of it':>6} ", end=""
    )
    print("rss an hour  OOM kills   (MB)")
    for name in sorted(held, key=lambda name: -held[name] / limit[name]):
        print(
            f"{name:18} {rss[name] / MB:8.1f} {held[name] / MB:10.1f} {usage[name] / MB:8.1f} {limit[name] / MB:6.0f} "
            f"{held[name] / limit[name]:6.2f} {trend.get(name, math.nan) * 3600 / MB:+11.2f} {kills.get(name, 0):10.0f}"
        )
    print(f"together {sum(held.values()) / MB:.1f} of {sum(limit.values()) / MB:.0f} MB; {scrapes:.0f} scrapes")
    slow = ask(f'max by (job) (quantile_over_time(0.99, scrape_duration_seconds{{job!="api"}}[{options.window}]))')
    print("p99 of a scrape in ms: " + ", ".join(f"{job} {seconds * 1000:.1f}" for job, seconds in sorted(slow.items())))
    print(f"series: {max(ask('prometheus_tsdb_head_series').values()):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
