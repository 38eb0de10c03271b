# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of a blue-green switch, as tables and as properties."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release
from hypothesis import given
from hypothesis import strategies as st

ORDER = ["stage", "start", "verify", "route", "read_back", "retire"]
ALL = ORDER[:-1]


@pytest.mark.parametrize("name", ["r1", "R", "2026.11.3_rc-1", "a" * 48, "4f1c0d2a9b7e", "a..b"])
def test_release_id(name):
    assert release.check_release_id(name) is None
    for slot in release.SLOTS:
        assert release.parse_route(release.route_link(slot, name)) == (slot, name)


@pytest.mark.parametrize("name", ["", "-r1", ".r1", "..", "r/1", "r 1", "a" * 49, "r1\n", "r\x001", "caf\u00e9"])
def test_release_id_that_is_none(name):
    assert repr(name) in release.check_release_id(name)


@pytest.mark.parametrize(
    "link",
    [
        None,
        "",
        "slots/red/r1",
        "slots/blue",
        "slots/blue/",
        "slots/blue/r1/",
        "/route/slots/blue/r1",
        "slots/blue/../r1",
        "slots/blue/r1\n",
    ],
)
def test_route_that_is_none(link):
    assert release.parse_route(link) == (None, None)


def test_other_slot():
    assert [release.other_slot(slot) for slot in ("blue", "green", None)] == ["green", "blue", "blue"]


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("index-B4dq9_x2.js", True),
        ("index-B4dq9-x2.js.br", True),
        ("main.8f3a91c2.css.gz", True),
        ("index-B4dq9_x2.js.map", True),
        ("manifest.json", False),
        ("index.html", False),
        ("sw.js", False),
        ("logo-small.svg", False),
        ("index-B4dq9_x2", False),
    ],
)
def test_shared_asset(name, shared):
    assert release.is_shared_asset(name) is shared


USABLE = {
    "slots": {"blue": "10.60.3.11", "green": "10.60.3.12"},
    "url": "http://127.0.0.1:8080",
    "paths": ["/", "/api/release"],
    "health_path": "/health/ready",
    "successes": 3,
    "ready_timeout": 60,
    "read_back_timeout": 10,
    "drain_timeout": 0,
    "lock_timeout": 0,
    "keep": 0,
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"slots": {"blue": "a"}}, "blue and green"),
        ({"slots": {"blue": "a", "green": "b", "red": "c"}}, "blue and green"),
        ({"slots": {"blue": "a", "green": "a"}}, "an address each"),
        ({"url": "127.0.0.1"}, "url has to be like"),
        ({"url": "ftp://127.0.0.1"}, "url has to be like"),
        ({"url": "http://127.0.0.1:http"}, "url has to be like"),
        ({"url": "http://"}, "url has to be like"),
        ({"url": "http://127.0.0.1/"}, "without a slash"),
        ({"paths": []}, "one path at least"),
        ({"paths": ["api"]}, "begins with a slash"),
        ({"health_path": "ready"}, "begins with a slash"),
        ({"successes": 0}, "successes is 0, at least 1"),
        ({"keep": -1, "drain_timeout": -5}, "drain_timeout is -5, at least 0; keep is -1, at least 0"),
    ],
)
def test_arguments_that_cannot_be_used(change, says):
    assert release.check_arguments(USABLE) is None
    message = release.check_arguments({**USABLE, **change})
    assert says in message
    assert message.endswith("Nothing was changed.")


def seen(slot=None, name=None, running=(), staged=True, manifests=(), serving=None):
    return {
        "slot": slot,
        "release": name,
        "running": list(running),
        "staged": staged,
        "manifests": {made: f"m-{made}" for made in manifests},
        "serving": serving,
    }


BLUE_1 = {"slot": "blue", "name": "r1", "manifests": ["r1"], "serving": "r1"}


@pytest.mark.parametrize(
    ("wanted", "observed", "steps", "retire"),
    [
        # The first release, with and without something that nobody routed.
        ("r1", seen(staged=False), ALL, []),
        ("r1", seen(running=["r1"], staged=False), ALL, []),
        ("r1", seen(running=["r0"], staged=False), [*ALL, "retire"], ["r0"]),
        # Served as wanted.
        ("r1", seen(**BLUE_1, running=["r1"]), [], []),
        ("r1", seen(**BLUE_1, running=["r1", "r0"]), ["retire"], ["r0"]),
        # Routed, but something is amiss.
        ("r1", seen(**{**BLUE_1, "serving": None}), ["start", "verify", "read_back"], []),
        ("r1", seen(**{**BLUE_1, "serving": None}, running=["r1"]), ["start", "verify", "read_back"], []),
        ("r1", seen(**{**BLUE_1, "serving": "r0"}, running=["r1"]), ["start", "verify", "read_back"], []),
        ("r1", seen(**BLUE_1, running=["r1"], staged=False), ["stage", "read_back"], []),
        # Routed by a run that was killed before it recorded that.
        ("r2", seen("green", "r2", ["r1", "r2"], manifests=["r1"], serving="r2"), ["read_back", "retire"], ["r1"]),
        # The next release; rolled back to one that was there before; a leftover beside the served one.
        ("r2", seen(**BLUE_1, running=["r1"]), [*ALL, "retire"], ["r1"]),
        ("r2", seen(**BLUE_1, running=["r1", "r2"]), [*ALL, "retire"], ["r1"]),
        ("r0", seen(**{**BLUE_1, "manifests": ["r0", "r1"]}, running=["r1"]), [*ALL, "retire"], ["r1"]),
        ("r3", seen(**BLUE_1, running=["r2", "r1"]), [*ALL, "retire"], ["r2", "r1"]),
        # The served release is dead: nothing to stop.
        ("r2", seen(**{**BLUE_1, "serving": None}), ALL, []),
    ],
)
def test_plan(wanted, observed, steps, retire):
    assert release.plan(wanted, f"m-{wanted}", observed) == {"steps": steps, "retire": retire, "error": None}


def test_a_release_never_changes():
    plan = release.plan("r1", "m-other", seen(**BLUE_1, running=["r1"]))
    assert plan["steps"] == []
    assert "manifest m-r1, now m-other" in plan["error"]
    assert "choose another release_id" in plan["error"]


NAMES = st.sampled_from(["r1", "r2", "r3"])


@st.composite
def situations(draw):
    slot = draw(st.sampled_from([None, "blue", "green"]))
    return seen(
        slot,
        draw(NAMES) if slot else None,
        draw(st.lists(NAMES, unique=True)),
        bool(slot) and draw(st.booleans()),
        draw(st.sets(NAMES)),
        draw(st.none() | NAMES),
    )


@given(NAMES, situations())
def test_what_is_routed_is_never_stopped(wanted, observed):
    plan = release.plan(wanted, f"m-{wanted}", observed)
    assert plan["error"] is None
    assert plan["steps"] == [step for step in ORDER if step in plan["steps"]]
    assert wanted not in plan["retire"]
    assert set(plan["retire"]) <= set(observed["running"])
    assert bool(plan["retire"]) == ("retire" in plan["steps"])
    if observed["release"] in plan["retire"]:
        assert {"verify", "route", "read_back"} <= set(plan["steps"])
    # What was applied is not due again.
    slot = observed["slot"] if observed["release"] == wanted else release.other_slot(observed["slot"])
    after = seen(slot, wanted, [wanted], True, {*observed["manifests"], wanted}, wanted)
    assert release.plan(wanted, f"m-{wanted}", after)["steps"] == []


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3), st.fixed_dictionaries({}, optional={"served": st.text("12")})
    ),
    st.text("abc", min_size=1, max_size=3),
    st.integers(0, 4),
)
def test_outdated(releases, served, keep):
    gone = release.outdated(releases, served, keep)
    kept = set(releases) - set(gone) - {served}
    assert served not in gone
    assert len(kept) == min(keep, len(set(releases) - {served}))
    stamp = {name: entry.get("served", "") for name, entry in releases.items()}
    assert all(stamp[old] <= stamp[new] for old in gone for new in kept)


RUNNING = {"Running": True, "Restarting": False, "ExitCode": 0, "OOMKilled": False}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"OOMKilled": True}, "killed with SIGKILL, most likely for memory: its limit is 384 MB"),
        ({"Running": False, "ExitCode": 137}, "killed with SIGKILL, most likely for memory: its limit is 384 MB"),
        # While it waits for its restart, the engine says Running as well.
        ({"Restarting": True, "ExitCode": 137, "Restarts": 3}, "killed with SIGKILL, most likely for memory"),
        ({"Restarting": True, "ExitCode": 1, "Restarts": 3}, "api ended with exit code 1 and was restarted 3 times."),
        # Up again: the exit code is that of a start, and none.
        ({"Restarts": 3}, "api ended and was restarted 3 times."),
        ({"Running": False, "ExitCode": 78}, "api ended with exit code 78."),
        ({}, "api runs, but did not become ready."),
    ],
)
def test_failure_reason(state, says):
    reason = release.failure_reason("api", {**RUNNING, "Restarts": 0, **state}, 384 << 20, "")
    assert says in reason
    assert reason.endswith("It wrote nothing.")


def test_failure_reason_quotes_the_end_of_the_log():
    reason = release.failure_reason("api", RUNNING, 0, "".join(f"line {n}\n" for n in range(20)))
    assert reason.splitlines()[1:] == [f"    line {n}" for n in range(12, 20)]


RECORDS = {
    "r0": {"manifest": "m", "served": "1"},
    "r1": {"manifest": "m", "served": "2"},
    "r2": {"manifest": "m", "served": "3"},
    "bad": {"manifest": "m"},
}
ROLLED = {**RECORDS, "r1": {**RECORDS["r1"], "instead_of": "r2"}, "r2": {**RECORDS["r2"], "rolled_back": "4"}}
STARTED = {"r0": "1", "r1": "2", "r2": "3", "bad": "4"}


@pytest.mark.parametrize(
    ("wanted", "routed", "kept", "records", "target"),
    [
        (None, "r2", ["bad", "r0", "r1", "r2"], RECORDS, "r1"),
        (None, "r2", ["bad", "r0", "r2"], RECORDS, "r0"),
        (None, "r2", ["bad", "r2"], RECORDS, None),
        (None, None, ["r1", "r2"], RECORDS, "r2"),
        (None, "r1", ["r0", "r1", "r2"], ROLLED, "r1"),
        (None, "bad", ["r2", "bad"], ROLLED, None),
        (None, "bad", ["r0", "r2", "bad"], ROLLED, "r0"),
        (None, "r2", ["r0", "r1", "r2"], {}, "r1"),
        (None, "r2", ["new", "r2"], {}, None),
        ("bad", "r2", ["bad", "r2"], RECORDS, "bad"),
        ("r2", "r1", ["r1", "r2"], ROLLED, "r2"),
        ("r9", "r2", ["r1", "r2"], RECORDS, None),
    ],
)
def test_rollback_target(wanted, routed, kept, records, target):
    found, error = release.rollback_target(wanted, {"release": routed, "kept": kept, "started": STARTED}, records)
    assert found == target
    assert (error is None) is (target is not None)


def line(event, name, moment, **more):
    return json.dumps({"event": event, "release": name, "time": moment, **more})


def test_history():
    """What the journal tells is what the state said."""
    told = release.history(
        [
            line("switched", "r1", "1", manifest="m1"),
            line("failed", "bad", "2"),
            line("switched", "r2", "3", manifest="m2", previous="r1"),
            line("switched", "r3", "4", manifest="m3", previous="r2"),
            line("pruned", "r3", "5", pruned="r1"),
            line("rolled_back", "r2", "6", manifest="m2", previous="r3"),
            line("restored", "r2", "7", manifest="m2", previous="r2"),
            '{"event": "switched", "rel',
            "[]",
            "{}",
        ]
    )
    assert told == {
        "bad": {"manifest": ""},
        "r2": {"manifest": "m2", "served_first": "3", "served": "7", "instead_of": "r3"},
        "r3": {"manifest": "m3", "served_first": "4", "served": "4", "rolled_back": "6"},
    }
