# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watched switch on a real directory and over real HTTP; engine and clock are stand-ins (release_world.py)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import blue_green_host as host
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_guard as guard_utils
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_records
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import release_guard
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.module_runner import run_main
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.release_world import (
    SLOTS,
    Container,
    Killed,
    arguments,
    snapshot,
)
from docker.errors import APIError, NotFound, StreamParseError
from requests.exceptions import ConnectionError as EngineGone

DISK_FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def back(watching, switch):
    """Rolls back with blue_green, to a release or to the one before."""

    def run(release=None, **more):
        return switch(release, action="rollback", manifest=None, **more)

    return run


@pytest.fixture
def first(watching, guard):
    """r1 was deployed; r2 is prepared."""
    watching.prepare("r1", "r2")
    assert not guard("r1")["failed"]
    watching.events.clear()
    watching.phases.clear()
    return watching


def states(switch):
    return {row["release"]: row["state"] for row in switch(None, action="list")["releases"]}


def promoted(world, release, result):
    """A deploy came to its end, and left nothing over."""
    assert not result["failed"], result["msg"]
    return (world.routed(), world.up(), world.is_clean()) == (release, [release], True)


def rolled_back(world, result, name, old="r1", bad="r2"):
    """The trigger was named, the old release serves alone, and all is on record."""
    assert result["failed"]
    assert (result["rolled_back"], result["trigger"]["name"]) == (True, name)
    assert f"Release {bad} was rolled back" in result["msg"]
    assert f"Trigger {name}: {result['trigger']['reason']}. Release {old} is served again" in result["msg"]
    last = world.journal()[-1]
    assert [last[key] for key in ("event", "from", "to", "trigger", "reason")] == [
        *("rolled_back", bad, old, name, result["trigger"]["reason"]),
    ]
    assert last["evidence"] == result["trigger"]["evidence"]
    assert last["seconds"] == result["trigger"]["seconds"]
    records = world.state()["releases"]
    assert (records[old]["instead_of"], "rolled_back" in records[bad]) == (bad, True)
    kinds = [line["kind"] for line in world.told(bad)]
    assert kinds.index("trigger") < kinds.index("rolled_back") < kinds.index("end")
    assert world.told(bad)[-1]["text"] == result["msg"]
    assert world.state()["active"]["release"] == old
    return (world.routed(), world.up(), world.is_clean()) == (old, [old], True)


# -- all is well


def test_the_first_release_has_nothing_to_be_watched_against(watching, guard):
    watching.prepare("r1")
    result = guard("r1")
    assert promoted(watching, "r1", result)
    assert (result["changed"], result["phase"], result["active"]) == (
        *(True, "promoted"),
        {"slot": "blue", "release": "r1"},
    )
    assert watching.phases == ["begun", "staged", "healthy", "routed", "switched", "promoted"]


def test_watched_and_promoted(first, guard):
    seen = []
    first.at_phase("watching", lambda: seen.append((first.up(), first.state()["deploy"], lock_of(first))), 2)
    result = guard("r2")
    assert promoted(first, "r2", result)
    assert first.phases == [
        *("begun", "staged", "healthy", "routed", "switched"),
        *["watching"] * first.phases.count("watching"),
        *("watched", "promoted"),
    ]
    # One sample each two seconds, the first at once and the last when the time is over.
    assert first.phases.count("watching") == 6
    # Meanwhile the old release was warm, and it was on record how far this was and who did it.
    up, deploy, holder = seen[0]
    assert (up, deploy["phase"], deploy["previous"]) == (["r1", "r2"], "switched", {"slot": "blue", "release": "r1"})
    assert len(deploy["baseline"]) >= 20
    assert (holder["pid"], holder["owner"], holder["release"]) == (os.getpid(), "ann", "r2")
    assert holder["heartbeat"] > holder["taken"]
    events = [line["event"] for line in first.journal()]
    assert events == ["switched", "promoted", "switched", "promoted"]
    assert first.journal()[-1]["previous"] == "r1"
    assert result["seconds"] is not None
    kinds = [line["kind"] for line in first.told("r2")]
    assert (kinds[0], kinds[-1], kinds.count("sample")) == ("begun", "end", 6)
    assert "baseline: p95 of release r1 is 1" in next(
        line["text"] for line in first.told("r2") if line["kind"] == "baseline"
    )


def lock_of(world):
    return json.loads((world.root / "lock.json").read_text(encoding="utf-8"))


def test_nothing_is_due(first, guard):
    before = snapshot(first.root)
    result = guard("r1")
    assert (result["failed"], result["changed"], result["phase"]) == (False, False, "promoted")
    assert (snapshot(first.root), first.phases) == (before, [])


def test_without_a_watch(first, guard):
    assert promoted(first, "r2", guard("r2", watch_seconds=0))
    assert "watching" not in first.phases


def test_check_mode_touches_nothing(first, guard):
    before = snapshot(first.root)
    result = guard("r2", check=True)
    assert (result["failed"], result["changed"]) == (False, True)
    assert result["due"] == ["stage", "start", "verify", "route", "read_back", "retire"]
    assert result["diff"] == {"before": "served release: r1\n", "after": "served release: r2\n"}
    looked = [event for event in first.events if event[0] != "get"]
    assert (snapshot(first.root), looked, first.phases, first.up()) == (before, [], [], ["r1"])


def test_returns_what_it_documents(first, guard, monkeypatch):
    first.memory_of_host(100, 2048, 4000)
    returned = {**guard("r2", check=True)}
    first.at_phase("watching", lambda: returned.update(follow(first, monkeypatch)))
    returned.update(guard("r2"))
    first.phases.clear()
    first.prepare("r3")
    first.at_phase("watching", lambda: vars(first["r3"]).update(ready=503))
    returned.update(guard("r3"))
    # The action plugin's own.
    documented = set(yaml.safe_load(release_guard.RETURN)) - {"job"}
    assert set(returned) - {"failed", "changed", "diff", "msg", "warnings"} == documented


def follow(world, monkeypatch):
    return run_main(monkeypatch, release_guard.main, arguments(world, None, action="follow"))


def test_follow(first, guard, monkeypatch):
    assert follow(first, monkeypatch) == {"failed": False, "changed": False, "phase": "none"}
    seen = []
    first.at_phase("watching", lambda: seen.append(follow(first, monkeypatch)))
    guard("r2")
    assert (seen[0]["phase"], seen[0]["holder"]["release"]) == ("switched", "r2")
    assert seen[0]["path"] == str(first.root / "watch" / "r2.jsonl")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"probes": 0}, "probes is 0, at least 1"),
        ({"probe_paths": ["api"]}, "every path begins with a slash"),
        ({"latency_samples": 3}, "latency_samples is 3, at least 20"),
        ({"period": 0}, "period is 0, at least 0.1"),
        ({"url": "localhost"}, "url has to be like"),
    ],
)
def test_bad_arguments(first, guard, arguments, says):
    assert says in guard("r2", **arguments)["msg"]
    assert (first.events, first.phases) == ([], [])


def test_a_release_that_does_not_become_ready_is_not_switched_to(first, guard):
    first["r2"].ready = 503
    result = guard("r2")
    assert "Release r2 is not served. Release r1 goes on serving." in result["msg"]
    assert (first.routed(), first.up(), first.is_clean()) == ("r1", ["r1"], True)
    assert first.told("r2")[-1] == {**first.told("r2")[-1], "kind": "end", "text": result["msg"]}
    first["r2"].ready = 200
    assert promoted(first, "r2", guard("r2"))


# -- triggers


def test_failing_checks(first, guard):
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
    result = guard("r2")
    assert rolled_back(first, result, "health")
    assert result["trigger"]["evidence"]["failures"] == 4
    assert result["trigger"]["evidence"]["words"] == ["listening", "no memory left \ufffd"]
    assert "Its last words:\n    listening\n    no memory left" in result["msg"]
    assert result["active"] == {"slot": "blue", "release": "r1"}
    # The old release was warm: nobody had to start it.
    assert [event for event in first.events if event[1] == "r1" and event[0] in ("start", "stop", "connect")] == []


def test_errors_on_the_probed_paths(first, guard):
    first.at_phase("watching", lambda: vars(first["r2"]).update(status_code=500))
    result = guard("r2", probe_paths=["/api/deals"])
    assert rolled_back(first, result, "health")
    assert "/api/deals: HTTP 500" in result["msg"]


def test_three_failures_in_a_row_are_put_up_with(first, guard):
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=200), 4)
    assert promoted(first, "r2", guard("r2"))


def test_a_condition_at_the_end_is_waited_for(first, guard):
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503), 5)
    assert rolled_back(first, guard("r2"), "health")
    assert first.phases.count("watching") > 6


def test_memory(first, guard):
    first.at_phase("watching", lambda: first["r2"].use(360))
    result = guard("r2")
    assert rolled_back(first, result, "memory")
    assert result["trigger"]["evidence"]["used"] == 360 << 20


def test_slower(first, guard):
    first.at_phase("switched", lambda: vars(first["r2"]).update(latency=0.04))
    result = guard("r2", watch_seconds=60, latency_samples=40)
    assert rolled_back(first, result, "degradation")
    assert 0.04 <= result["trigger"]["evidence"]["p95"] < 0.05


def test_what_slows_down_both_is_not_the_new_one_s_doing(first, guard):
    def slow():
        first["r1"].latency = first["r2"].latency = 0.04

    first.at_phase("switched", slow)
    assert promoted(first, "r2", guard("r2", watch_seconds=60))


def test_what_fails_at_both_is_not_the_new_one_s_doing(first, guard):
    def fail():
        first["r1"].ready = first["r2"].ready = 503

    def mend():
        first["r1"].ready = first["r2"].ready = 200

    first.at_phase("watching", fail)
    first.at_phase("watching", mend, 9)
    assert promoted(first, "r2", guard("r2", watch_seconds=30))


def test_an_old_release_that_was_stopped_excuses_nothing(first, guard):
    """Both fail, but one of them because somebody stopped it."""

    def meddle():
        first["r1"].up, first["r2"].ready = False, 503

    first.at_phase("watching", meddle)
    result = guard("r2")
    assert rolled_back(first, result, "health")
    # It was cold, and was started again for the way back.
    assert ("start", "r1") in first.events


def test_a_restart_loop(first, guard):
    first.at_phase("watching", lambda: first["r2"].die(1, times=2))
    first.at_phase("watching", lambda: first["r2"].die(1), 3)
    result = guard("r2")
    assert rolled_back(first, result, "restarts")
    assert result["trigger"]["evidence"]["restarts"] == 3


@pytest.mark.parametrize("how", ["inside", "near its limit", "the kernel's log"])
def test_an_oom_kill(first, guard, monkeypatch, how):
    def kill():
        if how == "inside":
            # Of a process in a container that lives on.
            first["r2"].use(100, oom_kills=6)
        else:
            first["r2"].die(137)

    first.at_phase("switched", lambda: first["r2"].use(340 if how == "near its limit" else 100, oom_kills=5))
    first.at_phase("watching", kill)
    monkeypatch.setattr(guard_utils, "kernel_killed", lambda container, since: how == "the kernel's log")
    assert rolled_back(first, guard("r2"), "oom")


def test_a_kill_by_hand_is_a_restart(first, guard):
    first.at_phase("switched", lambda: first["r2"].use(100, oom_kills=5))
    first.at_phase("watching", lambda: first["r2"].die(137))
    assert promoted(first, "r2", guard("r2"))


# -- the way back


def test_a_cold_old_release_is_started_again(first, guard):
    """Its container was stopped, and its network and page are gone too."""

    def lose():
        first["r1"].up, first["r2"].ready = False, 503
        for path in sorted((first.root / "route" / "slots" / "blue").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    first.at_phase("watching", lose)
    assert rolled_back(first, guard("r2"), "health")
    assert (first.root / "route/active/www/index.html").read_text(encoding="utf-8") == "r1"


@pytest.mark.parametrize("how", ["never ready", "no container", "no bundle"])
def test_the_way_back_fails(first, guard, how):
    def lose():
        first["r1"].up, first["r2"].ready = False, 503
        if how == "never ready":
            first["r1"].ready = 503
        elif how == "no container":
            del first.containers["sixty-api-r1"]
        else:
            (first.root / "releases" / "r1" / "current").unlink()
            (first.root / "route" / "slots" / "blue" / "r1" / "www" / "index.html").unlink()

    first.at_phase("watching", lose)
    result = guard("r2")
    assert (result["failed"], result["rolled_back"], result["trigger"]["name"]) == (True, False, "health")
    assert "Release r2 fired the trigger health" in result["msg"]
    assert "and release r1 could not be put back" in result["msg"]
    assert result["msg"].endswith("Release r2 is served now.")
    # The bad one is better than none; nothing is under way, and it is in the history.
    assert (first.routed(), first["r2"].up, first.is_clean()) == ("r2", True, True)
    assert first.journal()[-1]["event"] == "failed"
    assert "and the way back failed" in first.journal()[-1]["reason"]
    assert "rolled_back" not in first.state()["releases"]["r2"]


def test_the_way_back_fails_and_so_does_the_release(first, guard):
    def lose():
        first["r1"].up, first["r1"].ready = False, 503
        vars(first["r2"]).update(ready=503, status_code=500)

    first.at_phase("watching", lose)
    assert guard("r2")["msg"].endswith("NOTHING is served now.")


def test_the_bad_release_cannot_be_stopped(first, guard):
    def lose():
        first["r2"].ready = 503
        first.fails["stop", "sixty-api-r2"] = APIError("no")

    first.at_phase("watching", lose)
    result = guard("r2")
    assert "What follows a rollback (record it, stop release r2) did not come to its end: no." in result["msg"]
    assert (first.routed(), first.up()) == ("r1", ["r1", "r2"])
    first.fails.clear()
    first.prepare("r3")
    assert promoted(first, "r3", guard("r3"))


def test_a_rollback_that_was_triggered_stays(first, guard, back):
    """A rollback without a release, asked for after the guard made one, changes nothing."""
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
    guard("r2")
    assert (back()["changed"], first.routed()) == (False, "r1")


# -- a rollback during the watch


def test_a_rollback_supersedes_the_guard(first, guard, back):
    first.at_phase("watching", lambda: back(reason="orders fail"), 2)
    result = guard("r2")
    assert "was ended by somebody else while it was watched" in result["msg"]
    assert "Release r1 is served." in result["msg"]
    assert result["superseded"]
    assert (first.routed(), first.up(), first.is_clean()) == ("r1", ["r1"], True)
    assert first.journal()[-1]["reason"] == "orders fail"
    assert first.phases.count("watching") == 2


def test_a_rollback_comes_before_the_trigger(first, guard, back):
    """The guard has decided, and waits for the lock."""
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
    first.at_phase("rolling_back", lambda: back(reason="orders fail"))
    assert guard("r2")["superseded"]
    assert first.journal()[-1]["reason"] == "orders fail"
    assert (first.routed(), first.up()) == ("r1", ["r1"])


def test_a_rollback_that_fails_does_not_end_the_watch(first, guard, back):
    first.prepare("r0")
    first["r0"].ready = 503
    asked = []

    def ask():
        asked.append(back("r0"))
        assert lock_of(first)["release"] == first.state()["deploy"]["release"] == "r2"
        first["r2"].ready = 503

    first["r1"].up = True
    first.at_phase("watching", ask)
    result = guard("r2")
    assert "Release r0 is not served. Release r2 goes on serving." in asked[0]["msg"]
    assert rolled_back(first, result, "health")


def test_the_route_was_moved_by_hand_during_the_watch(first, guard):
    """What is routed is not stopped, whoever routed it."""

    def meddle():
        (first.root / "route" / "active").unlink()
        (first.root / "route" / "active").symlink_to("slots/blue/r1")

    first.at_phase("watching", meddle, 2)
    assert guard("r2")["superseded"]
    assert first["r1"].up


def test_the_state_is_lost_during_the_watch(first, guard, back):
    """That ends no watch, and what was lost is put on record at its end."""
    first.at_phase("watching", (first.root / "state.json").unlink)
    assert promoted(first, "r2", guard("r2"))
    assert first.state()["active"]["release"] == "r2"
    assert back()["active"]["release"] == "r1"


def test_a_rollback_stays_after_the_state_was_lost(first, guard, back):
    """The run that writes it anew knows from the journal why r1 is served."""
    for release in ("r2", "r3"):
        if release == "r3":
            first.prepare(release)
        assert promoted(first, release, guard(release))
    assert back()["active"]["release"] == "r2"
    (first.root / "state.json").unlink()
    for _time in range(2):
        assert not back()["failed"]
        assert first.routed() == "r2"


# -- two at once


def holder(world, **change):
    """lock.json of a guard of r1."""
    lock = {
        **{"pid": os.getpid(), "boot": release_records.boot_id(), "started": world.process},
        **{"owner": "bob", "host": "h", "release": "r1", "taken": "yesterday", "heartbeat": "now"},
        **change,
    }
    (world.root / "lock.json").write_text(json.dumps(lock), encoding="utf-8")


def test_a_second_guard_is_refused(first, guard, switch, monkeypatch):
    seen = []
    first.prepare("r3")

    def others():
        events = list(first.events)
        seen.append(run_main(monkeypatch, release_guard.main, arguments(first, "r3", probes=4)))
        for action in ("switch", "check", "promote", "stage", "verify"):
            seen.append(switch("r3", action=action))
        # They looked, and did nothing else.
        assert [event for event in first.events[len(events) :] if event[0] != "get"] == []

    first.at_phase("watching", others)
    assert promoted(first, "r2", guard("r2"))
    for result in seen:
        assert result["failed"]
        assert "Another deploy is under way: release r2 is switched, by ann since" in result["msg"]
        assert '"make rollback-emergency" ends it' in result["msg"]
    # Its lines are those of a deploy that goes on.
    assert not (first.root / "watch" / "r3.jsonl").exists()


@pytest.mark.parametrize(
    "change",
    [{"boot": "another"}, {"started": 0}, {"started": None}, "{", "", "[]", '{"pid": 1}', '{"pid": null}'],
)
def test_a_lock_whose_holder_is_gone_is_taken_over(first, guard, change):
    if isinstance(change, dict):
        holder(first, **change)
    else:
        (first.root / "lock.json").write_text(change, encoding="utf-8")
    assert promoted(first, "r2", guard("r2"))


def test_a_lock_whose_holder_lives_is_not(first, guard):
    holder(first)
    before = snapshot(first.root)
    result = guard("r2")
    assert "release r1 has begun, by bob since yesterday (process" in result["msg"]
    assert (snapshot(first.root), first.up()) == (before, ["r1"])


def test_who_is_alive():
    """The kernel's word on processes: one that lives, one that is gone, one that nobody reaped."""
    own = release_records.started(os.getpid())
    assert own and own == release_records.started(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    with open(f"/proc/{child.pid}/stat", encoding="utf-8"):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert release_records.started(child.pid) is None, "a zombie"
    child.wait()
    assert release_records.started(child.pid) is None


def test_unlock(first, switch):
    assert switch(None, action="unlock")["holder"] == {}
    holder(first, boot="another")
    assert switch(None, action="unlock", check=True)["changed"]
    assert (first.root / "lock.json").exists()
    result = switch(None, action="unlock")
    assert (result["changed"], result["holder"]["owner"], result["holder"]["alive"]) == (True, "bob", False)
    assert not (first.root / "lock.json").exists()
    assert first.journal()[-1]["event"] == "unlocked"


def test_unlock_while_the_holder_lives(first, switch):
    holder(first)
    result = switch(None, action="unlock")
    assert "To remove the lock all the same: -e release_force=true." in result["msg"]
    assert (first.root / "lock.json").exists()
    assert switch(None, action="unlock", force=True)["changed"]
    assert not (first.root / "lock.json").exists()


def test_a_lock_that_was_taken_away_by_force(first, guard, switch, monkeypatch):
    """The guard goes on, does not take it again, and gives way to the next deploy."""
    first.prepare("r3")
    seen = []

    def take():
        switch(None, action="unlock", force=True)

    def deploy():
        seen.append((first.root / "lock.json").exists())
        first.process += 1
        seen.append(run_main(monkeypatch, release_guard.main, arguments(first, "r3", probes=4, watch_seconds=0)))

    first.at_phase("watching", take)
    first.at_phase("watching", deploy, 3)
    assert guard("r2")["superseded"]
    assert seen[0] is False
    assert promoted(first, "r3", seen[1])


# -- killed


PHASES = ["begun", "staged", "healthy", "routed", "switched", "watching", "watched", "promoted"]
BEFORE = PHASES[:3]


@pytest.fixture(params=PHASES)
def killed(request, first, guard):
    """A deploy of r2 was killed at a phase; r3 is prepared."""
    first.prepare("r3")
    first.at_phase(request.param, Killed)
    with pytest.raises(Killed):
        guard("r2")
    # Whatever it was, somebody serves.
    assert first.routed() == ("r1" if request.param in BEFORE else "r2")
    assert first[first.routed()].up
    first.phase = request.param
    first.phases.clear()
    return first


def test_killed_and_deployed_again(killed, guard):
    result = guard("r2")
    assert promoted(killed, "r2", result)
    told = " ".join(line["text"] for line in killed.told("r2"))
    if killed.phase in BEFORE:
        assert f"The deploy of release r2 was broken off when it was {killed.phase}" in told
    elif killed.phase != "promoted":
        assert "and goes on." in told
    # What was routed and not watched to its end is watched.
    assert ("watching" in killed.phases) is (killed.phase not in ("watched", "promoted"))
    assert killed.journal()[-1]["event"] == "promoted"


def test_killed_and_another_release(killed, guard):
    assert promoted(killed, "r3", guard("r3"))


def test_killed_and_the_release_before(killed, guard):
    assert promoted(killed, "r1", guard("r1"))


def test_killed_and_rolled_back(killed, back, switch):
    result = back()
    assert not result["failed"], result["msg"]
    assert (killed.routed(), killed.up()) == ("r1", ["r1"])
    # And so it stays, however often it is asked for.
    again = back()
    assert (again["failed"], killed.routed(), killed.up()) == (False, "r1", ["r1"])


def test_killed_and_switched_by_blue_green(killed, switch):
    result = switch("r3")
    assert not result["failed"], result["msg"]
    assert (killed.routed(), killed.up(), killed.is_clean()) == ("r3", ["r3"], True)


def test_killed_and_promoted_by_hand(killed, switch):
    result = switch("r2", action="promote")
    if killed.phase in BEFORE:
        assert "Release r1 is routed, not r2. Nothing was changed." in result["msg"]
    else:
        assert not result["failed"]
        assert (killed.routed(), killed.up(), killed.is_clean()) == ("r2", ["r2"], True)
        assert not switch("r2", action="promote")["changed"]


def test_a_watch_is_taken_up_with_the_baseline_of_its_begin(first, guard):
    first.at_phase("watching", Killed, 2)
    with pytest.raises(Killed):
        guard("r2")
    baseline = first.state()["deploy"]["baseline"]
    assert len(baseline) >= 20
    # Slower than that baseline; the old release is cold, so nothing else could tell.
    first["r1"].up, first["r2"].latency = False, 0.04
    assert rolled_back(first, guard("r2", watch_seconds=60), "degradation")


@pytest.mark.parametrize("phase", ["rolling_back", "rolled_back"])
def test_killed_on_the_way_back(first, guard, back, phase):
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
    first.at_phase(phase, Killed)
    with pytest.raises(Killed):
        guard("r2")
    assert not back()["failed"]
    assert (first.routed(), first.up()) == ("r1", ["r1"])


@pytest.mark.parametrize("asked_again", [True, False])
@pytest.mark.parametrize("by", ["guard", "rollback"])
def test_killed_between_the_rename_of_a_rollback_and_its_record(first, guard, back, by, asked_again):
    """It is not undone by asking for it again, and the bad one is no release to go back to later."""
    with pytest.MonkeyPatch.context() as patch:

        def record(self, slot, event, *more, **further):
            if event == "rolled_back":
                raise Killed(event)
            return record_it(self, slot, event, *more, **further)

        record_it = host.Switch.record
        patch.setattr(host.Switch, "record", record)
        if by == "guard":
            first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
            with pytest.raises(Killed):
                guard("r2")
        else:
            assert promoted(first, "r2", guard("r2"))
            with pytest.raises(Killed):
                back()
    assert first.routed() == "r1"
    if asked_again:
        assert not back()["failed"]
        assert (first.routed(), first.up()) == ("r1", ["r1"])
    first.prepare("r3")
    assert promoted(first, "r3", guard("r3"))
    assert back()["active"]["release"] == "r1"


def test_killed_between_the_rename_and_its_phase(first, guard):
    """It was not on record that r2 is routed, and it is watched all the same."""
    with pytest.MonkeyPatch.context() as patch:
        point = host.Switch.point

        def kill(self, text):
            point(self, text)
            raise Killed(text)

        patch.setattr(host.Switch, "point", kill)
        with pytest.raises(Killed):
            guard("r2")
    assert (first.routed(), first.state()["deploy"]["phase"]) == ("r2", "healthy")
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
    assert rolled_back(first, guard("r2"), "health")


def test_a_program_is_told_every_phase(first, guard, tmp_path, monkeypatch):
    monkeypatch.undo()
    program, told = tmp_path / "hook", tmp_path / "told"
    program.write_text(f"#!/bin/sh\necho $1 >> {told}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("SIXTY_TEST_HOOK", str(program))
    host.boundary("staged")
    monkeypatch.delenv("SIXTY_TEST_HOOK")
    host.boundary("healthy")
    assert told.read_text(encoding="utf-8") == "staged\n"


# -- the engine is away


@pytest.mark.parametrize("error", [APIError("no"), EngineGone("no"), ConnectionResetError("no")])
def test_an_engine_that_is_away_does_not_end_the_watch(first, guard, error):
    first.at_phase("watching", lambda: vars(first).update(engine_error=error))
    first.at_phase("watching", lambda: vars(first).update(engine_error=None), 4)
    assert promoted(first, "r2", guard("r2"))


def test_an_answer_that_was_cut_short_does_not_end_the_watch(first, guard, monkeypatch):
    def cut(self, client, limit):
        raise StreamParseError("half a line")

    monkeypatch.setattr(guard_utils.Sampler, "note_deaths", cut)
    assert promoted(first, "r2", guard("r2"))


@pytest.mark.parametrize("error", [APIError("no"), EngineGone("no")])
def test_the_way_back_to_a_warm_release_needs_no_engine(first, guard, error):
    def lose():
        first.engine_error, first["r2"].ready = error, 503

    first.at_phase("watching", lose)
    result = guard("r2")
    assert (result["rolled_back"], first.routed(), first.state()["active"]["release"]) == (True, "r1", "r1")
    assert "(record it, stop release r2) did not come to its end: no." in result["msg"]
    first.engine_error = None
    first.prepare("r3")
    assert promoted(first, "r3", guard("r3"))


def test_an_engine_that_hangs_holds_up_nobody(first, guard, monkeypatch):
    """Its events have no time limit, so it is asked beside the samples, once at a time."""
    over, asked = threading.Event(), []

    def hang(self, client, limit):
        asked.append(self)
        over.wait(30)

    monkeypatch.setattr(guard_utils, "ENGINE_SECONDS", 0.01)
    monkeypatch.setattr(guard_utils.Sampler, "note_deaths", hang)
    first.at_phase("watching", lambda: vars(first["r2"]).update(ready=503))
    try:
        assert rolled_back(first, guard("r2"), "health")
    finally:
        over.set()
    assert len(asked) == 1


def test_the_engine_is_away_at_the_end(first, guard):
    first.at_phase("watched", lambda: vars(first).update(engine_error=EngineGone("no")))
    result = guard("r2")
    assert "Release r2 is served and was watched to the end, but what follows" in result["msg"]
    first.engine_error = None
    first.phases.clear()
    assert promoted(first, "r2", guard("r2"))
    assert "watching" not in first.phases


def test_the_engine_is_away_at_once(first, guard):
    first.engine_error = EngineGone("no")
    assert "does not answer as it should: no. What is served was left as it is." in guard("r2")["msg"]


# -- the disk is full


@pytest.mark.parametrize("phase", ["start", "begun", "staged", "healthy", "routed", "switched", "watching", "watched"])
def test_the_state_cannot_be_written(first, guard, back, phase):
    """Before the switch that ends it; afterwards it is watched to its end, and the next run puts it on record."""
    with pytest.MonkeyPatch.context() as patch:

        def fill():
            def full(path, content):
                raise DISK_FULL

            patch.setattr(release_records, "write_whole", full)

        if phase == "start":
            fill()
        else:
            first.at_phase(phase, fill)
        result = guard("r2")
    assert result["failed"]
    assert "No space left on device" in result["msg"]
    if phase in ("start", *BEFORE[:2]):
        assert (first.routed(), first["r1"].up, first["r2"].up) == ("r1", True, False)
    else:
        assert "Release r2 is served and was watched to the end, but what follows" in result["msg"]
        assert (first.routed(), first["r2"].up) == ("r2", True)
    assert promoted(first, "r2", guard("r2"))
    assert back()["active"]["release"] == "r1"


def test_the_disk_is_full_for_a_while(first, guard, back):
    """What could not be put on record at the switch is put there at the end."""
    patch = pytest.MonkeyPatch()

    def full(path, content):
        raise DISK_FULL

    first.at_phase("routed", lambda: patch.setattr(release_records, "write_whole", full))
    first.at_phase("watching", patch.undo, 3)
    result = guard("r2")
    assert promoted(first, "r2", result)
    assert any("could not be put on record" in text for text in result["warnings"])
    assert first.state()["active"]["release"] == "r2"
    assert back()["active"]["release"] == "r1"


def test_the_disk_is_full_on_the_way_back(first, guard, back):
    with pytest.MonkeyPatch.context() as patch:

        def fail():
            def full(path, content):
                raise DISK_FULL

            patch.setattr(release_records, "write_whole", full)
            first["r2"].ready = 503

        first.at_phase("watching", fail)
        result = guard("r2")
    assert (result["rolled_back"], first.routed()) == (True, "r1")
    assert "did not come to its end: [Errno 28] No space left on device." in result["msg"]
    first["r2"].ready = 200
    assert promoted(first, "r2", guard("r2"))


# -- memory


def test_it_fits(first, guard):
    first.memory_of_host(used=900, limit=2048, available=1500)
    assert promoted(first, "r2", guard("r2"))
    told = next(line["text"] for line in first.told("r2") if line["kind"] == "memory")
    assert "overlap: 900 MB + 384 MB of the standby's limit = 1,284 MB, 764 MB to spare" in told


@pytest.fixture
def tight(first):
    """Room for one of the two only."""
    first["r1"].use(300)
    first.memory_of_host(used=1800, limit=2048, available=1500)
    return first


def test_it_does_not_fit(tight, guard):
    before = snapshot(tight.root)
    for result in (guard("r2"), guard("r2", check=True)):
        assert "Release r2 does not fit beside what runs." in result["msg"]
        assert "1,800 MB + 384 MB = 2,184 MB > 2,048 MB of the stack, 136 MB too much" in result["msg"]
        assert "allow that with release_allow_downtime=true" in result["msg"]
    assert (snapshot(tight.root), tight.up()) == (before, ["r1"])


def test_downtime_is_allowed(tight, guard):
    tight.may_stop_routed = True
    result = guard("r2", allow_downtime=True)
    assert promoted(tight, "r2", result)
    assert tight.events.index(("stop", "r1")) < tight.events.index(("start", "r2"))
    # There is nothing to be compared with.
    assert "baseline" not in [line["kind"] for line in tight.told("r2")]


def test_downtime_was_allowed_and_the_new_release_does_not_come_up(tight, guard):
    tight.may_stop_routed, tight["r2"].ready = True, 503
    result = guard("r2", allow_downtime=True)
    assert "Release r2 is not served. Release r1 goes on serving." in result["msg"]
    assert (tight.routed(), tight.up(), tight.is_clean()) == ("r1", ["r1"], True)


@pytest.mark.parametrize("error", [APIError("no"), EngineGone("no"), NotFound("no")])
def test_downtime_was_allowed_and_neither_comes_up(tight, guard, error):
    tight.may_stop_routed, tight["r2"].ready = True, 503
    if isinstance(error, NotFound):
        tight.at_phase("staged", lambda: tight.containers.pop("sixty-api-r1"))
    else:
        tight.fails["start", "sixty-api-r1"] = error
    result = guard("r2", allow_downtime=True)
    assert "Release r1 was stopped first and could not be started again" in result["msg"]
    assert "The route names release r1, but nginx answers as no release." in result["msg"]
    assert "THE ROUTE STILL NAMES" not in result["msg"]
    assert (tight.routed(), tight.up()) == ("r1", [])


@pytest.mark.parametrize("resumed", [False, True])
def test_back_where_there_is_room_for_one(tight, guard, resumed):
    tight.may_stop_routed = True
    if resumed:
        tight.at_phase("watching", Killed)
        with pytest.raises(Killed):
            guard("r2", allow_downtime=True)
        tight.at_phase("watching", lambda: vars(tight["r2"]).update(ready=503), 2)
    else:
        tight.at_phase("watching", lambda: vars(tight["r2"]).update(ready=503))
    assert rolled_back(tight, guard("r2", allow_downtime=True), "health")
    assert tight.events.index(("stop", "r2")) < tight.events.index(("start", "r1"))


def test_back_where_there_is_room_for_one_and_the_old_does_not_come_up(tight, guard):
    """The bad one is started again."""
    tight.may_stop_routed = True

    def lose():
        tight["r1"].ready, tight["r2"].ready = 503, 503

    tight.at_phase("watching", lose)
    result = guard("r2", allow_downtime=True)
    assert "could not be put back" in result["msg"]
    assert result["msg"].endswith("Release r2 is served now.")
    assert (tight.routed(), tight.up()) == ("r2", ["r2"])


@pytest.mark.parametrize("action", ["stage", "verify"])
def test_what_is_only_staged_stops_nothing(tight, switch, action):
    result = switch("r2", action=action, allow_downtime=True)
    assert "does not fit beside what runs" in result["msg"]
    assert tight.up() == ["r1"]


def test_a_served_release_that_is_down_is_not_waited_for(first, guard):
    """Nobody is served while the baseline is taken."""
    first["r1"].up = False
    asked = []
    answers = first.answer
    first.answer = lambda server, path: asked.append(server) or answers(server, path)
    first.at_phase("routed", asked.clear)
    first.at_phase("healthy", asked.clear)
    first.at_phase("routed", lambda: asked.append("routed"))
    assert promoted(first, "r2", guard("r2", latency_samples=500))
    assert asked[: asked.index("routed")].count(SLOTS["blue"]) == 3


def test_another_one_has_the_address_of_the_served_release(first, guard, switch):
    """The served one was stopped, and somebody started a release that had its slot before."""
    assert promoted(first, "r2", guard("r2"))
    first.prepare("r3")
    assert promoted(first, "r3", guard("r3"))
    assert first["r3"].address == first["r1"].address
    first["r3"].up = False
    first["r1"].start()
    assert not switch("r3")["failed"]
    assert (first.routed(), first.up()) == ("r3", ["r3"])


# -- drift


@pytest.mark.parametrize(
    ("meddle", "says"),
    [
        ("stopped", "The container of the routed release r1 does not run."),
        ("removed", "The container or the bundle of the routed release r1 is gone."),
        ("state", "state.json is missing or empty"),
        ("moved", "The records say that release r1 is routed in slot blue, but the route names release r0"),
    ],
)
def test_drift_is_told_and_taken_as_it_is(first, guard, switch, monkeypatch, meddle, says):
    first.prepare("r0")
    if meddle == "stopped":
        first["r1"].up = False
    elif meddle == "removed":
        del first.containers["sixty-api-r1"]
    elif meddle == "state":
        (first.root / "state.json").unlink()
    else:
        (first.root / "route" / "active").unlink()
        (first.root / "route" / "active").symlink_to("slots/green/r0")
    result = guard("r2")
    assert any(says in text for text in result["warnings"])
    assert promoted(first, "r2", result)
    assert first.state()["active"]["release"] == "r2"


# -- the other actions of blue_green


def test_stage_and_verify(first, switch):
    result = switch("r2", action="stage")
    assert (result["due"], first.routed(), first.up()) == (["stage", "start"], "r1", ["r1", "r2"])
    assert (first.root / "route" / "slots" / "green" / "r2" / "www" / "index.html").exists()
    first["r2"].ready = 503
    result = switch("r2", action="verify")
    assert "Release r2 is not served. Release r1 goes on serving." in result["msg"]
    assert (first.routed(), first.up()) == ("r1", ["r1"])
    first["r2"].ready = 200
    assert switch("r2", action="verify")["due"] == ["stage", "start", "verify"]
    # It is warm now.
    result = switch("r2")
    assert result["due"] == ["verify", "route", "read_back", "retire"]
    assert (first.routed(), first.up()) == ("r2", ["r2"])


def test_check(first, switch):
    assert not switch("r2", action="check")["failed"]
    assert "exists already and is made of something else" in switch("r1", action="check", manifest="other")["msg"]
    # It needs no engine.
    first.engine_error = EngineGone("no")
    assert not switch("r2", action="check")["failed"]
    (first.root / "state.json").write_text("{", encoding="utf-8")
    assert "is not what this module wrote" in switch("r2", action="check")["msg"]


@pytest.fixture
def migrate(first, switch, monkeypatch):
    """Runs the migrations of a release in a container of their own."""

    def run(release, outcome=0, check=False, **more):
        name = f"sixty-migrate-{release}"
        first.containers[name] = Container(first, name)
        first.containers[name].outcome = outcome
        return switch(release, action="migrate", container=name, check=check, **more)

    return run


def test_migrations_run_once(first, migrate, switch):
    assert switch("r2", action="status")["migrated"] is False
    result = migrate("r2", backup="/srv/sixty/backups/r2.dump", contract=True)
    assert (result["failed"], result["changed"], result["migrated"]) == (False, True, True)
    assert result["output"] == "listening\nno memory left \ufffd"
    assert "sixty-migrate-r2" not in first.containers
    record = first.state()["releases"]["r2"]
    assert {"manifest": "m-r2", "contract": True, "backup": "/srv/sixty/backups/r2.dump"}.items() <= record.items()
    first.events.clear()
    again = migrate("r2")
    assert (again["changed"], again["migrated"], first.events) == (False, True, [])
    assert switch("r2", action="status")["migrated"] is True
    # Another release of the same name, that was never served, has others.
    assert migrate("r2", manifest="other")["changed"]
    # A served one's were run, whatever is on record.
    assert not migrate("r1")["changed"]


def test_migrations_in_check_mode(first, migrate):
    before = snapshot(first.root)
    assert migrate("r2", check=True)["changed"]
    assert (snapshot(first.root), first.events) == (before, [])


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (1, "its migrations ended with exit code 1. Their last words:\n    listening\n    no memory left"),
        (137, "ended with exit code 137 (SIGKILL, most likely for memory: the limit is 384 MB)"),
        (EngineGone("timed out"), "went on for 5 s and were stopped"),
    ],
)
def test_migrations_that_fail(first, migrate, switch, guard, outcome, says):
    result = migrate("r2", outcome, migrate_timeout=5)
    assert says in result["msg"]
    assert "Release r2 is not served:" in result["msg"]
    assert "Release r1 goes on serving. Mend them and deploy again." in result["msg"]
    assert "sixty-migrate-r2" not in first.containers
    assert first.journal()[-1]["event"] == "failed"
    assert (first.routed(), first.up()) == ("r1", ["r1"])
    assert states(switch)["r2"] == "failed"
    assert switch("r2", action="status")["migrated"] is False
    assert migrate("r2")["changed"]
    assert promoted(first, "r2", guard("r2"))


def test_no_migrations(first, switch):
    assert switch("r2", action="migrate")["migrated"]
    assert "migrated" in first.state()["releases"]["r2"]


def test_a_rollback_across_a_contract_migration(first, migrate, guard, back, switch):
    assert not migrate("r2", contract=True, backup="/b/r2.dump")["failed"]
    assert promoted(first, "r2", guard("r2"))
    result = back()
    assert "Release r1 may not work with the database any more: r2 ran contract migrations since" in result["msg"]
    assert "the database before them is in /b/r2.dump" in result["msg"]
    assert (first.routed(), first.up()) == ("r2", ["r2"])
    # To one that was made after them it is no question.
    first.prepare("r3")
    assert promoted(first, "r3", guard("r3"))
    assert back()["active"]["release"] == "r2"
    assert back("r1", force=True)["active"]["release"] == "r1"


# -- what is removed


def test_what_is_beyond_the_disk_budget(first, guard):
    for release in ("r2", "r3", "r4"):
        if release != "r2":
            first.prepare(release)
        assert promoted(first, release, guard(release))
    assert sorted(first.state()["releases"]) == ["r1", "r2", "r3", "r4"]
    size = host.size_of(first.root / "releases" / "r4")
    # Two of them fit; the one served before stays whatever it takes.
    first.prepare("r5")
    assert promoted(first, "r5", guard("r5", disk_budget=2 * size))
    assert sorted(first.state()["releases"]) == ["r4", "r5"]
    first.prepare("r6")
    assert promoted(first, "r6", guard("r6", disk_budget=1))
    assert sorted(first.state()["releases"]) == ["r5", "r6"]
    assert sorted(path.name for path in (first.root / "watch").iterdir()) == ["r5.jsonl", "r6.jsonl"]


def test_images_go_with_their_release(first, guard):
    assert promoted(first, "r2", guard("r2", keep=0))
    assert first.events[-1] == ("remove image", "sha256:1")
    # The engine refuses while another container has it.
    first.fails["remove image", "sha256:1"] = APIError("conflict")
    first.prepare("r3")
    assert promoted(first, "r3", guard("r3", keep=0))


def test_what_is_on_no_record(first, guard):
    """It goes when it was there before the deploy began; what was made since is that of the next one."""
    first.prepare("old", "new", "up")
    for name in ("old", "up"):
        for path in (first.root / "releases" / name, first.root / "config" / f"api-{name}"):
            os.utime(path, (1, 1))
    (first.root / "releases" / "not a release").mkdir()
    os.utime(first.root / "releases" / "not a release", (1, 1))
    assert promoted(first, "r2", guard("r2"))
    assert "sixty-api-old" not in first.containers
    assert sorted(os.listdir(first.root / "releases")) == ["new", "not a release", "r1", "r2"]
    assert sorted(os.listdir(first.root / "config")) == ["api-new", "api-r1", "api-r2"]


def test_assets_of_releases_that_are_gone(first, guard):
    pool = first.root / "route" / "pool" / "assets"
    for age, name in enumerate(("newest", "older", "oldest")):
        (pool / f"{name}-12345678.js").write_bytes(b"x" * 100)
        os.utime(pool / f"{name}-12345678.js", (1000 - age, 1000 - age))
    assert promoted(first, "r2", guard("r2", asset_budget=200))
    assert sorted(path.name for path in pool.iterdir()) == [
        *("index-r1234567.js", "index-r2234567.js", "newest-12345678.js", "older-12345678.js")
    ]
