# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents as a person reads them."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import report_text

MB = 1024**2
ROW = {
    **{"name": "sixty-redis", "usage": 40 * MB, "unreclaimable": 32 * MB, "limit": 64 * MB, "usage_target": 56 * MB},
    **{"percent": 50.0, "level": "ok", "restarts": 1, "oom_kills": 0, "differences": [], "running": True},
    **{"growth_bytes_per_hour": 1.5 * MB, "growth_confidence": 0.99, "leak": False, "exhaustion_seconds": None},
}
FULL = {**ROW, "name": "sixty-nginx", "percent": 91.0, "level": "critical", "oom_kills": 2, "leak": True}
MEMORY = {
    "containers": [ROW, {**FULL, "exhaustion_seconds": 7300}],
    "total": {
        **{"name": "all together", "usage": 80 * MB, "unreclaimable": 64 * MB, "limit": 2048 * MB},
        **{"percent": 3.1, "level": "ok"},
    },
    "thresholds": {"warning_percent": 80, "container_percent": 85, "critical_percent": 90},
    "memory": {"memory_total": 2048 * MB, "memory_available": 1024 * MB, "oom_kills": 3},
    "monitor": {"answers": True, "problem": ""},
}
SERVICE = {
    **{"name": "sixty-redis", "state": "running", "ok": True, "health": "healthy", "probe": "", "seconds": 90},
    **{"restarts": 0, "oom_kills": 0},
}
REQUEST = {"name": "page", "status": 200, "ok": True, "release": "r1", "seconds": 0.0123, "error": ""}
HEALTH = {"services": [SERVICE], "requests": [REQUEST], "alerts": [], "healthy": True}


def marked(text, level):
    """A paint that can be read."""
    return f"<{level}>{text}</>" if level else text


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, "[----------]"),
        (50, "[#####-----]"),
        (100, "[##########]"),
        (250, "[##########]"),
        (-1, "[----------]"),
    ],
)
def test_a_bar(share, expected):
    assert report_text.bar(share, 10) == expected


def test_marks_show_where_nothing_is_filled():
    assert report_text.bar(30, 20, [80, 85, 90]) == "[######----------|||-]"
    assert report_text.bar(88, 20, [80, 85, 90, 100]) == "[##################||]"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "-"), (0, "0s"), (59, "59s"), (60, "1m"), (3661, "1h 1m"), (86400, "1d"), (90061, "1d 1h")],
)
def test_durations(seconds, expected):
    assert report_text.duration(seconds) == expected


def test_columns_are_aligned_and_colours_do_not_count():
    lines = report_text.table(["name", ">n"], [[("a", "ok"), ("10", "critical")], [("long", ""), ("5", "")]], marked)
    assert lines == ["name   n", "<ok>a</>     <critical>10</>", "long   5"]


def test_no_rows():
    assert report_text.table(["name", ">n"], [], marked) == ["name  n"]


def test_memory_fullest_first_with_the_sum_at_the_end():
    lines = report_text.resources(MEMORY, 120)
    assert lines[0].split() == (
        ["container", "not", "freed", "in", "use", "target", "limit", "%", "per", "hour", "restarts", "OOM", "kills"]
    )
    assert [line.split("  ")[0] for line in lines[1:4]] == ["sixty-nginx", "sixty-redis", "all together"]
    assert lines[2].split()[1:6] == ["32.0", "40.0", "56", "64", "50"]
    assert lines[2].split()[-3:] == ["+1.5", "1", "0"]
    assert lines[3].split()[2:7] == ["64.0", "80.0", "-", "2048", "3"] and lines[3].split()[-3:] == ["-", "-", "-"]
    assert "Host: 1024.0 of 2048.0 MB available, 3 OOM kills since it started." in lines


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 300])
def test_the_table_keeps_to_the_width(width):
    lines = report_text.resources(MEMORY, width)[:4]
    assert max(map(len, lines)) <= max(width, 68)
    assert all(f"{share} " in line for share, line in zip((91, 50, 3), lines[1:]))
    bars = {len(line[line.index("[") : line.index("]")]) for line in lines[1:]}
    assert len(bars) == 1 and report_text.BAR_MINIMUM < bars.pop() <= report_text.BAR_MAXIMUM + 1


def test_a_narrow_terminal_goes_without_the_least_columns():
    head = report_text.resources(MEMORY, 70)[0]
    assert "target" not in head and "restarts" not in head and "not freed" in head and "limit" in head


def test_levels_are_painted():
    text = "\n".join(report_text.resources(MEMORY, 120, marked))
    assert "<critical>91</>" in text and "<ok>50</>" in text
    assert "<alert>+1.5</>" in text and "<critical>2</>" in text
    assert "<alert>sixty-nginx grows by 1.5 MB an hour: a leak is suspected.</>" in text
    assert "<alert>sixty-nginx reaches its limit in 2h 1m at this pace.</>" in text


def test_what_is_wrong_is_said_in_words():
    document = copy.deepcopy(MEMORY)
    document["containers"][0]["differences"] = ["sixty-redis: memory should be 1, the engine has 2"]
    document.update(memory=None, monitor={"answers": False, "problem": "Connection refused"})
    lines = report_text.resources(document, 120)
    assert "sixty-redis: memory should be 1, the engine has 2." in lines
    assert lines[-1].startswith("The Memory Monitor does not answer (Connection refused): engine and kernel alone")
    assert not [line for line in lines if line.startswith("Host:")]


def test_what_does_not_run_takes_no_line_and_is_told_where_it_differs():
    idle = {**ROW, "running": False, "differences": ["sixty-redis: memory should be 1, the engine has 2"]}
    lines = report_text.resources({**MEMORY, "containers": [idle]}, 120)
    assert lines[1].startswith("all together") and lines[-1] == "sixty-redis: memory should be 1, the engine has 2."


def test_growth_without_confidence_is_not_shown():
    lines = report_text.resources({**MEMORY, "containers": [{**ROW, "growth_confidence": 0.9}]}, 120)
    assert lines[1].split()[-3:] == ["-", "1", "0"]


def test_a_limit_that_is_days_away_is_no_warning():
    lines = report_text.resources({**MEMORY, "containers": [{**ROW, "exhaustion_seconds": 86400}]}, 120)
    assert not [line for line in lines if "reaches its limit" in line]


def test_nothing_runs():
    lines = report_text.resources({**MEMORY, "containers": []}, 120)
    assert lines[1].startswith("all together")


def test_one_line():
    assert report_text.resources_line(MEMORY, marked) == (
        "<ok>64.0 of 2048 MB [#-------------------]</>  <critical>sixty-nginx 91 %</>"
    )
    silent = {**MEMORY, "containers": [], "monitor": {"answers": False, "problem": "x"}}
    assert report_text.resources_line(silent).endswith("]  monitor does not answer")


def test_all_is_healthy():
    lines = report_text.health(HEALTH)
    assert lines[1].split() == ["sixty-redis", "running", "healthy", "1m", "30s", "0", "0"]
    assert lines[4].split() == ["page", "200", "r1", "12", "ms"]
    assert lines[-1] == "Everything is healthy and served."


def test_what_is_unhealthy_says_why():
    ill = {**SERVICE, "health": "unhealthy", "ok": False, "probe": "connection refused"}
    silent = {**SERVICE, "name": "sixty-api-r1", "health": "unhealthy", "ok": False}
    gone = {**SERVICE, "name": "grafana", "state": "absent", "ok": False, "health": "none", "seconds": None}
    left_out = {**gone, "name": "loki", "state": "left out", "ok": True}
    request = {**REQUEST, "status": 0, "ok": False, "release": "", "error": "timed out"}
    alerts = [{"name": "Leak", "service": "api", "severity": "critical", "summary": "it grows"}]
    document = {"services": [ill, silent, gone, left_out], "requests": [request], "alerts": alerts, "healthy": False}
    text = "\n".join(report_text.health(document, paint=marked))
    assert "<critical>sixty-redis is unhealthy; its probe: connection refused</>" in text
    assert "<critical>sixty-api-r1 is unhealthy; its probe: no output</>" in text
    assert "<critical>absent</>" in text and "left out" in text and ">left out" not in text
    assert "<critical>no answer</>" in text and "timed out" in text
    assert "<critical>Alert Leak api fires: it grows</>" in text
    assert "Everything is healthy" not in text


def test_a_health_that_nobody_asks_for_any_more_is_told():
    document = {**HEALTH, "services": [{**SERVICE, "health": "stale"}]}
    text = "\n".join(report_text.health(document, paint=marked))
    assert "<warning>stale</>" in text
    assert "stopped asking for the health of sixty-redis" in text and "docker unpause" in text


def test_a_prometheus_that_does_not_answer():
    document = {**HEALTH, "alerts": None, "requests": []}
    assert "Whether alerts fire is not known: Prometheus does not say." in report_text.health(document)


def test_nobody_moves_the_cursor():
    document = copy.deepcopy(HEALTH)
    document["services"][0].update(name="a\x1b[2Jb", health="unhealthy", probe="x\x1b]0;t\x07")
    document["alerts"] = [{"name": "A\r", "service": "", "severity": "", "summary": "s\x9b"}]
    assert all(line.isprintable() for line in report_text.health(document))
    hostile = {**MEMORY, "containers": [{**FULL, "name": "\x1b[31m"}], "monitor": {"answers": False, "problem": "\n"}}
    assert all(line.isprintable() for line in report_text.resources(hostile))
