# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each chart twice: a PNG for the report, and text (returned) for the terminal and the log."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import plotext
from matplotlib.figure import Figure

# A log has no colours, so series differ by their symbols.
SYMBOLS = "*o+x#@%&=~"
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f", "#57534e", "#1e3a8a")
WIDTH, HEIGHT = 100, 20

Series = Mapping[str, Sequence[tuple[float, float]]]
Marks = Mapping[str, float]


def line_chart(
    path_png: str | os.PathLike, title: str, series: Series, xlabel: str, ylabel: str, marks: Marks | None = None
) -> str:
    """Lines over a number, from zero; marks are horizontal lines with a name (limits, thresholds)."""
    marks = marks or {}
    series = {name: sorted(points) for name, points in series.items() if points}
    if not series:
        raise ValueError(f"the chart '{title}' has no points")

    figure, axes = _axes(title)
    for index, (name, points) in enumerate(series.items()):
        axes.plot(*zip(*points), label=name, color=COLOURS[index % len(COLOURS)], linewidth=1.6)
    for name, value in marks.items():
        axes.axhline(value, color="#b91c1c", linestyle="--", linewidth=1)
        axes.annotate(
            f"{name} {value:,g}", (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
    top = _top([y for points in series.values() for _x, y in points], marks)
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, top))
    if len(series) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    _save(figure, path_png)

    _plain(title)
    for index, points in enumerate(series.values()):
        plotext.plot(*map(list, zip(*points)), marker=SYMBOLS[index % len(SYMBOLS)])
    for value in marks.values():
        plotext.hline(value)
    plotext.ylim(0, top)
    plotext.xlabel(xlabel)
    plotext.ylabel(ylabel)
    names = [f"{SYMBOLS[index % len(SYMBOLS)]} {name}" for index, name in enumerate(series)]
    return _text(names + _legend(marks, "-"))


def bar_chart(
    path_png: str | os.PathLike, title: str, values: Mapping[str, float], xlabel: str, marks: Marks | None = None
) -> str:
    """Bars that lie, one below the other, each with its number; marks are vertical lines with a name."""
    marks = marks or {}
    if not values:
        raise ValueError(f"the chart '{title}' has no bars")

    top = _top(list(values.values()), marks)
    figure, axes = _axes(title, 1.2 + 0.5 * len(values))
    bars = axes.barh(list(values), list(values.values()), color=COLOURS[0], height=0.6)
    axes.bar_label(bars, fmt="{:,g}", padding=3, fontsize=8)
    for name, value in marks.items():
        axes.axvline(value, color="#b91c1c", linestyle="--", linewidth=1)
        axes.annotate(
            f"{name} {value:,g}", (value, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8
        )
    if marks:
        axes.set_title(title, loc="left", pad=18)
    axes.invert_yaxis()
    axes.set(xlabel=xlabel, xlim=(0, top))
    _save(figure, path_png)

    # One line for each bar: plotext's own bars are as tall as there is place.
    names = [f"{name} {value:,g}" for name, value in values.items()]
    space = max(map(len, names))
    room = WIDTH - space - 2
    lines = [title]
    for name, value in zip(names, values.values()):
        cells = list(("█" * round(value / top * room)).ljust(room))
        for mark in marks.values():
            cells[min(room - 1, round(mark / top * room))] = "|"
        lines.append(f"{name:>{space}} {''.join(cells)}".rstrip())
    return "\n".join(lines + _legend(marks, "|")) + "\n"


def _top(values: Sequence[float], marks: Marks) -> float:
    return max([*values, *marks.values()], default=0) * 1.08 or 1.0


def _axes(title: str, height: float = 4.5):
    # Figure without pyplot: no backend to choose, and nothing is kept in memory.
    figure = Figure(figsize=(9, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    axes.grid(True, color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path_png: str | os.PathLike) -> None:
    Path(path_png).parent.mkdir(parents=True, exist_ok=True)
    # Without the version of the library, the same figures are the same file.
    figure.savefig(path_png, metadata={"Software": None})


def _plain(title: str) -> None:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plotsize(WIDTH, HEIGHT)
    plotext.title(title)


def _text(legend: list[str]) -> str:
    text = plotext.uncolorize(plotext.build())
    return "\n".join([line.rstrip() for line in text.splitlines()] + legend) + "\n"


def _legend(marks: Marks, symbol: str) -> list[str]:
    return [f"{symbol} {name} {value:,g}" for name, value in marks.items()]
