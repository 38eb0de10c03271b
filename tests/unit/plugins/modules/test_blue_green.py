# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole switch on a real directory and over real HTTP; only the engine is a stand-in (release_world.py)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import threading
from collections import Counter

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import blue_green_host as host
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_records
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import blue_green
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.release_world import (
    NGINX,
    SLOTS,
    snapshot,
)
from docker.errors import APIError
from requests.exceptions import ConnectionError as EngineGone


def test_the_first_release(world, switch):
    world.prepare("r1")
    result = switch("r1")
    assert (result["failed"], result["changed"]) == (False, True)
    assert result["active"] == {"slot": "blue", "release": "r1"}
    assert (result["previous"], world.link(), world.up()) == (None, "slots/blue/r1", ["r1"])
    assert result["diff"] == {"before": "served release: none\n", "after": "served release: r1\n"}
    state = world.state()
    assert state["active"] == {"slot": "blue", "release": "r1"}
    assert state["releases"]["r1"]["manifest"] == "m-r1"
    assert [line["event"] for line in world.journal()] == ["switched"]
    # Hard links; what has no hash in its name is not shared; readable for nginx whatever the umask was.
    bundle, www = world.root / "releases" / "r1" / "current", world.root / "route" / "active" / "www"
    assert (www / "index.html").samefile(bundle / "index.html")
    pool = world.root / "route" / "pool" / "assets"
    assert sorted(path.name for path in pool.iterdir()) == ["index-r1234567.js"]
    for folder in (pool, pool.parent, *(www.resolve().parents[level] for level in range(3))):
        assert folder.stat().st_mode & 0o005 == 0o005, folder


def test_returns_what_it_documents(world, switch):
    world.prepare("r1")
    returned = {**switch("r1"), **switch(None, action="list"), **switch(None, action="unlock")}
    returned.update(switch("r1", action="migrate"))
    world.prepare("r2")
    world.kernel["/proc/meminfo"] = "MemAvailable:   99999999 kB\n"
    returned.update(switch("r2", action="status"))
    assert set(returned) - {"failed", "changed", "diff"} == set(yaml.safe_load(blue_green.RETURN))


def test_the_next_release_and_back(served, switch):
    result = switch("r2")
    assert result["due"] == ["stage", "start", "verify", "route", "read_back", "retire"]
    assert (served.link(), served.up(), result["previous"]) == ("slots/green/r2", ["r2"], "r1")
    assert served.events.index(("start", "r2")) < served.events.index(("stop", "r1"))
    assert served["r2"].address == SLOTS["green"]
    # Pages of r1 still find their assets.
    assert (served.root / "route" / "pool" / "assets" / "index-r1234567.js").exists()
    result = switch("r1")
    assert (served.link(), served.up(), result["previous"]) == ("slots/blue/r1", ["r1"], "r2")
    # A third switch in the same direction: r3 takes the slot of r2.
    served.prepare("r3")
    switch("r3")
    assert sorted(os.listdir(served.root / "route" / "slots" / "green")) == ["r3"]


def test_a_release_comes_back_in_the_other_slot(served, switch):
    switch("r2")
    served.prepare("r3")
    switch("r3")
    # r1 was blue, and blue is r3's now.
    assert (switch("r1")["active"], served["r1"].address) == ({"slot": "green", "release": "r1"}, SLOTS["green"])
    assert ("disconnect", "r1") in served.events


def test_nothing_is_due(served, switch):
    before = snapshot(served.root)
    result = switch("r1")
    assert (result["changed"], result["due"], served.events) == (False, [], [])
    assert snapshot(served.root) == before


@pytest.mark.parametrize("arguments", [{"check": True}, {"action": "status"}])
def test_what_is_due_is_only_said(served, switch, arguments):
    before = snapshot(served.root)
    result = switch("r2", **arguments)
    assert result["due"] == ["stage", "start", "verify", "route", "read_back", "retire"]
    assert result["changed"] is ("check" in arguments)
    assert result["active"] == {"slot": "blue", "release": "r1"}
    looked = [event for event in served.events if event[0] != "get"]
    assert (snapshot(served.root), looked, served.up()) == (before, [], ["r1"])


def test_check_mode_on_a_bare_host(world, switch):
    result = switch("r1", check=True, root=str(world.root / "nothing"))
    assert (result["failed"], result["changed"]) == (False, True)
    assert not (world.root / "nothing").exists()


def test_the_served_release_was_stopped(served, switch):
    served["r1"].up = False
    result = switch("r1")
    assert (result["due"], served.up()) == (["start", "verify", "read_back"], ["r1"])
    assert served.journal()[-1]["event"] == "restored"


def test_the_served_release_does_not_come_back(served, switch):
    served["r1"].up, served["r1"].ready = False, 503
    result = switch("r1")
    assert "It is the routed release, so it was left as it is." in result["msg"]
    assert "HTTP 503 from release r1" in result["msg"]
    # It was started, and what is routed is never stopped.
    assert (served.link(), served.up()) == ("slots/blue/r1", ["r1"])


def test_an_error_of_nginx_does_not_count_as_served(served, switch):
    """nginx writes the routed release on its own 502."""
    served["r1"].status_code = 502
    result = switch("r1")
    assert result["failed"]
    assert "/api/release: HTTP 502, release r1" in result["msg"]


def test_the_bundle_of_the_served_release_is_gone(served, switch):
    shutil.rmtree(served.root / "route" / "slots" / "blue")
    assert switch("r1")["due"] == ["stage", "read_back"]
    assert (served.root / "route" / "active" / "www" / "index.html").exists()


@pytest.fixture
def asked(served):
    """Counts what the slots are asked; C(bad) are the (slot, path) that answer 500."""
    counted, bad, answers = Counter(), set(), served.answer

    def answer(server, path):
        slot = next((name for name, address in SLOTS.items() if address == server), "nginx")
        counted[slot, path, served.routed()] += 1
        return (500, None, None) if (slot, path) in bad else answers(server, path)

    served.answer = answer
    return counted, bad


WARM = {"warm_up": 30, "warm_up_paths": ["/a", "/b"]}


def test_a_standby_is_warmed_up_before_it_is_routed(asked, switch):
    counted, _bad = asked
    assert not switch("r2", **WARM)["failed"]
    assert (counted["green", "/a", "r1"], counted["green", "/b", "r1"]) == (15, 15)
    assert not [key for key in counted if key[0] == "green" and key[2] == "r2" and key[1] in ("/a", "/b")]


def test_one_that_answers_with_nothing_but_errors_is_not_routed(asked, served, switch):
    _counted, bad = asked
    bad.add(("green", "/b"))
    result = switch("r2", **WARM)
    assert "sixty-api-r2 is ready, but all its answers are errors at /b: HTTP 500." in result["msg"]
    assert OLD_SERVES in result["msg"] and still_r1(served)
    # What the served release cannot do either is no reason.
    bad.add(("blue", "/b"))
    assert not switch("r2", **WARM)["failed"]


def test_no_warming_up_where_it_would_cost_time(asked, switch):
    counted, _bad = asked
    assert not switch("r2", **{**WARM, "warm_up": 0})["failed"]
    assert not switch(None, action="rollback", manifest=None, **WARM)["failed"]
    assert not [key for key in counted if key[1] in ("/a", "/b")]


OLD_SERVES = "Release r2 is not served. Release r1 goes on serving."


def still_r1(world):
    return (world.link(), world.up(), world.routed()) == ("slots/blue/r1", ["r1"], "r1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ready": 503}, "sixty-api-r2 runs, but did not become ready."),
        ({"says": "r9"}, "HTTP 200 from release r9"),
        ({"says": None}, "HTTP 200 from release (no X-Release)"),
        ({"ready": 503, "states": [{"ExitCode": 78, "Running": False}]}, "sixty-api-r2 ended with exit code 78."),
        ({"ready": 503}, "no memory left"),
    ],
)
def test_not_ready(served, switch, change, says):
    vars(served["r2"]).update(change)
    result = switch("r2")
    assert result["failed"]
    assert OLD_SERVES in result["msg"]
    assert says in result["msg"]
    served["r2"].says = "r2"
    assert still_r1(served)
    last = served.journal()[-1]
    assert (last["event"], last["release"]) == ("failed", "r2")
    # The next attempt finds nothing in its way.
    vars(served["r2"]).update(ready=200, says="r2", states=[])
    assert not switch("r2")["failed"]
    assert served.up() == ["r2"]


def test_the_reason_of_a_restart_is_remembered(served, switch):
    """A container that is up again has forgotten its exit code."""
    killed = {"Restarting": True, "Running": True, "ExitCode": 137}
    bad, answers = served["r2"], served.answer
    bad.ready, bad.states = 503, [{}, {}, {}, {}, {}, killed, {"Running": True}]

    def restarting(server, path):
        bad.restarts += server == SLOTS["green"]
        return answers(server, path)

    served.answer = restarting
    result = switch("r2", ready_timeout=20)
    assert "killed with SIGKILL, most likely for memory: its limit is 384 MB" in result["msg"]
    assert bad.restarts == 3
    assert still_r1(served)


def test_a_reason_that_was_missed_is_waited_for(served, switch):
    """An unanswered request takes seconds, and meanwhile the container is restarted."""
    bad, answers = served["r2"], served.answer
    bad.ready, bad.states = 503, [{}] * 9 + [{"Restarting": True, "ExitCode": 7}]

    def restarting(server, path):
        bad.restarts += 3 * (server == SLOTS["green"])
        return answers(server, path)

    served.answer = restarting
    assert "sixty-api-r2 ended with exit code 7 and was restarted 3 times." in switch("r2")["msg"]


def test_restarts_of_earlier_days_do_not_count(served, switch):
    served["r2"].restarts, served["r2"].up = 7, True
    served["r2"].networks["sixty-app"] = {"IPAMConfig": {"IPv4Address": SLOTS["green"]}}
    left = [503, 503, 503]
    answers = served.answer
    served.answer = lambda server, path: (
        (left.pop(), "r2", None) if left and server == SLOTS["green"] else answers(server, path)
    )
    assert not switch("r2", ready_timeout=10)["failed"]


def test_the_read_back_fails(served, switch, broken):
    """nginx goes on with what it had; the route is put back before the new container is stopped."""
    order = []
    rename = os.replace

    def replace(source, target):
        rename(source, target)
        if target.endswith("active"):
            order.append(served.link())

    served.nginx_answers = lambda path: (200, "r1", None)
    broken.setattr(host.os, "replace", replace)
    result = switch("r2")
    assert OLD_SERVES in result["msg"]
    assert "did not answer as release r2. Last answer of /: HTTP 200, release r1" in result["msg"]
    assert order == ["slots/green/r2", "slots/blue/r1"]
    assert still_r1(served)
    assert served.events[-1] == ("stop", "r2")


def test_the_read_back_fails_and_so_does_nginx(served, switch):
    served.nginx_answers = lambda path: (500, "r1", None)
    result = switch("r2")
    assert "The route names release r1, but nginx answers as no release." in result["msg"]
    assert still_r1(served)


def test_the_read_back_of_the_first_release_fails(world, switch):
    world.prepare("r1")
    world["r1"].status_code = 500
    result = switch("r1")
    assert "Release r1 is not served. Nothing was served before." in result["msg"]
    assert (world.link(), world.up()) == (None, [])


def test_a_redirect_to_the_same_host_is_followed(served, switch):
    """With TLS, nginx answers every plain request itself, with the routed release on it."""
    plain, answers = f"http://{NGINX}:{served.port}", served.answer

    def redirect(path):
        if path.startswith("/tls"):
            served.nginx_answers = None
            try:
                return answers(NGINX, path[4:])
            finally:
                served.nginx_answers = redirect
        return 308, "r1", f"{plain}/tls{path}"

    served.nginx_answers = redirect
    assert switch("r1")["due"] == []
    assert not switch("r2")["failed"]
    served["r2"].status_code = 500
    assert switch("r2")["failed"]


@pytest.mark.parametrize("location", ["http://127.0.0.9:1/", None])
def test_a_redirect_elsewhere_is_no_answer(served, switch, location):
    served.nginx_answers = lambda path: (308, "r2", location)
    result = switch("r2")
    assert "HTTP 308, release r2" in result["msg"]
    assert still_r1(served)


def test_the_query_of_a_path_is_sent(served, switch):
    asked = []
    answers = served.answer

    def answer(server, path):
        asked.append(path)
        return answers(server, path)

    served.answer = answer
    switch("r2", health_path="/health/ready?deep=1")
    assert "/health/ready?deep=1" in asked


DISK_FULL = OSError(errno.ENOSPC, "No space left on device")


def test_the_disk_is_full_while_staging(served, switch, broken):
    def full(*_arguments):
        raise DISK_FULL

    broken.setattr(host.os, "link", full)
    result = switch("r2")
    assert OLD_SERVES in result["msg"]
    target = served.root / "route" / "slots" / "green" / "r2"
    assert f"could not be staged in {target}: [Errno 28] No space left on device" in result["msg"]
    assert still_r1(served)
    assert not target.exists()
    broken.undo()
    assert not switch("r2")["failed"]


def test_the_disk_is_full_for_everything(served, switch, monkeypatch):
    """The journal cannot be written either, and the message comes all the same."""

    def full(*_arguments, **_more):
        raise DISK_FULL

    monkeypatch.setattr(host.os, "link", full)
    monkeypatch.setattr(release_records.Records, "journal", full)
    result = switch("r2")
    assert OLD_SERVES in result["msg"]
    assert "That could not be put on record ([Errno 28] No space left on device)." in result["msg"]


def test_a_bundle_without_a_page(served, switch):
    (served.root / "releases" / "r2" / "current" / "index.html").unlink()
    result = switch("r2")
    assert OLD_SERVES in result["msg"]
    assert "The frontend bundle of release r2 has no index.html" in result["msg"]
    assert still_r1(served)


def test_a_run_that_was_killed_while_staging(served, switch):
    """Half a bundle never has a release's name, so it is made anew."""
    part = served.root / "route" / "slots" / "green" / ".part" / "www"
    part.mkdir(parents=True)
    (part / "index.html").write_text("half", encoding="utf-8")
    assert not switch("r2")["failed"]
    assert sorted(os.listdir(served.root / "route" / "slots" / "green")) == ["r2"]


def test_there_is_no_container(served, switch):
    del served.containers["sixty-api-r2"]
    result = switch("r2")
    assert OLD_SERVES in result["msg"]
    assert "There is no container sixty-api-r2; roles/container makes it." in result["msg"]
    assert still_r1(served)


@pytest.mark.parametrize("action", ["start", "connect"])
@pytest.mark.parametrize("error", [APIError("no"), EngineGone("no"), ConnectionResetError("no")])
def test_the_engine_refuses(served, switch, action, error):
    served.fails[action, "sixty-api-r2"] = error
    result = switch("r2")
    assert OLD_SERVES in result["msg"]
    assert result["msg"].endswith("\n  no")
    assert still_r1(served)


def test_the_engine_goes_away(served, switch):
    """Nothing can be stopped then, and the message comes all the same."""
    served["r2"].ready = 503
    served.fails["stop", "sixty-api-r2"] = EngineGone("the engine is gone")
    result = switch("r2")
    assert OLD_SERVES in result["msg"]
    assert "sixty-api-r2 could not be stopped (the engine is gone)" in result["msg"]
    assert served.link() == "slots/blue/r1"
    # The next switch, to another release, stops it before anything else takes the address.
    served.fails.clear()
    served.prepare("r3")
    assert not switch("r3")["failed"]
    assert served.up() == ["r3"]


def test_the_route_cannot_be_put_back(served, switch, monkeypatch):
    """What is routed is not stopped, and the message says what to do."""
    point = host.Switch.point

    def once(self, text):
        if text != "slots/green/r2":
            raise DISK_FULL
        point(self, text)

    monkeypatch.setattr(host.Switch, "point", once)
    served.nginx_answers = lambda path: (500, None, None)
    result = switch("r2")
    assert "THE ROUTE STILL NAMES IT and could not be put back" in result["msg"]
    assert f"ln -sfn slots/blue/r1 {served.root}/route/active" in result["msg"]
    assert (served.link(), served.up()) == ("slots/green/r2", ["r1", "r2"])


@pytest.mark.parametrize(
    ("place", "error"),
    [("record", DISK_FULL), ("retire", APIError("no")), ("prune", EngineGone("no"))],
)
def test_what_follows_the_switch_fails(served, switch, broken, place, error):
    """The new release serves; the message must not say otherwise, and the next run finishes."""

    def fail(*_arguments, **_more):
        raise error

    if place == "retire":
        # Leftovers are stopped before; there are none here.
        broken.setattr(host.Switch, place, lambda self, names: fail() if names else None)
    else:
        broken.setattr(host.Switch, place, fail)
    result = switch("r2")
    assert "Release r2 is served, but what follows a switch" in result["msg"]
    assert served.link() == "slots/green/r2"
    broken.undo()
    assert not switch("r2")["failed"]
    assert served.up() == ["r2"]
    assert served.state()["active"] == {"slot": "green", "release": "r2"}
    assert set(served.state()["releases"]) == {"r1", "r2"}


def test_a_run_that_was_killed_after_the_rename(served, switch):
    """It is read back, put on record, and the old one is stopped."""
    served["r2"].networks["sixty-app"] = {"IPAMConfig": {"IPv4Address": SLOTS["green"]}}
    served["r2"].up = True
    shutil.copytree(
        served.root / "releases" / "r2" / "current", served.root / "route" / "slots" / "green" / "r2" / "www"
    )
    (served.root / "route" / "active").unlink()
    (served.root / "route" / "active").symlink_to("slots/green/r2")
    assert switch("r2")["due"] == ["read_back", "retire"]
    assert (served.up(), served.state()["active"]["release"]) == (["r2"], "r2")


def test_the_lock_is_held(served, switch):
    handle = os.open(served.root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        result = switch("r2")
    finally:
        os.close(handle)
    assert "Another switch of this stack is under way. Nothing was changed; wait for it" in result["msg"]
    assert served.events == []
    assert not switch("r2")["failed"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"releases": []}', '{"releases": {"r1": {}}}', '{"releases": {"r1": 5}}', "\xff"],
)
def test_the_state_is_broken(served, switch, text):
    path = served.root / "state.json"
    path.write_text(text, encoding="latin-1")
    result = switch("r2")
    assert f"{path} is not what this module wrote" in result["msg"]
    assert "Move it away" in result["msg"]
    assert still_r1(served)
    # As the message says.
    path.unlink()
    assert switch("r1")["due"] == ["read_back"]
    assert served.state()["releases"]["r1"]["manifest"] == "m-r1"


def test_the_state_cannot_be_read(served, switch):
    (served.root / "state.json").unlink()
    (served.root / "state.json").mkdir()
    result = switch("r2")
    assert "Is a directory" in result["msg"]
    assert still_r1(served)


@pytest.mark.parametrize("link", ["/srv/elsewhere", "slots/red/r1", None])
def test_the_route_is_none_of_ours(served, switch, link):
    """nginx may follow it all the same, so nothing may be stopped."""
    active = served.root / "route" / "active"
    active.unlink()
    if link:
        active.symlink_to(link)
    else:
        active.mkdir()
    result = switch("r2")
    assert "Nothing was changed" in result["msg"]
    assert "ln -sfn slots/<slot>/<release id>" in result["msg"]
    assert (served.up(), served.events) == (["r1"], [])


def test_a_release_that_was_never_served_may_change(served, switch):
    served["r2"].ready = 503
    assert switch("r2")["failed"]
    served["r2"].ready = 200
    assert not switch("r2", manifest="mended")["failed"]
    assert served.state()["releases"]["r2"]["manifest"] == "mended"
    assert "made of something else" in switch("r2")["msg"]


def test_a_release_never_changes(served, switch):
    result = switch("r1", manifest="other")
    assert "Release r1 exists already and is made of something else" in result["msg"]
    assert served.events == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"release": "../r"}, "cannot be a release id"),
        ({"slots": {"red": "127.0.0.2"}}, "slots has to give blue and green"),
        ({"url": "localhost"}, "url has to be like"),
        ({"paths": []}, "paths needs one path"),
    ],
)
def test_bad_arguments(served, switch, arguments, says):
    result = switch(arguments.pop("release", "r2"), **arguments)
    assert says in result["msg"]
    assert served.events == []


def test_the_engine_does_not_answer(served, switch, monkeypatch):
    def refuse():
        raise blue_green.docker.errors.DockerException("connection refused")

    monkeypatch.setattr(blue_green.docker, "from_env", refuse)
    assert "The engine does not answer as it should: connection refused" in switch("r2")["msg"]


def test_prune(served, switch, monkeypatch):
    """Beside the served release, the last ones that were served are kept; r3 failed and was never served."""
    served.prepare("r6")
    moments = iter(range(100))

    class Clock(release_records.datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return cls(2100, 1, 1, 0, next(moments), tzinfo=zone)

    monkeypatch.setattr(release_records.datetime, "datetime", Clock)
    switch("r2", keep=2)
    served.prepare("r4")
    switch("r4", keep=2)
    served.prepare("r3")
    served["r3"].ready = 503
    assert switch("r3", keep=2)["failed"]
    assert sorted(served.containers) == [f"sixty-api-r{number}" for number in (1, 2, 3, 4, 6)]
    served.prepare("r5")
    switch("r5", keep=2)
    assert sorted(served.containers) == [f"sixty-api-r{number}" for number in (2, 4, 5, 6)]
    assert sorted(os.listdir(served.root / "releases")) == ["r2", "r4", "r5", "r6"]
    assert sorted(os.listdir(served.root / "config")) == ["api-r2", "api-r4", "api-r5", "api-r6"]
    assert sorted(served.state()["releases"]) == ["r2", "r4", "r5"]
    assert sorted(line["pruned"] for line in served.journal() if line["event"] == "pruned") == ["r1", "r3"]
    # The served one stays, whatever is kept, and so does one that is only prepared.
    switch("r4", keep=0)
    assert sorted(served.containers) == ["sixty-api-r4", "sixty-api-r6"]
    assert switch("r4", keep=0)["due"] == []


def test_secrets_that_cannot_be_removed_are_not_passed_over(served, switch, monkeypatch):
    remove = shutil.rmtree

    def refuse(path, **more):
        if "config" in str(path):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        return remove(path, **more)

    monkeypatch.setattr(host.shutil, "rmtree", refuse)
    result = switch("r2", keep=0)
    assert "Release r2 is served, but" in result["msg"]
    assert "config/api-r1" in result["msg"]


# -- back


@pytest.fixture
def back(switch):
    """Rolls back, to a release or to the one before."""

    def run(release=None, **more):
        return switch(release, action="rollback", manifest=None, **more)

    return run


@pytest.fixture
def bad(served, switch):
    """r2 is served in place of r1, and r0 was served before both."""
    served.prepare("r0")
    for release in ("r0", "r1", "r2"):
        assert not switch(release)["failed"]
    served.events.clear()
    return served


def states(switch):
    return {row["release"]: row["state"] for row in switch(None, action="list")["releases"]}


def test_back_to_the_release_before(bad, back):
    result = back(reason="orders fail")
    assert (result["failed"], result["changed"]) == (False, True)
    assert (result["previous"], result["active"]["release"], result["target"]) == ("r2", "r1", "r1")
    assert result["diff"] == {"before": "served release: r2\n", "after": "served release: r1\n"}
    assert (bad.routed(), bad.up()) == ("r1", ["r1"])
    assert bad.events.index(("start", "r1")) < bad.events.index(("stop", "r2"))
    last = bad.journal()[-1]
    assert {key: last[key] for key in ("event", "release", "from", "to", "reason")} == {
        **{"event": "rolled_back", "release": "r1", "from": "r2", "to": "r1", "reason": "orders fail"}
    }
    assert last["seconds"] == result["seconds"]
    # A page of the release is the one that was staged again.
    assert (bad.root / "route/active/www/index.html").read_text(encoding="utf-8") == "r1"
    assert bad.state()["releases"]["r1"]["manifest"] == "m-r1"


def test_a_second_rollback_changes_nothing(bad, back):
    back()
    before = snapshot(bad.root)
    bad.events.clear()
    result = back()
    assert (result["failed"], result["changed"], result["due"], result["target"]) == (False, False, [], "r1")
    assert {event for event, _name in bad.events} == set()
    assert snapshot(bad.root) == before


def test_an_automatic_rollback_leaves_only_what_it_was_decided_for(bad, back):
    assert not back(leaving="r2")["failed"]
    assert bad.routed() == "r1"
    before = snapshot(bad.root)
    late = back(leaving="r2")
    assert late["failed"] and "Release r1 is routed, no longer r2. Nothing was changed." in late["msg"]
    assert snapshot(bad.root) == before


def test_an_automatic_rollback_ends_no_deploy(bad, back):
    records = release_records.Records(str(bad.root))
    records.begin({"release": "r3", "phase": "staged", "previous": None}, "ann@box")
    early = back(leaving="r2")
    assert early["failed"] and "Another deploy is under way: release r3 is staged, by ann@box" in early["msg"]
    assert bad.routed() == "r2" and records.holder()["alive"]


def test_a_second_rollback_mends_what_is_served(bad, back):
    back()
    bad["r1"].up = False
    assert back()["due"] == ["start", "verify", "read_back"]
    assert (bad.up(), bad.journal()[-1]["event"]) == (["r1"], "restored")
    # It is still the release that is served because of the rollback.
    assert back()["due"] == []


def test_a_release_that_was_rolled_back_from_is_gone_back_to_by_name_only(bad, back, switch):
    back()
    assert states(switch) == {"r1": "served", "r2": "rolled back", "r0": "kept cold"}
    assert back("r2")["active"]["release"] == "r2"
    # That undid the rollback, and nothing speaks against r1.
    assert states(switch) == {"r2": "served", "r1": "kept cold", "r0": "kept cold"}
    assert back()["active"]["release"] == "r1"


def test_a_deploy_after_a_rollback_can_be_rolled_back(bad, back, switch):
    back()
    bad.prepare("r3")
    switch("r3")
    assert back()["active"]["release"] == "r1"
    assert states(switch)["r3"] == "rolled back"


def test_back_to_a_named_release(bad, back):
    assert back("r0")["active"]["release"] == "r0"
    assert (bad.routed(), bad.up()) == ("r0", ["r0"])


def test_a_warm_release_is_neither_staged_nor_started(bad, back, switch):
    bad["r1"].up = True
    assert states(switch)["r1"] == "kept warm"
    result = back()
    assert result["due"] == ["verify", "route", "read_back", "retire"]
    assert (bad.up(), [event for event in bad.events if event[1] == "r1" and event[0] != "get"]) == (["r1"], [])


def test_a_release_that_runs_at_another_address_is_not_warm(bad, back):
    bad["r1"].up = True
    bad["r1"].networks["sixty-app"] = {"IPAMConfig": {"IPv4Address": "127.0.0.9"}}
    assert back()["due"][0] == "stage"


@pytest.mark.parametrize("lost", ["container", "bundle"])
def test_back_to_a_release_that_is_not_kept(bad, back, lost):
    if lost == "container":
        del bad.containers["sixty-api-r1"]
    else:
        shutil.rmtree(bad.root / "releases" / "r1")
    result = back("r1")
    assert "Release r1 is not kept on this host" in result["msg"]
    assert "Release r2 is routed. One can go to (-e release_id=<id>): r0 (kept cold, last served 20" in result["msg"]
    assert (bad.events, bad.routed()) == ([], "r2")
    # Without a name it is passed over.
    assert back()["active"]["release"] == "r0"


def test_there_is_nothing_to_go_back_to(served, back):
    del served.containers["sixty-api-r2"]
    result = back()
    assert "There is no release to go back to from r1. Nothing was changed." in result["msg"]
    assert "No other release is kept on this host." in result["msg"]
    assert still_r1(served)


def test_the_release_before_does_not_come_up(bad, back):
    bad["r1"].ready = 503
    result = back()
    assert "Release r1 is not served. Release r2 goes on serving." in result["msg"]
    assert "sixty-api-r1 runs, but did not become ready." in result["msg"]
    assert "One can go to (-e release_id=<id>): r1 (kept cold" in result["msg"]
    assert (bad.routed(), bad.up()) == ("r2", ["r2"])


def test_a_rollback_in_check_mode(bad, back):
    before = snapshot(bad.root)
    result = back(check=True)
    assert (result["changed"], result["target"], result["active"]["release"]) == (True, "r1", "r2")
    assert (snapshot(bad.root), bad.events, bad.up()) == (before, [], ["r2"])


@pytest.mark.parametrize("text", [None, "{", '{"releases": []}'])
def test_back_without_a_state(bad, back, switch, text):
    """The journal tells what was served before, and what was rolled back from."""
    path = bad.root / "state.json"
    path.unlink()
    if text:
        path.write_text(text, encoding="utf-8")
    assert back()["active"]["release"] == "r1"
    assert path.with_suffix(".json.broken").exists() is bool(text)
    assert bad.state()["releases"]["r1"]["manifest"] == "m-r1"
    path.unlink()
    assert back()["target"] == "r1"
    path.unlink()
    assert states(switch) == {"r1": "served", "r2": "rolled back", "r0": "kept cold"}


def test_back_without_any_record(bad, back, switch):
    """What is left is the engine's word on what was started last."""
    for name in ("state.json", "journal.jsonl"):
        (bad.root / name).unlink()
    bad.prepare("r9")
    assert back()["active"]["release"] == "r1"
    # The manifest is not known, so the next deploy of the release puts it on record.
    assert switch("r1")["due"] == ["read_back"]
    assert bad.state()["releases"]["r1"]["manifest"] == "m-r1"


def test_a_rollback_waits_for_a_switch(bad, back):
    handle = os.open(bad.root, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert "Another switch of this stack is under way" in back()["msg"]
        # The file that is closed lets the lock go.
        timer = threading.Timer(0.3, os.close, [handle])
        timer.start()
        assert back(lock_timeout=30)["active"]["release"] == "r1"
        timer.join()
    finally:
        with contextlib.suppress(OSError):
            os.close(handle)


def test_a_rollback_removes_nothing(bad, back):
    back(keep=0)
    assert sorted(bad.containers) == [f"sixty-api-r{number}" for number in range(3)]


def test_the_list_of_a_bare_host(world, switch):
    assert switch(None, action="list", root=str(world.root / "nothing"))["releases"] == []


def test_the_list_while_a_switch_is_under_way(served, switch):
    handle = os.open(served.root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        served["r2"].up = False
        assert states(switch) == {"r1": "served", "r2": "never served"}
    finally:
        os.close(handle)
