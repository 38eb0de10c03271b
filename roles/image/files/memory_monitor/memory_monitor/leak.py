# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does memory grow without an end? A robust slope over a window, and how sure it is.

What is judged are the lowest values of twelve equal parts of the window: a garbage collector's saw-tooth comes back
to its floor in each of them, a leak does not. Their slope is Theil and Sen's (the median of all pairwise slopes:
P. K. Sen, JASA 63, 1968), the confidence is the Mann-Kendall test's (M. G. Kendall, Rank Correlation Methods, 1975).
Neither sees that a step is no leak, nor a cache that fills: hence the two last conditions, that no single rise makes
up much of the growth, and that it goes on.
"""

from __future__ import annotations

import math
from array import array

SEGMENTS = 12
# Of the growth from the first third of the window to the last one, at least this share in either step.
LASTING = 0.3
# And no rise from one segment to the next is more of it.
LARGEST_STEP = 0.4
CONFIDENT = 0.99


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def slope(values):
    """Theil and Sen's slope: units for each step."""
    return median([(b - a) / (j - i) for i, a in enumerate(values) for j, b in enumerate(values) if j > i])


def confidence(values):
    """From 0 to 1, how sure it is that values rise: two-sided Mann-Kendall with ties; 0 where they do not."""
    score = sum((b > a) - (b < a) for i, a in enumerate(values) for b in values[i + 1 :])
    if score <= 0:
        return 0.0
    number = len(values)
    ties = [values.count(value) for value in set(values)]
    variance = number * (number - 1) * (2 * number + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)
    return math.erf((score - 1) / math.sqrt(variance / 18) / math.sqrt(2))


class Trend:
    """The last values of one container, one a bucket, and what they say.

    C(growth) is bytes a second, None until there is one value for each segment. Buckets hold 4 KiB pages, so that
    six hours cost 1.5 KB.
    """

    __slots__ = ("_bucket", "_lowest", "_pages", "_width", "certainty", "growth", "suspected")

    def __init__(self):
        self._begin(None)

    def _begin(self, width):
        self._pages, self._width = array("I"), width
        self._bucket = self._lowest = None
        self.growth, self.certainty, self.suspected = None, None, False

    def add(self, now, value, limit, settings):
        """One value in bytes; C(now) in seconds of a clock that only rises."""
        if self._width != settings.bucket:
            self._begin(settings.bucket)
        bucket = int(now // settings.bucket)
        if self._bucket is None or bucket == self._bucket:
            self._lowest = value if self._lowest is None else min(self._lowest, value)
        else:
            self._pages.append(min(self._lowest >> 12, 0xFFFFFFFF))
            del self._pages[: -settings.window // settings.bucket]
            self._lowest = value
            self._judge(limit, settings)
        self._bucket = bucket

    def _judge(self, limit, settings):
        size = len(self._pages) // SEGMENTS
        if not size:
            return
        newest = self._pages[-size * SEGMENTS :]
        floors = [min(newest[start : start + size]) << 12 for start in range(0, len(newest), size)]
        self.growth = slope(floors) / (size * settings.bucket)
        self.certainty = confidence(floors)
        first, second, third = (median(floors[start : start + 4]) for start in (0, 4, 8))
        grown = third - first
        step = max(after - before for before, after in zip(floors, floors[1:]))
        self.suspected = (
            len(self._pages) * settings.bucket >= settings.least_window
            and self.certainty >= CONFIDENT
            and grown >= max(settings.least_growth, limit * settings.least_growth_percent / 100)
            and min(second - first, third - second) >= LASTING * grown
            and step <= LARGEST_STEP * grown
        )
