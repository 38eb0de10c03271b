# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency exit: back to the release before, or to a named one, while people work."""

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    UNLIMITED,
    Load,
    ask,
    deploy,
    eventually,
    inspect,
    refused,
    routed,
    untouched,
)

# Nothing of the application's source and no secret is needed, and a wrong one would be refused by a deploy.
BARE = {"playbook": "rollback.yml", "release_app_source": "/nowhere", "stack_secrets": {}}


def back(*arguments, **variables):
    return deploy(*arguments, **{**BARE, **variables})


def serves(release):
    page, data = ask("/"), ask("/api/release")
    return (page.status, page.release, data.status, data.release) == (200, release, 200, release)


def environment(release):
    return set(inspect(f"{NAME}-api-{release}")["Config"]["Env"])


def running(release):
    return inspect(f"{NAME}-api-{release}")["State"]["Running"]


@pytest.fixture(scope="module")
def named(unlimited):
    """r-a was served and r-b is. They differ in their environment."""
    deploy(release_id="r-a", **UNLIMITED)
    deploy(release_id="r-b", **UNLIMITED)


@pytest.fixture
def releases(named):
    """Each test begins with r-b served, whatever the one before left."""
    if routed() != "r-b":
        back(release_id="r-b")
    assert serves("r-b")


@pytest.mark.usefixtures("releases")
class TestRollback:
    def test_back_to_the_release_before_with_its_own_environment(self):
        ended = back(release_rollback_reason="orders fail")
        assert "Rolled back from release r-b. Release r-a is served now" in ended.said
        assert serves("r-a") and running("r-a") and not running("r-b")
        assert "RELEASE_ID=r-a" in environment("r-a")
        last = json.loads((HOME / "journal.jsonl").read_text().splitlines()[-1])
        told = {name: last[name] for name in ("event", "from", "to", "reason")}
        assert told == {"event": "rolled_back", "from": "r-b", "to": "r-a", "reason": "orders fail"}
        assert 0 < last["seconds"] < 10
        listed = deploy(playbook="playbooks/releases.yml").said
        assert "r-a served" in listed and "r-b rolled back" in listed
        # Whoever is impatient asks twice.
        with untouched():
            again = back()
        assert again.recap["changed"] == 0 and "release r-a is served already" in again.said

    def test_check_mode_says_what_is_due(self):
        with untouched():
            ended = back("--check", "--diff")
        assert "r-a is due: stage, start, verify, route, read_back, retire" in ended.said
        assert ended.differences == ["-served release: r-b", "+served release: r-a"]

    def test_a_release_that_is_not_kept_is_refused_with_those_that_are(self):
        with untouched():
            refused("Release r-9 is not kept on this host", "r-a (", release_id="r-9", **BARE)
        assert serves("r-b")

    def test_no_request_is_lost(self):
        with Load(50) as load:
            eventually(lambda: load.is_well(load.began), "the load is served before the rollback")
            back(release_id="r-a")
            done = time.monotonic()
            eventually(lambda: load.is_well(done), "the load is served after it")
        assert load.failed == [], load.report()
        assert {request.release for request in load.requests} == {"r-a", "r-b"}
        assert load.lost() == []
