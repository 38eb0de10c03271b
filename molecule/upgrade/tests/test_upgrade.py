# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the version before to this one, while people use it."""

from __future__ import annotations

UPGRADE = "../shared/tier.yml"
DEAL = {"name": "Before the upgrade", "company": "Sixty", "owner": "Ada", "stage": "lead", "amount_cents": 6000}


def test_this_version_comes_without_a_lost_request_and_keeps_the_data(play, ask, asked, routed):
    before = routed()
    assert ask("/api/deals", method="POST", data=DEAL).status == 201
    total = ask("/api/deals").json["total"]
    play(playbook=UPGRADE, release_id="upgrade-r2")
    answers = asked()
    failed = [answer for answer in answers if answer.status != 200]
    assert not failed, f"{len(failed)} of {len(answers)}, the first: {failed[0]}"
    assert len(answers) > 50
    assert [answers[0].json["release"], answers[-1].json["release"]] == [before, "upgrade-r2"]
    assert ask("/api/deals").json["total"] == total
    assert ask("/api/deals?q=Before%20the%20upgrade").json["total"] == 1


def test_the_stack_is_this_versions(each, budget):
    """Not what the version before left behind."""
    limit = budget["services"][each.service]["limit"]
    assert each.kernel.memory == int(limit.removesuffix("M")) << 20
    assert each.host_config["CapDrop"] == ["ALL"]


def test_a_second_deploy_has_nothing_to_do(play, routed):
    recap = play(playbook=UPGRADE, release_id="upgrade-r2")
    assert recap.changed == 0, recap.output
    assert routed() == "upgrade-r2"


def test_the_way_back_is_open(play, asked, routed):
    """The version before is still there, and still works with the data as they are now."""
    play(playbook="../../rollback.yml")
    answers = asked()
    assert {answer.status for answer in answers} == {200}
    assert routed() != "upgrade-r2"
