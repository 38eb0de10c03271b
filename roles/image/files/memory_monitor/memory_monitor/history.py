# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recent past of each service, in rings of a fixed size."""

from __future__ import annotations

from array import array

STEP, LENGTH = 20, 180
MOST_SERVICES = 64


class History:
    """An hour in steps of 20 seconds: the highest usage and unreclaimable memory of each step, in 4 KiB pages."""

    def __init__(self, step=STEP, length=LENGTH):
        self.step, self.length = step, length
        self._rings = {}
        self._newest = 0

    def add(self, time, figures):
        """C(figures): service -> (usage, unreclaimable) in bytes."""
        number = int(time // self.step)
        slot = number % self.length
        if number != self._newest:
            self._newest = number
            oldest = number - self.length
            self._rings = {name: ring for name, ring in self._rings.items() if max(ring[0]) > oldest}
        for name, values in figures.items():
            ring = self._rings.get(name)
            if ring is None:
                if len(self._rings) >= MOST_SERVICES:
                    continue
                ring = self._rings[name] = (
                    array("q", [-1]) * self.length,
                    array("I", [0]) * self.length,
                    array("I", [0]) * self.length,
                )
            numbers, *rows = ring
            for row, value in zip(rows, values):
                pages = min(value >> 12, 0xFFFFFFFF)
                row[slot] = max(row[slot], pages) if numbers[slot] == number else pages
            numbers[slot] = number

    def read(self, time, service="all"):
        """Service -> [[time, usage, unreclaimable], ...], oldest first; KeyError for a service that is not there."""
        newest = int(time // self.step)
        rings = self._rings if service == "all" else {service: self._rings[service]}
        found = {}
        for name, (numbers, usage, unreclaimable) in list(rings.items()):
            found[name] = [
                [number * self.step, usage[number % self.length] << 12, unreclaimable[number % self.length] << 12]
                for number in range(max(0, newest - self.length + 1), newest + 1)
                if numbers[number % self.length] == number
            ]
        return found
