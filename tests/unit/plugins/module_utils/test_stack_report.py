# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents about memory and health out of what engine, kernel, Memory Monitor and Prometheus say."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import stack_report

MB = 1024**2
BUDGET = {
    "budget": {"total": "2048M"},
    "thresholds": {
        "warning_percent": 80,
        "container_percent": 85,
        "critical_percent": 90,
        "total_alert": "1638M",
        "total_critical": "1843M",
    },
    "services": {"redis": {"limit": "64M", "usage_target": "56M", "alert": "54M"}, "grafana": {"limit": "128M"}},
}


def container(service="redis", unreclaimable=32, limit=64, **more):
    """An entry of container_memory_info; sizes in MB."""
    kernel = {"usage": (unreclaimable + 4) * MB, "unreclaimable": unreclaimable * MB, "limit": limit * MB}
    return {
        "id": "0a" * 32,
        "name": f"sixty-{service}",
        "service": service,
        "release": "",
        "running": True,
        "health": "healthy",
        "probe": "",
        "started": "2026-11-25T00:00:00.123456789Z",
        "restarts": 0,
        "kernel": {**kernel, "working_set": kernel["usage"], "peak": kernel["usage"], "oom_kills": 0},
        "differences": [],
        **more,
    }


def stopped(service, **more):
    return container(service, running=False, health="none", kernel=None, **more)


STATUS = {
    "stack": "sixty",
    "phase": "overlap",
    "host": {"memory_available": 1},
    "total": {"usage": 9, "unreclaimable": 8, "limit": 16, "percent": 50.0, "level": "ok"},
    "services": [
        {
            **{"name": "sixty-redis-0a0a", "id": f"/sixty.slice/sixty-redis.slice/docker-{'0a' * 32}.scope"},
            **{"service": "redis", "release": "", "stack": "sixty", "running": True},
            **{"usage": 40, "working_set": 38, "unreclaimable": 36, "limit": 64, "peak": 50, "usage_target": 56},
            **{"alert": 54, "percent": 56.3, "level": "ok", "restarts": 1, "oom_kills": 2},
            **{"growth_bytes_per_hour": 7, "growth_confidence": 0.5, "leak": True, "exhaustion_seconds": 60},
        },
        {"name": "sixty-grafana", "id": "", "service": "grafana", "stack": "sixty", "running": False},
        {
            "name": "other-redis",
            "id": f"/other/redis/{'0b' * 32}",
            "service": "redis",
            "stack": "other",
            "running": True,
        },
    ],
}


def answer(status=200, body="", error=""):
    return {"status": status, "release": "r1", "seconds": 0.01, "error": error, "body": body}


def report(*containers, status=None, parent=None, problem=""):
    return stack_report.resources(containers, parent or {}, BUDGET, status, problem)


# -- memory


@pytest.mark.parametrize(
    ("share", "level"),
    [(0, "ok"), (79.9, "ok"), (80, "warning"), (84.9, "warning"), (85, "alert"), (89.9, "alert"), (90, "critical")],
)
def test_the_documented_thresholds(share, level):
    assert stack_report.level(share, BUDGET["thresholds"]) == level


@pytest.mark.parametrize(
    ("used", "limit", "level"),
    [
        *((1637, 2048, "ok"), (1638, 2048, "warning"), (1842, 2048, "alert"), (1843, 2048, "critical")),
        # On a 2 GB host the kernel enforces less than the budget.
        *((1500, 1650, "critical"), (1340, 1650, "warning"), (1300, 1650, "ok"), (1700, 0, "warning")),
    ],
)
def test_the_thresholds_of_all_together(used, limit, level):
    assert stack_report.total_level(used * MB, limit * MB, BUDGET["thresholds"]) == level


@pytest.mark.parametrize(
    ("path", "found"),
    [(f"/sixty/redis/{'0a' * 32}", "0a" * 32), (f"/x.slice/docker-{'0b' * 32}.scope", "0b" * 32), ("/init.scope", "")],
)
def test_the_id_in_a_cgroups_path(path, found):
    assert stack_report.container_id(path) == found


def test_a_container_against_its_budget():
    (row,) = report(container())["containers"]
    assert row == {
        **{"name": "sixty-redis", "service": "redis", "release": "", "running": True, "restarts": 0, "oom_kills": 0},
        **{"usage": 36 * MB, "working_set": 36 * MB, "unreclaimable": 32 * MB, "limit": 64 * MB, "peak": 36 * MB},
        **{"usage_target": 56 * MB, "alert": 54 * MB, "percent": 50.0, "level": "ok", "differences": []},
        **{"growth_bytes_per_hour": None, "growth_confidence": None, "leak": None, "exhaustion_seconds": None},
    }


def test_page_cache_fills_nothing():
    """In use is over the limit's threshold, what cannot be taken back is not."""
    kernel = {**container()["kernel"], "usage": 63 * MB}
    assert report(container(kernel=kernel))["containers"][0]["level"] == "ok"


def test_stopped_and_unknown_containers_and_those_without_a_limit():
    rows = report(stopped("redis"), container("stranger"), container("nolimit", limit=0))["containers"]
    assert [(row["name"], row["percent"], row["usage_target"]) for row in rows] == [
        ("sixty-nolimit", 0.0, 0),
        ("sixty-redis", 0.0, 56 * MB),
        ("sixty-stranger", 50.0, 0),
    ]


def test_differences_are_sentences():
    difference = {"setting": "memory", "wanted": 1, "found": 2, "by": "kernel"}
    (row,) = report(container(differences=[difference]))["containers"]
    assert row["differences"] == ["sixty-redis: memory should be 1, the kernel has 2"]


def test_all_together_is_the_parents():
    parent = {"usage": 1900 * MB, "unreclaimable": 1850 * MB, "limit": 1900 * MB}
    total = report(container(), parent=parent)["total"]
    assert total == {"name": "all together", **parent, "percent": 97.4, "level": "critical"}


def test_all_together_without_a_parent_is_the_sum_of_the_budget():
    total = report(container(), container("api", 300, 384))["total"]
    assert (total["unreclaimable"], total["usage"], total["limit"]) == (332 * MB, 340 * MB, 2048 * MB)


def test_the_monitor_adds_what_it_has_watched():
    document = report(container(), status=STATUS)
    (row,) = document["containers"]
    assert [row[name] for name in stack_report.WATCHED] == [7, 0.5, True, 60]
    assert row["unreclaimable"] == 32 * MB, "the kernel's figure of now"
    assert (document["phase"], document["memory"]) == ("overlap", {"memory_available": 1})
    assert document["monitor"] == {"answers": True, "problem": ""}


def test_without_the_monitor_it_says_so():
    document = report(container(), problem="refused")
    assert document["monitor"] == {"answers": False, "problem": "refused"}
    assert (document["phase"], document["memory"]) == (None, None)


def test_by_the_monitor_alone_it_is_the_same_document():
    watched, looked = stack_report.watched_resources(STATUS, BUDGET), report(container(), status=STATUS)
    assert watched.keys() == looked.keys()
    (row,) = watched["containers"]
    assert row.keys() == looked["containers"][0].keys()
    assert (row["name"], row["unreclaimable"], row["oom_kills"], row["leak"]) == ("sixty-redis-0a0a", 36, 2, True)
    assert watched["total"] == {"name": "all together", **STATUS["total"]}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (answer(0, error="Connection refused"), "Connection refused"),
        (answer(503), "it answers 503"),
        (answer(body="<html>"), "its answer is no status: "),
        (answer(body="[1]"), "its answer is no status: "),
        (answer(body='{"services": []}'), "its answer is no status: 'stack'"),
        (answer(body='{"services": 1, "stack": "x"}'), "its answer is no status: "),
    ],
)
def test_why_there_is_no_status(given, says):
    with pytest.raises(ValueError) as caught:
        stack_report.parse_status(given)
    assert str(caught.value).startswith(says)


def test_a_status():
    assert stack_report.parse_status(answer(body=json.dumps(STATUS))) == STATUS


# -- health


def healthy(*containers, requests=(), answers=(), alerts=(), optional=(), services=("redis",)):
    now = 1795564800 + 90  # a minute and a half after container()'s start
    return stack_report.health(containers, services, optional, requests, answers, alerts, now)


def states(document):
    return {row["name"]: (row["state"], row["ok"]) for row in document["services"]}


def test_all_is_well():
    document = healthy(container(), requests=[{"name": "page", "url": "u"}], answers=[answer()])
    assert document["healthy"]
    (row,) = document["services"]
    assert (row["state"], row["ok"], row["seconds"], row["oom_kills"]) == ("running", True, 90, 0)
    assert document["requests"] == [
        {"name": "page", "url": "u", "ok": True, "status": 200, "release": "r1", "seconds": 0.01, "error": ""}
    ]


@pytest.mark.parametrize(
    ("given", "state", "is_well"),
    [
        (container(health="starting"), "running", True),
        (container(health="none"), "running", True),
        (container(health="unhealthy", probe="refused"), "running", False),
        (stopped("redis"), "stopped", False),
    ],
)
def test_states_of_a_container(given, state, is_well):
    document = healthy(given)
    assert states(document) == {"sixty-redis": (state, is_well)}
    assert document["healthy"] is is_well


def test_earlier_releases_are_kept_stopped_while_one_runs():
    old, new = stopped("api", name="sixty-api-r1"), container("api", name="sixty-api-r2")
    document = healthy(old, new, services=["api"])
    assert states(document) == {"sixty-api-r1": ("kept", True), "sixty-api-r2": ("running", True)}
    assert document["healthy"]
    alone = healthy(old, services=["api"])
    assert states(alone) == {"sixty-api-r1": ("kept", True), "api": ("absent", False)}
    assert not alone["healthy"]


def test_a_service_without_a_container_is_missed_unless_it_is_optional():
    document = healthy(container(), services=["redis", "grafana", "loki"], optional=["loki"])
    assert states(document) == {
        "grafana": ("absent", False),
        "loki": ("left out", True),
        "sixty-redis": ("running", True),
    }
    assert not document["healthy"]


def test_a_request_that_is_not_answered():
    document = healthy(container(), requests=[{"name": "page", "url": "u"}], answers=[answer(503)])
    assert not document["healthy"] and not document["requests"][0]["ok"]


def test_a_request_to_a_service_that_has_no_container_is_not_made():
    page, redis, grafana = {"name": "page"}, {"name": "r", "service": "redis"}, {"name": "g", "service": "grafana"}
    assert stack_report.wanted_requests([page, redis, grafana], [container()]) == [page, redis]


def test_alerts_are_shown_and_not_judged():
    assert healthy(container(), alerts=[{"name": "A"}])["healthy"]
    assert healthy(container(), alerts=None)["alerts"] is None


@pytest.mark.parametrize(
    ("started", "seconds"),
    [
        ("2026-11-25T00:00:00.5Z", 90),
        ("2027-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_time_since_a_start(started, seconds):
    assert stack_report.seconds_since(started, 1795564800 + 90.9) == seconds


def alert(name, state="firing", **labels):
    return {"labels": {"alertname": name, **labels}, "state": state, "annotations": {"summary": f"{name}!"}}


def test_alerts_that_fire():
    alerts = [alert("Watchdog"), alert("Leak", severity="warning"), alert("Later", state="pending")]
    alerts.append(alert("Down", severity="critical", service="api"))
    found = stack_report.firing(answer(body=json.dumps({"data": {"alerts": alerts}})))
    assert found == [
        {"name": "Down", "severity": "critical", "service": "api", "summary": "Down!"},
        {"name": "Leak", "severity": "warning", "service": "", "summary": "Leak!"},
    ]


@pytest.mark.parametrize("given", [answer(503), answer(body="x"), answer(body="{}"), answer(body='{"data": []}')])
def test_alerts_of_a_prometheus_that_does_not_say(given):
    assert stack_report.firing(given) is None
