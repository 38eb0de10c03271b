# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both forms of a chart show what they were given."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import charts  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\n"


def test_lines(tmp_path):
    path = tmp_path / "deep" / "lines.png"
    text = charts.line_chart(
        path,
        "Memory",
        {"api": [(10, 60), (0, 40)], "redis": [(0, 4.5), (10, 5)], "gone": []},
        "s",
        "MB",
        {"limit": 100},
    )
    assert path.read_bytes().startswith(PNG)
    assert "Memory" in text and "- limit 100" in text
    assert "* api" in text and "o redis" in text and "gone" not in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= charts.WIDTH + 5


def test_the_same_figures_are_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        charts.line_chart(tmp_path / name, "t", {"x": [(0, 1), (1, 2)]}, "s", "MB")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_bars_are_as_long_as_their_numbers(tmp_path):
    text = charts.bar_chart(tmp_path / "bars.png", "LCP", {"one": 500, "two": 1000}, "ms", {"threshold": 1500})
    one, two = (line for line in text.splitlines() if "█" in line)
    assert abs(two.count("█") - 2 * one.count("█")) <= 1
    assert "1,000" in two and two.count("|") == 1
    assert text.splitlines()[-1] == "| threshold 1,500"
    assert (tmp_path / "bars.png").read_bytes().startswith(PNG)


def test_nothing_but_zeroes_is_a_chart(tmp_path):
    assert "none 0" in charts.bar_chart(tmp_path / "bars.png", "Errors", {"none": 0}, "")
    charts.line_chart(tmp_path / "lines.png", "Errors", {"none": [(0, 0)]}, "s", "")


def test_no_points_are_no_chart(tmp_path):
    with pytest.raises(ValueError, match="'Empty' has no points"):
        charts.line_chart(tmp_path / "x.png", "Empty", {"a": []}, "s", "MB")
    with pytest.raises(ValueError, match="'Empty' has no bars"):
        charts.bar_chart(tmp_path / "x.png", "Empty", {}, "ms")
