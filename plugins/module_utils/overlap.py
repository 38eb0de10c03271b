# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two releases fit into memory at the same time, from what is in use now. Pure; all sizes are bytes.

The budget was validated by limits before anything changed. This asks the host itself just before the standby starts:
what the containers hold that the kernel cannot take back, and the standby at its limit, since nobody knows yet what
it will take.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What the host says. C(limit) is that of the cgroup above all containers, 0 where there is none."""

    used: int
    limit: int
    # Of the routed release, which C(stop_first) would free; unreclaimable like C(used).
    routed: int
    # MemAvailable of /proc/meminfo: what new programs can have without swapping; None where it is not known.
    available: t.Optional[int]


@dataclass(frozen=True)
class Decision:
    """C(mode) is C(overlap), C(stop_first), or empty where C(text) says why neither is possible."""

    mode: str
    text: str


def mb(size: int) -> str:
    """A size for a person."""
    return f"{size / (1 << 20):,.0f} MB"


def decide(usage: Usage, standby: int, overhead: int, allow_downtime: bool) -> Decision:
    """How the standby, whose limit is C(standby), can start.

    C(overhead) is what a container costs outside of its own limit (its shim), which only the host pays.
    """
    lines = [
        f"in use now {mb(usage.used)}"
        + (f" of {mb(usage.limit)}" if usage.limit else "")
        + f", of which {mb(usage.routed)} by the release that is served"
        + ("" if usage.available is None else f"; {mb(usage.available)} available on the host")
    ]

    def lacks(used: int, available: t.Optional[int]) -> t.List[str]:
        short = []
        if usage.limit and used + standby > usage.limit:
            short.append(
                f"{mb(used)} + {mb(standby)} = {mb(used + standby)} > {mb(usage.limit)} of the stack, "
                f"{mb(used + standby - usage.limit)} too much"
            )
        if available is not None and standby + overhead > available:
            short.append(
                f"{mb(standby)} + {mb(overhead)} outside of its limit = {mb(standby + overhead)} > {mb(available)} "
                f"available on the host, {mb(standby + overhead - available)} too much"
            )
        return short

    together = lacks(usage.used, usage.available)
    if not together:
        free = [] if usage.available is None else [usage.available - standby - overhead]
        free += [usage.limit - usage.used - standby] if usage.limit else []
        lines.append(
            f"overlap: {mb(usage.used)} + {mb(standby)} of the standby's limit = {mb(usage.used + standby)}"
            + (f", {mb(min(free))} to spare" if free else "")
        )
        return Decision("overlap", "; ".join(lines))
    lines.append("overlap does not fit: " + " and ".join(together))
    freed = None if usage.available is None else usage.available + usage.routed
    alone = lacks(usage.used - usage.routed, freed)
    if alone:
        lines.append("nor does it after the served release is stopped: " + " and ".join(alone))
        return Decision("", "; ".join(lines))
    if not allow_downtime:
        lines.append(
            "it would fit if the served release were stopped first, which costs every request until the new one is "
            "ready: allow that with release_allow_downtime=true, or free memory"
        )
        return Decision("", "; ".join(lines))
    lines.append(
        "stop_first: the served release is stopped before the new one starts, as release_allow_downtime allows"
    )
    return Decision("stop_first", "; ".join(lines))
