# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two releases fit, as a table and as properties."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import overlap
from hypothesis import given
from hypothesis import strategies as st

MB = 1 << 20


def usage(used, limit, routed, available):
    sizes = [None if size is None else size * MB for size in (used, limit, routed, available)]
    return overlap.Usage(*sizes)


def decide(used, limit, routed, available, allow=False, standby=384, overhead=11):
    return overlap.decide(usage(used, limit, routed, available), standby * MB, overhead * MB, allow)


@pytest.mark.parametrize(
    ("seen", "allow", "mode"),
    [
        # used, limit of the stack, of which routed, available on the host; the standby takes 384 + 11 outside of it.
        ((900, 2048, 200, 1000), False, "overlap"),
        ((1664, 2048, 200, 395), False, "overlap"),  # to the last byte, both
        ((1665, 2048, 200, 1000), False, ""),
        ((1665, 2048, 200, 1000), True, "stop_first"),
        ((900, 2048, 200, 394), False, ""),
        ((900, 2048, 200, 394), True, "stop_first"),
        # What fits needs no downtime, even where it is allowed.
        ((900, 2048, 200, 1000), True, "overlap"),
        # Not even alone.
        ((1900, 2048, 200, 1000), True, ""),
        ((900, 2048, 200, 100), True, ""),
        ((1864, 2048, 200, 195), True, "stop_first"),  # alone to the last byte, both
        # No limit above all containers, or a host that does not say what it has.
        ((9000, 0, 200, 1000), False, "overlap"),
        ((900, 2048, 200, None), False, "overlap"),
        ((1900, 2048, 300, None), True, "stop_first"),
        ((9000, 0, 0, None), False, "overlap"),
        # Nothing is served: to stop it would free nothing.
        ((1700, 2048, 0, 1000), True, ""),
    ],
)
def test_decide(seen, allow, mode):
    assert decide(*seen, allow=allow).mode == mode


def test_what_fits_is_said_with_the_arithmetic():
    assert decide(900, 2048, 200, 1000).text == (
        "in use now 900 MB of 2,048 MB, of which 200 MB by the release that is served; 1,000 MB available on the host; "
        "overlap: 900 MB + 384 MB of the standby's limit = 1,284 MB, 605 MB to spare"
    )


def test_what_does_not_fit_is_said_with_the_arithmetic():
    text = decide(1700, 2048, 200, 300).text
    assert "1,700 MB + 384 MB = 2,084 MB > 2,048 MB of the stack, 36 MB too much" in text
    assert "384 MB + 11 MB outside of its limit = 395 MB > 300 MB available on the host, 95 MB too much" in text
    assert text.endswith("allow that with release_allow_downtime=true, or free memory")


def test_what_does_not_fit_alone_is_said_with_the_arithmetic():
    text = decide(1900, 2048, 200, 1000, allow=True).text
    assert text.endswith(
        "nor does it after the served release is stopped: 1,700 MB + 384 MB = 2,084 MB > 2,048 MB of the stack, "
        "36 MB too much"
    )


def test_without_a_host_s_word_the_stack_s_limit_counts():
    assert decide(900, 2048, 200, None).text.endswith("= 1,284 MB, 764 MB to spare")
    assert decide(900, 0, 200, None).text.endswith("= 1,284 MB")


SIZES = st.integers(0, 4096)


@given(SIZES, SIZES, st.floats(0, 1), st.none() | SIZES, st.booleans())
def test_properties(used, limit, share, available, allow):
    routed = int(used * share)
    decision = decide(used, limit, routed, available, allow)
    if decision.mode == "overlap":
        assert not limit or used + 384 <= limit
        assert available is None or available >= 384 + 11
    if decision.mode == "stop_first":
        assert allow and routed > 0
        assert not limit or used - routed + 384 <= limit
        assert available is None or available + routed >= 384 + 11
    # A permission takes nothing away, and matters only where there is no room for both.
    assert (decision.mode == "overlap") == (decide(used, limit, routed, available, not allow).mode == "overlap")
    # Less in use never makes it harder.
    if decision.mode and used:
        assert decide(used - 1, limit, min(routed, used - 1), available, allow).mode or routed == used
