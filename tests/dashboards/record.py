"""What the stack's Prometheus scrapes: each job's metrics and their labels, without values.

`python tests/dashboards/record.py http://127.0.0.1:9090` writes metrics.json beside it, from a running stack.
Dashboards may name nothing else. A job that this Prometheus does not scrape stays as it was recorded.
"""

from __future__ import annotations

import json
import pathlib
import sys
import urllib.parse
import urllib.request
from typing import Any

RECORD = pathlib.Path(__file__).with_name("metrics.json")
# Of Prometheus itself and of no job.
OWN = "prometheus_alerts"


def ask(prometheus: str, path: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus's API; raises urllib.error.URLError."""
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)["data"]


def record(prometheus: str) -> dict[str, dict[str, list[str]]]:
    """Job -> metric -> labels."""
    found: dict[str, dict[str, set[str]]] = {}
    jobs = ask(prometheus, "label/job/values")
    for selector, name in [*((f'{{job="{job}"}}', job) for job in jobs), ("ALERTS", OWN)]:
        for series in ask(prometheus, "series", **{"match[]": selector}):
            metric = series.pop("__name__")
            found.setdefault(name, {}).setdefault(metric, set()).update(series)
    return {job: {metric: sorted(labels) for metric, labels in metrics.items()} for job, metrics in found.items()}


if __name__ == "__main__":
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    known.update(record(sys.argv[1]))
    RECORD.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print("\n".join(f"{job}: {len(metrics)} metrics" for job, metrics in sorted(known.items())))
