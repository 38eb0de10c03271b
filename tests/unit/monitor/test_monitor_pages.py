# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which path gives what: the JSON API of the contract, the page's files, health."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB, Figures, configuration
from memory_monitor import sampler
from memory_monitor.pages import Pages, static_files

ENTRY = {
    *("service", "slot", "release", "name", "id", "stack", "running", "known", "usage", "working_set", "unreclaimable"),
    *("rss", "cache", "limit", "reservation", "peak", "usage_target", "alert", "percent", "level", "cpu_cores"),
    *("restarts", "oom_kills", "start_time", "processes", "growth_bytes_per_hour", "growth_confidence", "leak"),
    "exhaustion_seconds",
}


def ask(machine, path, **query):
    answer = Pages(machine.sampler, {})(path, query)
    return json.loads(answer.body) if answer.kind == "application/json" else answer


def services(machine):
    return {item["id"] or item["name"]: item for item in ask(machine, "/api/v1/status")["services"]}


def test_status(machine, tree):
    tree.run(1)
    (machine.home / "route/active").symlink_to("slots/blue/r1")
    machine.look()
    found = ask(machine, "/api/v1/status")
    assert set(found) == {
        *("version", "stack", "time", "cgroup_version", "phase", "host", "budget", "total", "release", "services")
    }
    assert (found["stack"], found["time"], found["cgroup_version"]) == ("sixty", machine.wall, tree.version)
    assert found["phase"] == "steady"
    sizes = {"memory_total": 2048, "memory_available": 1024, "swap_total": 512, "swap_free": 256}
    assert found["host"] == {**{name: mb * MB for name, mb in sizes.items()}, "oom_kills": 40}
    assert found["budget"] == {
        **{"total": 2048 * MB, "total_alert": 1638 * MB, "total_critical": 1843 * MB},
        **{"warning_percent": 80, "container_percent": 85, "critical_percent": 90},
    }
    assert (found["release"]["slot"], found["release"]["release"]) == ("blue", "r1")
    assert all(set(item) == ENTRY for item in found["services"])


def test_a_running_service(machine, tree):
    path = tree.run(1)
    machine.look()
    found = services(machine)[path]
    expected = {
        **{"service": "redis", "name": "sixty-redis", "stack": "sixty", "running": True, "known": True},
        **{"usage": 60 * MB, "working_set": 50 * MB, "unreclaimable": 35 * MB, "rss": 25 * MB, "cache": 30 * MB},
        **{"limit": 64 * MB, "reservation": 32 * MB, "peak": 63 * MB, "usage_target": 56 * MB, "alert": 54 * MB},
        **{"percent": 54.69, "level": "ok", "processes": 7, "growth_bytes_per_hour": None, "growth_confidence": None},
        **{"leak": False, "exhaustion_seconds": None, "restarts": 0, "oom_kills": 0},
    }
    assert {name: found[name] for name in expected} == expected


def test_a_service_that_does_not_run_is_there(machine, tree):
    tree.run(1)
    machine.look()
    found = services(machine)["sixty-api"]
    assert (found["running"], found["known"], found["usage"], found["percent"]) == (False, True, 0, 0)
    assert (found["limit"], found["usage_target"]) == (384 * MB, 320 * MB)


def test_a_service_that_went_keeps_its_counts(machine, tree):
    path = tree.run(1)
    machine.look()
    tree.restart(path)
    tree.remove(path)
    machine.killed()
    machine.look()
    found = services(machine)[path]
    assert (found["running"], found["restarts"], found["oom_kills"], found["start_time"]) == (False, 1, 1, 0)


def test_order_and_others(machine, tree):
    paths = [tree.run(3, "", ""), tree.run(4, "other", "redis"), tree.run(2, service="api"), tree.run(1)]
    machine.look()
    found = ask(machine, "/api/v1/status")["services"]
    assert [item["id"] for item in found] == [paths[3], paths[2], paths[0], paths[1]]
    assert [item["known"] for item in found] == [True, True, False, False]
    # Another stack's service is not measured by this one's budget.
    assert found[3]["usage_target"] == 0 and found[2]["name"] == "000000000000"


def test_both_releases_of_an_overlap(machine, tree):
    tree.run(1, service="api")
    tree.run(2, service="api")
    machine.look()
    found = ask(machine, "/api/v1/status")
    assert found["phase"] == "overlap"
    assert [item["service"] for item in found["services"]] == ["redis", "api", "api"]


@pytest.mark.parametrize(
    ("percent", "level"),
    [(79.9, "ok"), (80.1, "warning"), (84.9, "warning"), (85.1, "alert"), (89.9, "alert"), (90.1, "critical")],
)
def test_levels(machine, tree, percent, level):
    path = tree.run(1, limit=100 * MB, usage=int(percent * MB), inactive_file=0, active_file=0)
    machine.look()
    assert services(machine)[path]["level"] == level


@pytest.mark.parametrize(
    ("unreclaimable", "limit", "level", "percent"),
    [
        (1637, 2048, "ok", 79.93),
        (1639, 2048, "warning", 80.03),
        (1844, 2048, "critical", 90.04),
        # A smaller host, where the kernel enforces less than the budget.
        (900, 1000, "critical", 90.0),
        (860, 1000, "alert", 86.0),
        # A stack whose cgroup has no limit of its own.
        (1024, 0, "ok", 50.0),
    ],
)
def test_total(machine, tree, unreclaimable, limit, level, percent):
    path = tree.run(1)
    figures = Figures(limit=limit * MB, usage=unreclaimable * MB, inactive_file=0, active_file=0)
    tree.write(f"/{path.split('/')[1]}", figures)
    machine.look()
    found = ask(machine, "/api/v1/status")["total"]
    assert (found["unreclaimable"], found["level"], found["percent"]) == (unreclaimable * MB, level, percent)
    assert found["limit"] == (limit or 2048) * MB


def test_exhaustion(machine, tree):
    for minute in range(14):
        path = tree.run(1, usage=30 * MB + minute * MB, inactive_file=0, active_file=0)
        machine.look(60)
    found = services(machine)[path]
    assert found["growth_bytes_per_hour"] == pytest.approx(60 * MB, rel=0.01)
    assert found["exhaustion_seconds"] == pytest.approx((64 - 43) * 60, rel=0.02) and not found["leak"]
    # A restart begins anew.
    tree.restart(path)
    machine.look(60)
    found = services(machine)[path]
    assert (found["growth_bytes_per_hour"], found["exhaustion_seconds"]) == (None, None)


def test_history(machine, tree):
    tree.run(1, service="api")
    tree.run(2, service="api")
    tree.run(3)
    machine.look()
    step = machine.wall // 20 * 20
    found = ask(machine, "/api/v1/history", service="all")
    assert found == {"step": 20, "services": {"api": [[step, 120 * MB, 70 * MB]], "redis": [[step, 60 * MB, 35 * MB]]}}
    assert ask(machine, "/api/v1/history", service="redis")["services"].keys() == {"redis"}
    answer = Pages(machine.sampler, {})("/api/v1/history", {"service": "nothing"})
    assert answer.status == 404 and json.loads(answer.body)["error"]["code"] == "unknown_service"


def test_one_sample_is_rendered_once(machine, tree):
    path = tree.run(1)
    machine.look()
    pages = Pages(machine.sampler, {})
    first = {name: pages(name, {}).body for name in ("/metrics", "/api/v1/status", "/api/v1/history")}
    assert all(pages(name, {}).body is body for name, body in first.items())
    tree.run(1, usage=50 * MB)
    machine.look()
    assert str(50 * MB) in pages("/api/v1/status", {}).body.decode() and path in pages("/metrics", {}).body.decode()


def test_unknown_services_leave_nothing_behind(machine, tree):
    machine.look()
    pages = Pages(machine.sampler, {})
    for number in range(100):
        assert pages("/api/v1/history", {"service": f"x{number}"}).status == 404
    assert len(pages._made) == 0


def test_before_the_first_sample(machine):
    assert {ask(machine, path).status for path in ("/metrics", "/api/v1/status", "/healthz")} == {503}


def test_health_is_that_of_the_samples(machine, tree, monkeypatch):
    clock = [machine.now]
    monkeypatch.setattr(sampler.time, "monotonic", lambda: clock[0])
    machine.look()
    clock[0] = machine.now + 4.9
    assert ask(machine, "/healthz").status == 200
    clock[0] = machine.now + 5.1
    assert ask(machine, "/healthz").status == 503


def test_nothing_else_is_there(machine):
    for path in ("/x", "//", "/../etc/passwd", "/static/app.js", "/api/v1/status/", "/metrics/"):
        assert ask(machine, path).status == 404


def test_the_pages_own_files(tmp_path):
    (tmp_path / "index.html").write_text("<p>")
    (tmp_path / "app.js").write_text("1")
    (tmp_path / "notes.txt").write_text("no")
    found = static_files(str(tmp_path))
    assert {path: answer.kind for path, answer in found.items()} == {
        "/": "text/html; charset=utf-8",
        "/app.js": "text/javascript; charset=utf-8",
    }
    etag = found["/app.js"].etag
    (tmp_path / "app.js").write_text("2")
    assert static_files(str(tmp_path))["/app.js"].etag != etag


def test_the_real_page_is_there():
    assert {"/", "/app.js", "/style.css"} <= static_files().keys()


# -- the sampler


def test_the_budget_is_read_again_when_another_tree_is_landed(machine, tree):
    """As config_tree lands it: a new directory, and a link that moves."""
    config = machine.home / "config"
    config.rename(machine.home / "first")
    config.symlink_to("first")
    machine.look()
    second = machine.home / "second"
    second.mkdir()
    (second / "monitor.json").write_text(configuration(total=1024 * MB))
    config.unlink()
    config.symlink_to("second")
    assert machine.look().settings.totals["total"] == 1024 * MB
    assert machine.said[-1].startswith("Read ")


def test_a_wrong_budget_leaves_the_one_before(machine, tree):
    tree.run(1)
    machine.look()
    (machine.home / "config/monitor.json").write_text(configuration(total=-1))
    assert machine.look().settings.totals["total"] == 2048 * MB
    assert machine.errors == {"settings": 1} and "total has to be a number" in machine.said[-1]
    # It is told once, not every second.
    machine.look()
    assert machine.errors == {"settings": 1}
    machine.sampler.reload()
    machine.look()
    assert machine.errors == {"settings": 2}
    (machine.home / "config/monitor.json").unlink()
    machine.look()
    assert machine.errors == {"settings": 3} and "No such file" in machine.said[-1]
    (machine.home / "config/monitor.json").write_text(configuration(total=5))
    assert machine.look().settings.totals["total"] == 5


def test_an_error_ends_no_sampling(machine, tree, monkeypatch, capfd):
    tree.run(1)
    monkeypatch.setattr(sampler, "PERIOD", 0.01)
    look, calls = machine.sampler.tree.look, []

    def failing(stack):
        calls.append(stack)
        if len(calls) == 1:
            raise RuntimeError("what nobody thought of")
        return look(stack)

    monkeypatch.setattr(machine.sampler.tree, "look", failing)
    machine.sampler.start()
    while not machine.sampler.picture:
        pass
    machine.sampler.stop()
    assert machine.errors == {"sample": 1} and "what nobody thought of" in capfd.readouterr().err
