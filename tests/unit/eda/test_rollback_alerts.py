# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an alert reaches the rulebook."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.extensions.eda.plugins.event_filter import rollback_alerts
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import auto_rollback, release
from hypothesis import given
from hypothesis import strategies as st


def alert(release, trigger="memory", **labels):
    return {"labels": {"release": release, "rollback_trigger": trigger, **labels}, "annotations": {"a": "{{ 1 }}"}}


def event(release, trigger="memory"):
    return {"host": "web1", "release": release, "trigger": trigger, "meta": {"hosts": "web1"}}


def test_it_knows_what_the_decision_knows():
    assert rollback_alerts.TRIGGERS == auto_rollback.TRIGGERS
    assert f"^{rollback_alerts.RELEASE_ID.pattern}$" == release.RELEASE_ID.pattern


def test_an_event_for_each_release_and_trigger():
    alerts = [alert("r2"), alert("r2", instance="b"), alert("r2", "health"), alert("1.10")]
    made = rollback_alerts.main({"host": "web1", "alerts": alerts})
    assert made == [event("1.10"), event("r2", "health"), event("r2")]


@pytest.mark.parametrize(
    "alerts",
    [
        None,
        {},
        "alerts",
        [],
        [None, 1, "a", [], {}],
        [{"labels": None}],
        [{"labels": {"rollback_trigger": "memory"}}],
        [alert("")],
        [alert(2)],
        [alert(["r2"])],
        [alert("{{ lookup('pipe', 'id') }}")],
        [alert("r2\n")],
        [alert("a" * 49)],
        [alert("r2", "disk")],
        [alert("r2", ["memory"])],
        [alert("r2", {})],
    ],
)
def test_what_makes_no_event(alerts):
    assert rollback_alerts.main({"host": "web1", "alerts": alerts}) == []


KEYS = st.sampled_from(["labels", "release", "rollback_trigger", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


@given(alerts=JSON)
def test_it_raises_nothing(alerts):
    for made in rollback_alerts.main({"host": "web1", "alerts": alerts}):
        assert made == event(made["release"], made["trigger"])
