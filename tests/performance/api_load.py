# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on the API at a fixed rate, and how long each answer took.

Open loop: requests begin when they are due, whether or not earlier ones were answered, and an answer's time counts
from when its request was due. A load generator that waits instead asks less of a server that stalls, and its
percentiles hide the stall."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests
import verdicts

TIMEOUT = 10
# Fewer than nginx lets one address have at a time (nginx_rate_limit_connections, 32).
WORKERS = 24
# nginx's rate limit may still be full of our own requests when the deal is to be deleted.
COOL_DOWN = 2
DEAL = {"name": "Load test of make test-performance", "company": "Load Test", "owner": "Load Test"}

# Share of the requests, method and paths, which are taken in turn, so that caches do not answer everything.
PAGES = range(1, 11)
STAGES = ("lead", "qualified", "proposal", "negotiation", "won", "lost")
MIX = {
    "deals": (5, "GET", [f"/api/deals?page={page}&page_size=20" for page in PAGES]),
    "deals, filtered": (
        4,
        "GET",
        [f"/api/deals?stage={stage}&sort=amount_cents&q=in&page={page}" for stage in STAGES for page in (1, 2)],
    ),
    "summary": (2, "GET", ["/api/summary"]),
    "revenue": (2, "GET", ["/api/revenue?months=12"]),
    "pipeline": (1, "GET", ["/api/pipeline"]),
    # A write makes the cached answers of all reads stale.
    "change a deal": (1, "PATCH", ["/api/deals/{deal}"]),
}


@dataclass(frozen=True)
class Sample:
    endpoint: str
    at: float  # seconds since the start, when the request was due
    ms: float
    status: int  # 0: no answer


def schedule(rate: int, seconds: float) -> Iterator[tuple[float, str, str, str]]:
    """When what is due: (seconds, endpoint, method, path), spread evenly."""
    total = sum(share for share, _method, _paths in MIX.values())
    credit = dict.fromkeys(MIX, 0.0)
    paths = {name: itertools.cycle(paths) for name, (_share, _method, paths) in MIX.items()}
    for number in range(int(rate * seconds)):
        # The endpoint that is furthest behind its share is next.
        for name, (share, _method, _paths) in MIX.items():
            credit[name] += share / total
        name = max(credit, key=credit.__getitem__)
        credit[name] -= 1
        yield number / rate, name, MIX[name][1], next(paths[name])


def run(url: str, rate: int, seconds: float, warm_up: float) -> list[Sample]:
    """The samples after the warm-up. Makes one deal, changes it again and again, and deletes it in the end."""
    local, start = threading.local(), 0.0

    def one(at: float, name: str, method: str, path: str) -> Sample:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        body = {"amount_cents": int(at * 1000)} if method == "PATCH" else None
        try:
            answer = local.session.request(method, url + path, json=body, timeout=TIMEOUT)
            status = answer.status_code
        except requests.RequestException:
            status = 0
        return Sample(name, at, (time.monotonic() - start - at) * 1000, status)

    with requests.Session() as session:
        _remove_leftovers(session, url)
        deal = _expect(session.post(f"{url}/api/deals", json=DEAL, timeout=TIMEOUT), 201).json()["id"]
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                start = time.monotonic()
                pending = []
                for at, name, method, path in schedule(rate, warm_up + seconds):
                    time.sleep(max(0.0, start + at - time.monotonic()))
                    pending.append(pool.submit(one, at, name, method, path.format(deal=deal)))
                samples = [future.result() for future in pending]
        finally:
            time.sleep(COOL_DOWN)
            _expect(session.delete(f"{url}/api/deals/{deal}", timeout=TIMEOUT), 204)
    return [sample for sample in samples if sample.at >= warm_up]


def _remove_leftovers(session: requests.Session, url: str) -> None:
    """A run that was killed leaves its deal behind."""
    found = _expect(session.get(f"{url}/api/deals", params={"q": DEAL["name"]}, timeout=TIMEOUT), 200).json()["items"]
    for deal in found:
        if deal["name"] == DEAL["name"]:
            _expect(session.delete(f"{url}/api/deals/{deal['id']}", timeout=TIMEOUT), 204)


def _expect(answer: requests.Response, status: int) -> requests.Response:
    if answer.status_code != status:
        raise verdicts.Refused(
            f"{answer.request.method} {answer.url} answered {answer.status_code} instead of {status}:"
            f" {answer.text[:300]}\nAt most one deal named '{DEAL['name']}' is left; the next run removes it."
            " Is the stack well: make check-health"
        )
    return answer


def summary(samples: Sequence[Sample], seconds: float) -> dict:
    """Figures of all answers and of each endpoint. What nginx refused for its rate (429) never reached the API."""

    def figures(chosen: Sequence[Sample]) -> dict:
        answered = [sample for sample in chosen if sample.status != 429]
        good = [sample.ms for sample in answered if 200 <= sample.status < 300]
        return {
            "requests": len(chosen),
            "refused": len(chosen) - len(answered),
            "errors": len(answered) - len(good),
            "statuses": {str(status): count for status, count in sorted(Counter(s.status for s in chosen).items())},
            "per_second": round(len(good) / seconds, 2),
            # A time for an error or a timeout is no time of the API, it is counted above.
            **{f"p{p}": round(verdicts.percentile(good, p), 1) if good else None for p in (50, 95, 99)},
            "max": round(max(good), 1) if good else None,
        }

    return {
        "all": figures(samples),
        "endpoints": {name: figures([sample for sample in samples if sample.endpoint == name]) for name in MIX},
    }


def over_time(samples: Sequence[Sample], buckets: int = 12) -> dict[str, list[tuple[float, float]]]:
    """p50, p95 and p99 for each part of the run, for the chart."""
    good = [sample for sample in samples if 200 <= sample.status < 300]
    if not good:
        return {}
    first, last = min(s.at for s in good), max(s.at for s in good)
    width = max((last - first) / buckets, 1.0)
    parts: dict[float, list[float]] = {}
    for sample in good:
        middle = round((int((sample.at - first) / width) + 0.5) * width, 1)
        parts.setdefault(middle, []).append(sample.ms)
    return {
        f"p{p}": [(middle, verdicts.percentile(times, p)) for middle, times in sorted(parts.items())]
        for p in (50, 95, 99)
    }


def rows(figures: dict, wanted: verdicts.Options) -> list[verdicts.Row]:
    everything = figures["all"]
    if not everything["requests"] or everything["p95"] is None:
        raise verdicts.Refused(
            f"None of {everything['requests']:,} requests to {wanted.url}/api/ succeeded: {everything['statuses']}"
            " (0: no answer, 429: refused by nginx's rate limit). There is nothing to judge.\n"
            "Is the stack well: make check-health"
        )
    return [
        verdicts.Row("API: p50", everything["p50"], "ms"),
        verdicts.Row("API: p95", everything["p95"], "ms", "<=", wanted.api_p95, 100),
        verdicts.Row("API: p99", everything["p99"], "ms", "<=", wanted.api_p99, 250),
        verdicts.Row("API: errors", everything["errors"], "", "<=", 0),
        verdicts.Row("API: answers per second", everything["per_second"], "", ">="),
        verdicts.Row("API: refused by the rate limit", everything["refused"]),
    ]
