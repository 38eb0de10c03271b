# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy of what runs already, a check of a change, and a check of a host without anything."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    NAME,
    ask,
    deploy,
    refused,
    routed,
    snapshot,
    sql,
    untouched,
)

pytestmark = pytest.mark.usefixtures("stack")


def test_the_dashboard_shows_data_of_postgresql_through_nginx():
    page, deals = ask("/"), ask("/api/deals?page_size=1")
    assert page.status == 200 and b"<title>" in page.body and page.headers["content-type"].startswith("text/html")
    assert page.release == deals.release == routed()
    counted = int(sql("SELECT count(*) FROM deals"))
    assert deals.status == 200 and json.loads(deals.body)["total"] == counted > 0


def test_a_second_deploy_changes_nothing():
    with untouched():
        ended = deploy()
    assert (ended.recap["changed"], ended.recap["unreachable"], ended.changed) == (0, 0, [])


def test_a_check_of_what_runs_shows_no_change():
    with untouched():
        ended = deploy("--check", "--diff")
    assert (ended.recap["changed"], ended.differences) == (0, [])


def test_a_check_shows_exactly_the_one_change_and_touches_nothing():
    with untouched():
        ended = deploy("--check", "--diff", redis_log_level="verbose")
    # One line of one file; the container is restarted for it and stays the same.
    assert ended.changed == ["Land the configuration"]
    assert ended.differences == ["-loglevel notice", "+loglevel verbose"]


def test_a_check_of_a_bare_host_validates_plans_and_ends():
    """A mount of its own hides the engine's socket, so for the play there is no engine, and no stack either."""
    bare = {"stack_name": "bare", "stack_subnet_prefix": "10.99", "nginx_http_port": 18099}
    with untouched("bare", NAME):
        hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "-")
        ended = deploy("--check", "--diff", prefix=hidden, **bare)
    assert snapshot("bare") == {}
    for part in (
        "MEMORY BUDGET, profile documented",
        "steady 1,616 ok, 432 left",
        "overlap (both APIs) 2,000 ok, 48 left",
        "No container engine answers on localhost.",
        "One would be installed and started.",
        "parent cgroup bare limited to",
        "networks db, cache, app, metrics, edge, admin, egress, status, directories below /srv/bare",
    ):
        assert part in ended.said, f"{part!r} is not in:{ended.tail}"
    assert ended.recap["failed"] == ended.recap["unreachable"] == 0


def test_tags_still_validate_the_budget_and_the_host():
    with untouched():
        ended = deploy("--tags", "nginx")
        assert ended.recap["changed"] == 0 and "MEMORY BUDGET, profile documented" in ended.said
        assert "nginx : Land the configuration" in ended.text and "redis : Land the configuration" not in ended.text
        too_much = {"services": {"nginx": {"limit": "1G"}}}
        refused("budget/sum", "nginx 1,024", arguments=("--tags", "nginx"), memory_budget_overrides=too_much)
        refused(
            "unix:///nonexistent.sock does not answer",
            arguments=("--tags", "nginx"),
            environment={"DOCKER_HOST": "unix:///nonexistent.sock"},
        )
        refused("postgres_password", "Nothing was changed", arguments=("--tags", "nginx"), stack_secrets={})
