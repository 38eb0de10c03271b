# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The witness of the fault matrix: what counts as an outage and as a loss."""

from __future__ import annotations

import http.client
import json
import time

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.faults.matrix import FAULTS, Matrix, table
from ansible_collections.sixty_sales.memory_optimized.tests.faults.witness import Answer, Outage, Witness, outages


def page(begun, ended, status=200, text=""):
    return Answer("page", begun, ended, status, text)


def write(begun, ended, status=201):
    return Answer("write", begun, ended, status)


def test_no_failure_is_no_outage():
    assert outages([page(0, 1), write(0, 1)]) == []


def test_from_the_failed_request_until_a_later_one_was_answered():
    refused = page(1, 1.1, 0, "ConnectionRefusedError")
    assert outages([page(0, 0.1), refused, page(2, 2.1, 502), page(3, 3.2)]) == [
        Outage(1, 3.2, ("page: ConnectionRefusedError", "page: 502"))
    ]


def test_a_request_that_hung_does_not_prolong_what_others_saw_end():
    assert outages([page(1, 9, 504, "api_timeout"), page(1.5, 1.6)]) == [Outage(1, 1.6, ("page: 504 api_timeout",))]


def test_what_another_kind_was_answered_ends_nothing():
    found = outages([write(1, 1.1, 503), page(2, 2.1), write(4, 4.5)])
    assert [(one.start, one.end) for one in found] == [(1, 4.5)]


def test_outages_that_overlap_are_one_and_others_are_not():
    found = outages([page(1, 2, 502), write(2, 3, 503), page(3, 4), write(6, 7), page(10, 11, 502), page(12, 13)])
    assert [(one.start, one.end) for one in found] == [(1, 7), (10, 13)]


def test_one_that_has_not_ended_says_so_whatever_follows():
    found = outages([page(1, 2, 502), write(3, 4, 503), write(5, 6)])
    assert [(one.start, one.end) for one in found] == [(1, None)]


class Client:
    def close(self):
        pass


class Site:
    """Answers every request, and keeps the rows, until it is broken."""

    def __init__(self):
        self.kept, self.number, self.broken = {}, 0, False

    def ask(self, _client, path, method="GET", data=None):
        if self.broken:
            raise http.client.RemoteDisconnected
        if method == "GET":
            return 200, {}, b"{}"
        self.number += 1
        self.kept[self.number] = data["name"]
        return 201, {}, json.dumps({"id": self.number}).encode()


def test_it_knows_what_was_acknowledged_and_when_all_is_well():
    site = Site()
    with Witness(Client, site.ask, rate=100, writes=100) as witness:
        began = time.monotonic()
        while not witness.is_well(began, seconds=0.1):
            assert time.monotonic() < began + 5
        site.broken = True
        time.sleep(0.1)
        assert not witness.is_well(began, seconds=0.05)
    assert set(witness.failed) == {f"{kind}: RemoteDisconnected" for kind in ("page", "read", "write")}
    assert witness.acknowledged and witness.lost(site.kept) == []
    gone, changed = sorted(site.kept)[:2]
    kept = {**site.kept, changed: "another"}
    del kept[gone]
    assert witness.lost(kept) == [gone, changed]


def row(**changed):
    told = {"outage_s": 1.5, "lost_acknowledged": 0, "acknowledged": 40, "recovered_by": "the engine", "told_how": "x"}
    return {"fault": "out of memory", "service": "redis", **told, **changed}


def test_the_matrix_keeps_a_row_a_fault_and_says_what_was_not_run(tmp_path):
    matrix = Matrix(tmp_path)
    matrix.add(row(service="api"))
    matrix.add(row(outage_s=9))
    matrix.add(row(outage_s=0))
    assert [(one["service"], one["outage_s"]) for one in matrix.rows()] == [("api", 1.5), ("redis", 0)]
    text = matrix.text.read_text()
    assert "| out of memory | redis | 0 | 0 of 40 | the engine | x |" in text
    assert text.count("not run") == sum(map(len, FAULTS.values())) - 2
    assert table([row(held_s=20, outage_s=21.5, back_s=1.5)]).count("21.5 s, 1.5 s of them after the cause") == 1


@pytest.mark.parametrize("wrong", [{"told_how": ""}, {"recovered_by": None}, {"service": "nobody"}])
def test_a_row_that_does_not_say_all_is_refused(tmp_path, wrong):
    with pytest.raises(AssertionError):
        Matrix(tmp_path).add(row(**wrong))
    assert Matrix(tmp_path).rows() == []
