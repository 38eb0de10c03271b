# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes of memory: one parser and the formats that the programs of the stack read.

Every unit is a power of 1024, as Docker ("384M"), PostgreSQL ("96MB"), Redis ("64mb") and the Go runtime ("102MiB")
mean it. Redis alone reads a bare "64m" as 64,000,000 bytes (redis.conf, "Note on units"), so write "mb" for it.
"""

from __future__ import annotations

import re
import typing as t
from fractions import Fraction

KIB = 1024
MIB = 1024**2

_PREFIXES = "kmgt"
_LARGEST = 2**63 - 1  # cgroup files and Docker's API hold a signed 64-bit number
_SIZE = re.compile(r"([+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)")


class SizeError(ValueError):
    """A value that is no size; rule names what is wrong with it (unit, negative, zero, type, range)."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def factor(unit: str) -> int:
    """Bytes in one unit: "", B, K, KB, KiB, ... up to TiB, in any case.

    Raises SizeError (rule unit) for any other unit.
    """
    name = unit.lower()
    if name in ("", "b"):
        return 1
    if name[0] in _PREFIXES and name[1:] in ("", "b", "ib"):
        return 1024 ** (_PREFIXES.index(name[0]) + 1)
    raise SizeError("unit", f"unknown unit {unit!r}; the units are B, K, M, G and T (powers of 1024)")


def parse_size(value: t.Any) -> int:
    """Bytes of a size such as "512M", "1.34G", "64mb", "96MB", "512MiB", "0" or a whole number of bytes.

    A fraction of a byte is dropped. Zero is a size; who needs more than that uses positive_size.
    Raises SizeError, whose message says what is wrong with the value.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise SizeError("type", f"{value!r} is no size; write a number and a unit, like 64M")
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise SizeError("type", f"{value!r} is no size; write a number and a unit, like 64M")
    number, unit = match.groups()
    try:
        size = Fraction(number) * factor(unit)
    except SizeError as error:
        raise SizeError(error.rule, f"{value!r}: {error}") from None
    if size < 0:
        raise SizeError("negative", f"{value!r} is negative")
    if "." in number and factor(unit) == 1:
        raise SizeError("unit", f"{value!r} has a fraction of a byte; is its unit missing?")
    if size > _LARGEST:
        raise SizeError("range", f"{value!r} is more than any machine has")
    return int(size)


def positive_size(value: t.Any) -> int:
    """Like parse_size, but zero is an error too (rule zero): 0 means "unlimited" to Docker and to Redis."""
    size = parse_size(value)
    if size == 0:
        raise SizeError("zero", f"{value!r} is zero, which the engines read as unlimited")
    return size


def to_unit(value: t.Any, unit: str, suffix: t.Optional[str] = None) -> str:
    """A size as a whole number of one unit, followed by that unit as given or by suffix: ("96M", "MB") is "96MB".

    Raises SizeError (rule unit) when the size is no whole number of the unit: rounding would silently move a cap.
    """
    size, step = parse_size(value), factor(unit)
    if size % step:
        raise SizeError("unit", f"{value!r} is no whole number of {unit}; choose a smaller unit")
    return f"{size // step}{unit if suffix is None else suffix}"


def exact(size: int) -> str:
    """Bytes in the largest unit that loses nothing: 402653184 is "384M". parse_size reads it back unchanged."""
    for power in range(len(_PREFIXES), 0, -1):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{_PREFIXES[power - 1].upper()}"
    return str(size)


def human(size: t.Union[int, float]) -> str:
    """Bytes as megabytes for a person: "384 MB", "2,048 MB", "1.5 MB"; small ones in KB or B. Sign is kept."""
    if 0 < abs(size) < KIB:
        return f"{size:.0f} B"
    if 0 < abs(size) < MIB:
        return f"{size / KIB:.0f} KB"
    number = f"{size / MIB:,.1f}"
    return f"{number[:-2] if number.endswith('.0') else number} MB"
