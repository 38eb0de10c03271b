# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to the release before, under load, by the one call that is left in the worst hour."""

from __future__ import annotations

import json

import pytest

ROLLBACK = "../../rollback.yml"


@pytest.fixture
def journal(host, stack):
    """The last thing that the host wrote down."""
    return lambda: json.loads(host.check_output("tail -n 1 /srv/%s/journal.jsonl", stack))


def test_there_is_nothing_before_the_first_release(play, routed):
    first = routed()
    recap = play(fails=True, playbook=ROLLBACK)
    assert f"There is no release to go back to from {first}. Nothing was changed" in " ".join(recap.output.split())
    assert recap.changed == 0
    assert routed() == first


def test_check_mode_says_what_is_due_and_serves_on(play, routed, running):
    first = routed()
    play(release_id="rollback-r2")
    before = running()
    recap = play("--check", playbook=ROLLBACK)
    assert f"Release rollback-r2 is routed; {first} is due" in " ".join(recap.output.split())
    assert (routed(), running()) == ("rollback-r2", before)


def test_it_goes_back_without_a_lost_request(play, asked, routed, running, stack, ask, journal):
    recap = play(playbook=ROLLBACK, release_rollback_reason="orders fail")
    answers = asked()
    assert {answer.status for answer in answers} == {200}
    served = [answer.json["release"] for answer in answers]
    first = routed()
    assert (served[0], served[-1]) == ("rollback-r2", first)
    assert f"Rolled back from release rollback-r2. Release {first} is served now" in " ".join(recap.output.split())
    assert running() == [f"{stack}-api-{first}"]
    assert ask("/").headers["x-release"] == first
    last = journal()
    assert (last["event"], last["from"], last["reason"]) == ("rolled_back", "rollback-r2", "orders fail")


def test_it_needs_neither_the_application_nor_the_secrets(play, routed):
    """And no third release: forward again, by name."""
    play(playbook=ROLLBACK, release_id="rollback-r2", release_app_source="/nowhere", stack_secrets={})
    assert routed() == "rollback-r2"


def test_a_release_that_was_never_here_is_refused(play, routed, running):
    before = running()
    recap = play(fails=True, playbook=ROLLBACK, release_id="no-such")
    assert "Release no-such is not kept on this host" in " ".join(recap.output.split())
    assert (routed(), running()) == ("rollback-r2", before)
