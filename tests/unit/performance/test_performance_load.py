# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's load test: what is asked when, against a server that answers, refuses, stalls; and the memory beside it."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "performance"))

import api_load  # noqa: E402
import container_memory  # noqa: E402
import verdicts  # noqa: E402
from api_load import Sample  # noqa: E402

MB = verdicts.MB


class Api(http.server.BaseHTTPRequestHandler):
    """Deals only, with what a test wants of it."""

    protocol_version = "HTTP/1.1"
    status, stall, items, seen = 200, 0.0, [], []

    def answer(self, status, body=None):
        content = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle_any(self):
        kind = type(self)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind.seen.append((self.command, self.path))
        if self.command == "POST":
            return self.answer(201, {"id": 7})
        if self.command == "DELETE":
            return self.answer(204)
        if "q=Load" in self.path:
            return self.answer(200, {"items": kind.items})
        time.sleep(kind.stall)
        return self.answer(kind.status, {})

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def api(monkeypatch):
    """The handler and its address; nothing waits for a rate limit that this server does not have."""
    kind = type("OneApi", (Api,), {"seen": [], "items": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(api_load, "COOL_DOWN", 0)
    kind.url = f"http://127.0.0.1:{server.server_port}"
    yield kind
    server.shutdown()
    server.server_close()


def test_the_schedule_is_even_and_keeps_the_shares():
    due = list(api_load.schedule(15, 4))
    assert [at for at, *_rest in due] == pytest.approx([n / 15 for n in range(60)])
    shares = {name: share * 4 for name, (share, *_rest) in api_load.MIX.items()}
    assert Counter(name for _at, name, *_rest in due) == shares
    # In every second, not only in the end.
    assert Counter(name for at, name, *_rest in due if at < 1) == {n: share // 4 for n, share in shares.items()}


def test_paths_are_taken_in_turn():
    paths = [path for _at, name, _method, path in api_load.schedule(15, 4) if name == "deals"]
    assert len(set(paths)) == 10


def test_a_run_makes_one_deal_changes_it_and_deletes_it(api):
    samples = api_load.run(api.url, 60, 1, warm_up=0.25)
    assert len(samples) == 60 and {sample.status for sample in samples} == {200}
    assert min(sample.at for sample in samples) == pytest.approx(0.25)
    methods = Counter(method for method, _path in api.seen)
    assert (methods["POST"], methods["DELETE"]) == (1, 1)
    assert api.seen[-1] == ("DELETE", "/api/deals/7")
    assert {path for method, path in api.seen if method == "PATCH"} == {"/api/deals/7"}


def test_the_deal_of_a_run_that_was_killed_is_removed_and_no_other(api):
    api.items = [{"id": 3, "name": api_load.DEAL["name"]}, {"id": 4, "name": "Load balancers"}]
    api_load.run(api.url, 15, 0.2, warm_up=0)
    assert [path for method, path in api.seen if method == "DELETE"] == ["/api/deals/3", "/api/deals/7"]


def test_a_stall_is_in_the_times_of_all_that_were_due_meanwhile(api, monkeypatch):
    monkeypatch.setattr(api_load, "WORKERS", 1)
    api.stall = 0.1
    samples = api_load.run(api.url, 20, 0.5, warm_up=0)
    # One at a time, each 100 ms, due every 50 ms: the last one has waited for all before it.
    assert samples[0].ms < 200 < 450 < samples[-1].ms


def test_the_deal_is_deleted_when_the_run_is_stopped(api, monkeypatch):
    def stopped(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(api_load, "schedule", stopped)
    with pytest.raises(KeyboardInterrupt):
        api_load.run(api.url, 15, 1, warm_up=0)
    assert api.seen[-1] == ("DELETE", "/api/deals/7")


def test_no_answer_is_an_error_and_no_time(monkeypatch):
    figures = api_load.summary([Sample("deals", 0, 12, 200), Sample("deals", 1, 10_000, 0)], 2)["all"]
    assert (figures["errors"], figures["max"], figures["per_second"]) == (1, 12, 0.5)


def test_what_the_rate_limit_refused_is_neither_an_error_nor_a_time():
    samples = [Sample("deals", n, 10 + n, 200) for n in range(8)] + [Sample("summary", 8, 1, 429)] * 2
    figures = api_load.summary(samples, 10)
    assert {key: figures["all"][key] for key in ("requests", "refused", "errors", "p50", "p99", "max")} == {
        "requests": 10,
        "refused": 2,
        "errors": 0,
        "p50": 13,
        "p99": 17,
        "max": 17,
    }
    assert figures["all"]["statuses"] == {"200": 8, "429": 2}
    assert figures["endpoints"]["summary"]["p95"] is None and figures["endpoints"]["pipeline"]["requests"] == 0


def test_rows_of_the_api():
    wanted = verdicts.options({"PERFORMANCE_THRESHOLD_API_P95": "50"})
    samples = [Sample("deals", n, 10, 200) for n in range(90)] + [Sample("deals", 90, 90, 200)] * 10
    rows = {
        row.metric: row for row in api_load.rows(api_load.summary([*samples, Sample("deals", 91, 5, 500)], 60), wanted)
    }
    assert (rows["API: p95"].measured, rows["API: p95"].verdict) == (90, "MISSED")
    assert rows["API: p99"].verdict == "ok"
    assert (rows["API: errors"].measured, rows["API: errors"].verdict) == (1, "MISSED")


@pytest.mark.parametrize("samples", [[], [Sample("deals", 0, 1, 429)], [Sample("deals", 0, 1, 503)]])
def test_nothing_to_judge_is_not_a_pass(samples):
    with pytest.raises(verdicts.Refused, match="nothing to judge"):
        api_load.rows(api_load.summary(samples, 60), verdicts.options({}))


def test_times_over_the_run():
    samples = [Sample("deals", n, 10 if n < 50 else 30, 200) for n in range(100)]
    over = api_load.over_time([*samples, Sample("deals", 10, 9999, 500)], buckets=10)
    assert set(over) == {"p50", "p95", "p99"}
    assert (over["p50"][0][1], over["p50"][-1][1]) == (10, 30)
    assert api_load.over_time([]) == {}


def service(name, unreclaimable, **more):
    facts = {"stack": "sixty", "running": True, "limit": 384 * MB, "alert": 326 * MB, "usage_target": 320 * MB}
    return {"name": name, "unreclaimable": unreclaimable * MB, "restarts": 0, "oom_kills": 0, **facts, **more}


def test_only_running_containers_of_the_stack_that_have_a_limit_count():
    answer = {
        "stack": "sixty",
        "services": [
            service("api", 40),
            service("stranger", 40, stack=""),
            service("gone", 0, running=False),
            service("free", 40, limit=0),
        ],
    }
    assert container_memory.from_monitor(answer) == {
        "api": {"used": 40 * MB, "limit": 384 * MB, "alert": 326 * MB, "target": 320 * MB, "restarts": 0, "kills": 0}
    }


@pytest.mark.parametrize("name", ["total_inactive_file", "inactive_file"])
def test_the_engine_counts_without_the_cache_that_can_go(name):
    stats = {"memory_stats": {"usage": 60 * MB, "limit": 100 * MB, "stats": {name: 20 * MB}}}
    look = container_memory.from_engine("redis", stats, restarts=1)
    assert look["redis"]["used"] == 40 * MB and look["redis"]["alert"] == 85 * MB


def looks(*figures):
    """(used, restarts, kills) of the API, second by second."""
    return [
        (
            float(n),
            container_memory.from_monitor({"stack": "sixty", "services": [service("api", u, restarts=r, oom_kills=k)]}),
        )
        for n, (u, r, k) in enumerate(figures)
    ]


def test_peak_against_the_budget():
    told = container_memory.summary(looks((40, 2, 1), (90, 2, 1), (50, 2, 1)))
    assert (told["api"]["first_mb"], told["api"]["peak_mb"], told["api"]["restarts"], told["api"]["kills"]) == (
        40,
        90,
        0,
        0,
    )
    assert [row.verdict for row in container_memory.rows(told)] == ["ok", "ok"]


@pytest.mark.parametrize(("peak", "verdict"), [(319, "ok"), (321, "goal missed"), (326, "MISSED")])
def test_the_alert_threshold_decides_and_the_target_is_the_goal(peak, verdict):
    assert container_memory.rows(container_memory.summary(looks((peak, 0, 0))))[0].verdict == verdict


@pytest.mark.parametrize("after", [(40, 3, 1), (40, 2, 2)])
def test_a_restart_or_a_kill_under_load_is_a_miss(after):
    row = container_memory.rows(container_memory.summary(looks((40, 2, 1), after)))[-1]
    assert (row.measured, row.verdict) == (1, "MISSED")


def test_percent_of_the_limit_over_time():
    assert container_memory.over_time(looks((96, 0, 0), (192, 0, 0))) == {"api": [(0.0, 25.0), (1.0, 50.0)]}


def test_a_look_that_fails_is_told_and_the_others_go_on():
    answers = iter([{"api": {}}, requests.ConnectionError("gone")])

    def look():
        answer = next(answers, {"api": {}})
        if isinstance(answer, Exception):
            raise answer
        return answer

    with container_memory.Recorder(look, interval=0.01) as recorder:
        time.sleep(0.1)
    assert len(recorder.looks) > 2
    assert recorder.errors == ["ConnectionError: gone"]


def test_no_monitor_and_no_engine_is_refused_with_what_to_do():
    with pytest.raises(verdicts.Refused, match=r"(?s)127\.0\.0\.1:9 does not answer .*MEMORY_MONITOR_URL"):
        container_memory.source("http://127.0.0.1:9", "http://sales.example.com")
