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
    "disk_budget": 0,
    "asset_budget": 0,
    "warm_up": 0,
    "warm_up_paths": ["/health/ready"],
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


def seen(slot=None, name=None, running=(), staged=True, manifests=(), serving=None, warm=()):
    return {
        "slot": slot,
        "release": name,
        "running": list(running),
        "staged": staged,
        "warm": list(warm),
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


def test_a_deploy_that_was_broken_off_is_what_a_rollback_rolls_back():
    """It was to leave what is served, so that stays."""
    deploy = {"release": "r3", "previous": {"slot": "blue", "release": "r2"}}
    observed = {"release": "r2", "kept": ["r1", "r2", "r3"], "started": STARTED, "deploy": deploy}
    assert release.rollback_target(None, observed, RECORDS) == ("r2", None)
    assert release.rollback_target("r1", observed, RECORDS) == ("r1", None)
    # After its switch it is what is left.
    switched = {**observed, "release": "r3"}
    assert release.rollback_target(None, switched, RECORDS) == ("r2", None)
    # The first one leaves nothing.
    none = {**observed, "release": None, "deploy": {"release": "r1", "previous": None}}
    assert release.rollback_target(None, none, RECORDS) == ("r2", None)


@pytest.mark.parametrize(
    ("deploy", "routed", "wanted", "unfinished"),
    [
        (None, "r1", "r1", False),
        ({"release": "r2", "previous": {"release": "r1"}}, "r2", "r2", True),
        ({"release": "r2", "previous": {"release": "r1"}}, "r1", "r1", True),
        ({"release": "r2", "previous": {"release": "r1"}}, "r1", "r2", False),
        ({"release": "r2", "previous": {"release": "r1"}}, "r3", "r3", False),
        ({"release": "r1", "previous": None}, None, "r1", False),
        ({"release": "r1", "previous": None}, "r1", "r1", True),
    ],
)
def test_is_unfinished(deploy, routed, wanted, unfinished):
    assert release.is_unfinished({"deploy": deploy, "release": routed}, wanted) is unfinished


HOLDER = {"pid": 7, "boot": "b1", "started": 100}


@pytest.mark.parametrize(
    ("boot", "started", "gone"),
    [("b1", 100, False), ("b2", 100, True), ("b1", 101, True), ("b1", None, True), ("b2", None, True)],
)
def test_gone(boot, started, gone):
    assert release.gone(HOLDER, boot, started) is gone


def test_busy():
    holder = {**HOLDER, "release": "r2", "owner": "ann", "taken": "T1", "heartbeat": "T2", "alive": True}
    assert release.busy({"phase": "switched"}, None) is None
    assert release.busy({"phase": "switched"}, {**holder, "alive": False}) is None
    assert release.busy(None, {"alive": False}) is None
    message = release.busy({"phase": "switched"}, holder)
    assert "release r2 is switched, by ann since T1 (process 7 on this host, last heartbeat T2)" in message
    assert "Nothing was changed" in message
    assert "release r2 has begun" in release.busy(None, holder)


@pytest.mark.parametrize(
    ("record", "migrated"),
    [
        (None, False),
        ({"manifest": "m"}, False),
        ({"manifest": "m", "migrated": "1"}, True),
        ({"manifest": "other", "migrated": "1"}, False),
        # Served: nobody runs them again, whatever the record says.
        ({"manifest": "", "served": "1"}, True),
        ({"manifest": "other", "served": "1"}, True),
    ],
)
def test_is_migrated(record, migrated):
    assert release.is_migrated(record, "m") is migrated


CALM = {"slot": "blue", "release": "r1", "kept": ["r1"], "running": ["r1"]}
ACTIVE = {"active": {"slot": "blue", "release": "r1"}}


@pytest.mark.parametrize(
    ("change", "state", "says"),
    [
        ({}, ACTIVE, []),
        ({"slot": None, "release": None, "kept": [], "running": []}, {}, []),
        ({"slot": "green"}, ACTIVE, ["names release r1 in slot green. What nginx follows counts."]),
        (
            {"release": "r2", "kept": ["r1", "r2"], "running": ["r1", "r2"]},
            ACTIVE,
            ["that release r1 is routed in slot blue, but the route names release r2"],
        ),
        ({"running": []}, ACTIVE, ["container of the routed release r1 does not run"]),
        ({"kept": [], "running": []}, ACTIVE, ["container or the bundle of the routed release r1 is gone"]),
        ({}, {}, ["state.json is missing or empty"]),
        ({"running": []}, {"active": None}, ["does not run", "state.json is missing or empty"]),
    ],
)
def test_drift(change, state, says):
    told = release.drift({**CALM, **change}, state)
    assert len(told) == len(says)
    assert all(part in text for part, text in zip(says, told))


CONTRACTS = {
    "r1": {"manifest": "m", "served_first": "1", "served": "9"},
    "r2": {"manifest": "m", "migrated": "2", "served_first": "2", "served": "2"},
    "r3": {"manifest": "m", "migrated": "3", "contract": True, "backup": "/b/r3.dump", "served": "3"},
    "bad": {"manifest": "m", "migrated": "4", "contract": True},
    "r5": {"manifest": "m", "migrated": "5", "served": "5"},
}


@pytest.mark.parametrize(
    ("target", "names"),
    [
        # When it was served last says nothing: it was made for the database of its first days.
        ("r1", ["r3", "bad"]),
        ("r2", ["r3", "bad"]),
        # Its own are no hindrance; those of a release that never served are.
        ("r3", ["bad"]),
        ("bad", []),
        ("r5", []),
        ("unknown", ["r3", "bad"]),
    ],
)
def test_contract_between(target, names):
    assert release.contract_between(target, CONTRACTS) == names
    assert (release.check_contract(target, CONTRACTS) is None) is (not names)


def test_a_rollback_across_a_contract_migration_is_refused():
    observed = {"release": "r5", "kept": list(CONTRACTS), "started": {}}
    found, error = release.rollback_target("r2", observed, CONTRACTS)
    assert found is None
    assert "r3, bad ran contract migrations since" in error
    assert "-e release_force=true; the database before them is in /b/r3.dump" in error
    assert release.rollback_target("r2", observed, CONTRACTS, force=True) == ("r2", None)
    assert release.rollback_target("r5", observed, CONTRACTS) == ("r5", None)
    # What is served is not gone back to, so nothing parts it from the database.
    assert release.rollback_target("r2", {**observed, "release": "r2"}, CONTRACTS) == ("r2", None)
    without = {**CONTRACTS, "r3": {**CONTRACTS["r3"], "backup": None}}
    assert release.rollback_target("r2", observed, without)[1].endswith("-e release_force=true.")


def test_migrations_on_record():
    """They survive what becomes of the release, but not that it becomes another one."""
    told = release.history(
        [
            line("migrated", "r1", "1", manifest="m1", contract=True, backup="/b"),
            line("failed", "r1", "2"),
            line("switched", "r1", "3", manifest="m1"),
            line("migrated", "r2", "4", manifest="old", contract=True),
            line("migrated", "r2", "5", manifest="new", contract=False, backup=None),
            line("failed", "r3", "6"),
            line("migrated", "r3", "7", manifest="m3"),
        ]
    )
    assert told == {
        "r1": {
            **{"manifest": "m1", "migrated": "1", "contract": True, "backup": "/b"},
            **{"served_first": "3", "served": "3"},
        },
        "r2": {"manifest": "new", "migrated": "5"},
        "r3": {"manifest": "m3", "migrated": "7"},
    }


SERVED = {f"r{number}": {"manifest": "m", "served": str(number)} for number in range(1, 6)}


@pytest.mark.parametrize(
    ("keep", "sizes", "budget", "away"),
    [
        (3, 10, 0, ["r1"]),
        (9, 10, 50, []),
        (9, 10, 49, ["r1"]),
        (9, 10, 20, ["r1", "r2", "r3"]),
        # The served one and the one before it stay, whatever they take.
        (9, 10, 1, ["r1", "r2", "r3"]),
        (0, 10, 1, ["r1", "r2", "r3", "r4"]),
        (2, 10, 30, ["r1", "r2"]),
    ],
)
def test_outdated_by_the_disk_budget(keep, sizes, budget, away):
    assert release.outdated(SERVED, "r5", keep, dict.fromkeys(SERVED, sizes), budget) == away


WATCH = {
    **{"watch_seconds": 0, "health_failures": 0, "memory_seconds": 0, "degradation_percent": 0, "latency_floor": 0},
    **{"probes": 1, "latency_samples": 20, "restarts": 1, "memory_percent": 1, "period": 0.1, "probe_paths": ["/"]},
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"watch_seconds": -1}, "watch_seconds is -1, at least 0"),
        ({"probes": 0, "restarts": 0}, "probes is 0, at least 1; restarts is 0, at least 1"),
        ({"latency_samples": 19}, "latency_samples is 19, at least 20"),
        ({"period": 0.05}, "period is 0.05, at least 0.1"),
        ({"probe_paths": []}, "probe_paths needs one path"),
        ({"probe_paths": ["/", "api"]}, "every path begins with a slash"),
    ],
)
def test_a_watch_that_cannot_be_made(change, says):
    assert release.check_watch(WATCH) is None
    message = release.check_watch({**WATCH, **change})
    assert says in message
    assert message.endswith("Nothing was changed.")


def test_longest():
    """It takes arguments as a task has them: text, and some of them missing."""
    assert release.longest({}) == release.longest({"watch_seconds": "180", "ready_timeout": 60, "root": "/srv"})
    assert release.longest({"watch_seconds": 1000}) - release.longest({"watch_seconds": 0}) == 1000
    with pytest.raises(ValueError, match="could not convert"):
        release.longest({"watch_seconds": "long"})
