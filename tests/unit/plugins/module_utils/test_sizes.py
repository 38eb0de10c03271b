# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import (
    SizeError,
    exact,
    human,
    parse_size,
    positive_size,
    to_unit,
)
from hypothesis import given
from hypothesis import strategies as st

MB = 1024**2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * MB),
        ("64mb", 64 * MB),
        ("96MB", 96 * MB),
        ("512MiB", 512 * MB),
        ("8kB", 8192),
        ("8192 kB", 8192 * 1024),
        (" 1g ", 1024 * MB),
        ("2T", 2 * 1024**4),
        ("1.5K", 1536),
        ("1.34G", 1438814044),  # 1,438,814,044.16: the fraction of a byte is dropped
        ("100b", 100),
        ("7", 7),
        ("0", 0),
        (0, 0),
        (12345, 12345),
        ("+3M", 3 * MB),
    ],
)
def test_reads_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("value", "rule", "words"),
    [
        ("512Q", "unit", "unknown unit 'Q'; the units are B, K, M, G and T"),
        ("512MBB", "unit", "unknown unit 'MBB'"),
        ("1.5", "unit", "unit missing"),
        ("-512M", "negative", "'-512M' is negative"),
        (-1, "negative", "-1 is negative"),
        ("", "type", "'' is no size"),
        ("M", "type", "'M' is no size"),
        ("1,024M", "type", "no size"),
        ("5%", "type", "no size"),
        ("900 1 300 10", "type", "no size"),
        ("1e3M", "type", "no size"),
        ("\u0661M", "type", "no size"),  # a digit, but not one of ours
        (1.5, "type", "1.5 is no size"),
        (None, "type", "None is no size"),
        (True, "type", "True is no size"),
        (["512M"], "type", "['512M'] is no size"),
        ({}, "type", "{} is no size"),
        ("99999999999T", "range", "more than any machine has"),
        (2**63, "range", "more than any machine has"),
        ("9" * 5000, "type", "no size"),
    ],
)
def test_says_what_is_wrong(value, rule, words):
    with pytest.raises(SizeError) as caught:
        parse_size(value)
    assert caught.value.rule == rule
    assert words in str(caught.value)


@pytest.mark.parametrize("zero", [0, "0", "0M", "0.0001K"])
def test_zero_is_no_limit(zero):
    assert parse_size(zero) == 0
    with pytest.raises(SizeError, match="read as unlimited") as caught:
        positive_size(zero)
    assert caught.value.rule == "zero"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("96M", "MB"), "96MB"),
        (("64M", "mb"), "64mb"),
        (("102M", "MiB"), "102MiB"),
        (("384M", "M", ""), "384"),
        (("2M", "kB"), "2048kB"),
        (("2M", "K", " KB"), "2048 KB"),
        ((4096, "B"), "4096B"),
        (("2G", "M"), "2048M"),
    ],
)
def test_writes_the_unit_of_a_program(arguments, text):
    assert to_unit(*arguments) == text


def test_never_rounds_a_cap():
    with pytest.raises(SizeError, match="no whole number of GB"):
        to_unit("1536M", "GB")
    with pytest.raises(SizeError, match="unknown unit 'X'"):
        to_unit("1M", "X")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (384 * MB, "384 MB"),
        (2048 * MB, "2,048 MB"),
        (MB * 3 // 2, "1.5 MB"),
        (2048, "2 KB"),
        (7, "7 B"),
        (0, "0 MB"),
        (-52 * MB, "-52 MB"),
    ],
)
def test_shows_sizes_to_people(size, text):
    assert human(size) == text


SIZES = st.integers(min_value=0, max_value=2**63 - 1)


@given(SIZES)
def test_exact_reads_back(size):
    assert parse_size(exact(size)) == size


@given(st.integers(min_value=0, max_value=2**20), st.sampled_from(["B", "kB", "MB", "mb", "MiB", "G", "tb"]))
def test_to_unit_reads_back(number, unit):
    assert to_unit(f"{number}{unit}", unit) == f"{number}{unit}"
    assert parse_size(to_unit(f"{number}{unit}", "B")) == parse_size(f"{number}{unit}")


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.integers()), st.binary()))
def test_anything_else_is_a_size_error(value):
    try:
        assert 0 <= parse_size(value) < 2**63
    except SizeError as error:
        assert str(error)
