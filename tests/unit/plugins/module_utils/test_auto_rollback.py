# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a release is gone back from after its deploy, as tables and as properties."""

from __future__ import annotations

import datetime
import json

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import auto_rollback as core
from hypothesis import given
from hypothesis import strategies as st

NOW, WINDOW, COOLDOWN = 100_000.0, 3600, 900
ALERT = core.Alert("MemoryCritical", "memory", "r2", "2026-11-24T19:52:11.123Z")
# r2 came by a deploy ten minutes ago, and r1 is there.
GOOD = core.Status("r2", core.Route("switched", "r2", NOW - 600), before="r1")


def decide(status=GOOD, alerts=(ALERT,), now=NOW, window=WINDOW, cooldown=COOLDOWN):
    return core.decide(status, list(alerts), now, window, cooldown)


@pytest.mark.parametrize("trigger", core.TRIGGERS)
def test_each_of_the_four_triggers_goes_back(trigger):
    alert = ALERT._replace(trigger=trigger)
    verdict = decide(alerts=[alert])
    assert verdict == ("rollback", verdict.reason, alert)
    about = f"MemoryCritical ({trigger}) fires for release r2 since {ALERT.since}"
    assert verdict.reason == f"{about}, 600 s after the switch to it."


def switched(seconds):
    return GOOD._replace(route=core.Route("switched", "r2", NOW - seconds))


@pytest.mark.parametrize(
    ("case", "status", "alerts", "action", "part"),
    [
        ("no alert", GOOD, [], "ignore", "No alert"),
        ("nothing is served", core.Status(None), [ALERT], "ignore", "No release is served"),
        ("another release", GOOD, [ALERT._replace(release="r1")], "ignore", "about others: MemoryCritical of r1"),
        ("no release", GOOD, [ALERT._replace(release="")], "ignore", "MemoryCritical of no release"),
        ("one of several", GOOD, [ALERT._replace(release="r1"), ALERT], "rollback", "600 s after the switch"),
        ("a deploy", GOOD._replace(deploy="r3 is staged"), [ALERT], "wait", "under way: r3 is staged"),
        # Whatever it comes to, these alerts are none of it.
        ("a deploy, another", GOOD._replace(deploy="r3"), [ALERT._replace(release="r1")], "ignore", "about others"),
        ("a rollback", GOOD._replace(instead_of="r3"), [ALERT], "ignore", "because release r3 was gone"),
        ("by name", GOOD._replace(route=core.Route("rolled_back", "r2", NOW)), [ALERT], "ignore", "by a rollback"),
        ("no journal", GOOD._replace(route=None), [ALERT], "ignore", "does not say when"),
        ("by hand", GOOD._replace(route=core.Route("switched", "r1", NOW)), [ALERT], "ignore", "does not say when"),
        ("the window's end", switched(3600), [ALERT], "rollback", "3600 s after the switch"),
        ("after the window", switched(3601), [ALERT], "ignore", "3601 s ago, and the window is 3600 s"),
        ("a clock that was put back", switched(-1), [ALERT], "ignore", "-1 s ago"),
        ("no release before", GOOD._replace(before=None), [ALERT], "ignore", "no release before it is kept"),
        ("contract", GOOD._replace(before=None, obstacle="r2 ran contract migrations."), [ALERT], "ignore", "contract"),
        ("the cool-down", GOOD._replace(rolled_back=NOW - 899), [ALERT], "ignore", "899 s ago, and the cool-down"),
        ("after the cool-down", GOOD._replace(rolled_back=NOW - 900), [ALERT], "rollback", "600 s after"),
    ],
)
def test_decision(case, status, alerts, action, part):
    verdict = decide(status, alerts)
    assert (verdict.action, part in verdict.reason) == (action, True), verdict.reason
    assert ("Nothing was changed" in verdict.reason) == (action == "ignore")


def test_a_window_of_nothing_switches_it_off():
    assert decide(switched(1), window=0).action == "ignore"


OPTIONAL = st.none() | st.sampled_from(["r1", "r2", "r3"])
STATUSES = st.builds(
    core.Status,
    release=OPTIONAL,
    route=st.none()
    | st.builds(
        core.Route,
        st.sampled_from(["switched", "rolled_back"]),
        st.sampled_from(["r1", "r2", "r3"]),
        st.floats(NOW - 5000, NOW + 10),
    ),
    rolled_back=st.none() | st.floats(NOW - 2000, NOW),
    deploy=st.none() | st.just("release r3 is staged"),
    instead_of=OPTIONAL,
    before=OPTIONAL,
)
ALERTS = st.lists(
    st.builds(
        core.Alert, st.just("A"), st.sampled_from(core.TRIGGERS), st.sampled_from(["r1", "r2", "r3", ""]), st.just("")
    ),
    max_size=3,
)


@given(status=STATUSES, alerts=ALERTS)
def test_nothing_else_than_a_deploy_shortly_before_leads_back(status, alerts):
    verdict = decide(status, alerts)
    wanted = (
        status.release in {alert.release for alert in alerts}
        and not status.deploy
        and not status.instead_of
        and status.route is not None
        and status.route[:2] == ("switched", status.release)
        and 0 <= NOW - status.route.time <= WINDOW
        and status.before is not None
        and (status.rolled_back is None or NOW - status.rolled_back >= COOLDOWN)
    )
    assert (verdict.action == "rollback") == wanted
    if verdict.action != "ignore":
        assert verdict.alert.release == status.release


@given(status=STATUSES, alerts=ALERTS)
def test_after_a_rollback_nothing_more_is_done(status, alerts):
    """Whatever becomes of the alerts, and however late."""
    if decide(status, alerts).action == "rollback":
        after = core.Status(
            release=status.before,
            route=core.Route("rolled_back", status.before, NOW),
            rolled_back=NOW,
            instead_of=status.release,
            before=None,
        )
        everything = [ALERT._replace(release=name) for name in ("r1", "r2", "r3")]
        for seconds in (1, COOLDOWN + 1, WINDOW + 1, 10 * WINDOW):
            assert decide(after, everything, NOW + seconds).action == "ignore"


# -- what Alertmanager says


def entry(state="active", **labels):
    given = {"alertname": "MemoryCritical", "stack": "sixty", "rollback_trigger": "memory", "release": "r2", **labels}
    return {
        "labels": {name: value for name, value in given.items() if value is not None},
        "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
        "startsAt": ALERT.since,
    }


def test_what_fires():
    assert core.firing([entry()], "sixty") == [ALERT]
    assert core.firing([], "sixty") == []


@pytest.mark.parametrize(
    "other",
    [
        entry("suppressed"),
        entry("unprocessed"),
        entry(stack="other"),
        entry(stack=None),
        entry(rollback_trigger=None),
        entry(rollback_trigger="disk"),
        entry(rollback_trigger=["memory"]),
    ],
)
def test_what_counts_for_nothing(other):
    assert core.firing([other], "sixty") == []


@pytest.mark.parametrize(
    "answer", [None, {}, "[]", 3, [3], [None], [{}], [{"labels": {}}], [{"labels": 1, "status": {}}]]
)
def test_an_answer_that_is_not_alertmanagers(answer):
    with pytest.raises(ValueError, match=r"expected|without labels"):
        core.firing(answer, "sixty")


# -- what the journal says


def line(event, release, minute, **more):
    return json.dumps({"event": event, "release": release, "time": f"2026-11-24T19:{minute:02}:00.000+00:00", **more})


def moment(minute):
    return datetime.datetime(2026, 11, 24, 19, minute, tzinfo=datetime.timezone.utc).timestamp()


def test_past():
    lines = [line("migrated", "r1", 1), line("switched", "r1", 2), line("promoted", "r1", 3), line("switched", "r2", 4)]
    assert core.past(lines) == (("switched", "r2", moment(4)), None)
    back = [*lines, line("rolled_back", "r1", 5), line("restored", "r1", 6), line("failed", "r3", 7)]
    assert core.past(back) == (("rolled_back", "r1", moment(5)), moment(5))
    again = [*back, line("switched", "r4", 8), line("restored", "r4", 9)]
    assert core.past(again) == (("switched", "r4", moment(8)), moment(5))


@pytest.mark.parametrize("text", ["", "\n", '{"event": "switched", "rel', "[]", "3", '{"event": "switched"}', "null"])
def test_a_line_that_was_cut_short_tells_nothing(text):
    assert core.past([]) == (None, None)
    assert core.past([line("switched", "r2", 4), text]) == (("switched", "r2", moment(4)), None)


def test_a_moment_that_is_none():
    bad = json.dumps({"event": "switched", "release": "r3", "time": "yesterday"})
    assert core.past([line("switched", "r2", 4), bad]) == (("switched", "r2", moment(4)), None)
