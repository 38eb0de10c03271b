# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of stack_report as tables for a terminal. Pure: colours come from the caller, as C(paint(text, level))."""

from __future__ import annotations

import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.stack_report import Data

Paint = t.Callable[[str, str], str]
# Text, and the level that it is painted in; empty for none.
Cell = t.Tuple[str, str]
MIB = 1024**2
# The Memory Monitor's own mark for a prediction.
CONFIDENT = 0.95
# Seconds ahead that are worth a word.
SOON = 86400
BAR_MINIMUM, BAR_MAXIMUM = 10, 40
# Columns that a narrow terminal goes without, in this order.
SPARE = (">target", ">restarts", ">in use", ">OOM kills")
# Levels of what is no share of a limit.
HEALTH_LEVELS = {"healthy": "ok", "unhealthy": "critical", "starting": "warning", "stale": "warning"}
ALERT_LEVELS = {"critical": "critical", "warning": "warning"}


def plain(text: str, level: str) -> str:
    """No colour."""
    return text


def printable(text: t.Any) -> str:
    """Without control characters: a container's probe or a label of an alert moves no cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def mebibytes(size: t.Optional[float], sign: bool = False) -> str:
    """A size in MB (1024^2); a dash where nothing is known."""
    return "-" if size is None else f"{size / MIB:{'+' if sign else ''}.1f}"


def duration(seconds: t.Optional[float]) -> str:
    """Two units at most, such as 3d 4h; a dash where nothing is known."""
    if seconds is None:
        return "-"
    left = int(seconds)
    parts: t.List[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def bar(share: float, width: int, marks: t.Iterable[float] = ()) -> str:
    """A share in percent as a bar of characters, with marks in what is not filled."""
    full = max(0, min(width, round(share * width / 100)))
    cells = ["#"] * full + ["-"] * (width - full)
    for mark in marks:
        place = min(width - 1, int(mark * width / 100))
        if place >= full:
            cells[place] = "|"
    return "[" + "".join(cells) + "]"


def table(heads: t.Sequence[str], rows: t.Sequence[t.Sequence[Cell]], paint: Paint) -> t.List[str]:
    """Lines with aligned columns; a heading that begins with ">" is of a column that is aligned to the right."""
    names = [head.lstrip(">") for head in heads]
    widths = [max(len(name), *(len(row[at][0]) for row in rows), 0) for at, name in enumerate(names)]

    def line(cells: t.Sequence[Cell]) -> str:
        parts = []
        for (text, level), head, width in zip(cells, heads, widths):
            padded = text.rjust(width) if head.startswith(">") else text.ljust(width)
            # The padding stays unpainted, so that the end of a line can be cut.
            parts.append(padded.replace(text, paint(text, level), 1) if level and text else padded)
        return "  ".join(parts).rstrip()

    return [line([(name, "") for name in names]), *(line(row) for row in rows)]


def resources(document: Data, width: int = 110, paint: Paint = plain) -> t.List[str]:
    """Memory of each running container and of all, most filled first, and what is wrong in words."""
    marks = sorted(document["thresholds"].values())
    running = (row for row in document["containers"] if row["running"])
    rows = sorted(running, key=lambda row: (-row["percent"], row["name"]))

    def cells(row: Data, bar_width: int) -> t.Dict[str, Cell]:
        level, killed = row["level"], row.get("oom_kills")
        # Without confidence a slope is noise.
        is_sure = (row.get("growth_confidence") or 0) >= CONFIDENT
        growth = mebibytes(row.get("growth_bytes_per_hour") if is_sure else None, sign=True)
        return {
            "container": (printable(row["name"]), ""),
            ">not freed": (mebibytes(row["unreclaimable"]), level),
            ">in use": (mebibytes(row["usage"]), ""),
            ">target": (f"{row['usage_target'] / MIB:.0f}" if row.get("usage_target") else "-", ""),
            ">limit": (f"{row['limit'] / MIB:.0f}", ""),
            ">%": (f"{row['percent']:.0f}", level),
            "": (bar(row["percent"], bar_width, marks), level),
            ">per hour": (growth, "alert" if row.get("leak") else ""),
            ">restarts": (str(row.get("restarts", "-")), ""),
            ">OOM kills": ("-" if killed is None else str(killed), "critical" if killed else ""),
        }

    def lines_of(bar_width: int, left_out: t.Sequence[str], painted: Paint) -> t.List[str]:
        found = [cells(row, bar_width) for row in (*rows, document["total"])]
        heads = [head for head in found[0] if head not in left_out]
        return table(heads, [[row[head] for head in heads] for row in found], painted)

    # The bar takes what the other columns leave; where that is too little, the least of them go.
    for count in range(len(SPARE) + 1):
        rest = width - max(map(len, lines_of(0, SPARE[:count], plain)))
        if rest >= BAR_MINIMUM:
            break
    lines = lines_of(max(BAR_MINIMUM, min(BAR_MAXIMUM, rest)), SPARE[:count], paint)
    lines.append("Sizes in MB. Not freed is what the kernel cannot take back; | marks " + _percents(marks) + " %.")
    host = document["memory"]
    if host:
        lines.append(
            f"Host: {mebibytes(host['memory_available'])} of {mebibytes(host['memory_total'])} MB available, "
            f"{host['oom_kills']} OOM kills since it started."
        )
    return [*lines, *(paint(text, level) for text, level in _warnings(document))]


def _percents(marks: t.Iterable[float]) -> str:
    return ", ".join(f"{mark:g}" for mark in marks)


def _warnings(document: Data) -> t.Iterator[Cell]:
    for row in document["containers"]:
        name = printable(row["name"])
        if row["leak"]:
            yield f"{name} grows by {mebibytes(row['growth_bytes_per_hour'])} MB an hour: a leak is suspected.", "alert"
        if row["exhaustion_seconds"] is not None and row["exhaustion_seconds"] < SOON:
            yield f"{name} reaches its limit in {duration(row['exhaustion_seconds'])} at this pace.", "alert"
        for difference in row["differences"]:
            yield f"{printable(difference)}.", "critical"
    if not document["monitor"]["answers"]:
        problem = printable(document["monitor"]["problem"])
        yield f"The Memory Monitor does not answer ({problem}): engine and kernel alone, no growth.", "warning"


def resources_line(document: Data, paint: Paint = plain) -> str:
    """All together, and the container that is nearest to its limit, in one line."""
    total = document["total"]
    text = f"{mebibytes(total['unreclaimable'])} of {total['limit'] / MIB:.0f} MB {bar(total['percent'], 20)}"
    parts = [paint(text, total["level"])]
    if document["containers"]:
        worst = max(document["containers"], key=lambda row: row["percent"])
        parts.append(paint(f"{printable(worst['name'])} {worst['percent']:.0f} %", worst["level"]))
    if not document["monitor"]["answers"]:
        parts.append(paint("monitor does not answer", "warning"))
    return "  ".join(parts)


def health(document: Data, width: int = 110, paint: Paint = plain) -> t.List[str]:
    """A line a container, a line a request, the alerts that fire, and the verdict."""

    def mood(is_well: bool) -> str:
        return "ok" if is_well else "critical"

    rows = [
        [
            (printable(row["name"]), ""),
            (row["state"], mood(row["ok"]) if row["state"] in ("running", "stopped", "absent") else ""),
            (row["health"], HEALTH_LEVELS.get(row["health"], "")),
            (duration(row["seconds"]), ""),
            (str(row["restarts"]), "warning" if row["restarts"] else ""),
            (str(row["oom_kills"]), "critical" if row["oom_kills"] else ""),
        ]
        for row in document["services"]
    ]
    lines = table(["container", "state", "health", ">up", ">restarts", ">OOM kills"], rows, paint)
    asked = [
        [
            (printable(row["name"]), ""),
            (str(row["status"] or "no answer"), mood(row["ok"])),
            (printable(row["release"] or "-"), ""),
            (f"{row['seconds'] * 1000:.0f} ms", ""),
            (printable(row["error"])[:width], ""),
        ]
        for row in document["requests"]
    ]
    if asked:
        lines += ["", *table(["request", "answer", "release", ">took", ""], asked, paint)]
    lines.append("")
    for row in document["services"]:
        if row["health"] == "unhealthy":
            probe = printable(row["probe"].strip()) or "no output"
            lines.append(paint(f"{printable(row['name'])} is unhealthy; its probe: {probe}", "critical"))
    stale = [printable(row["name"]) for row in document["services"] if row["health"] == "stale"]
    if stale:
        text = (
            f"The engine has stopped asking for the health of {', '.join(stale)}, as one before 23.0 does when it was"
        )
        lines.append(paint(f"{text} restarted. For each: docker pause NAME && docker unpause NAME", "warning"))
    if document["alerts"] is None:
        lines.append("Whether alerts fire is not known: Prometheus does not say.")
    for alert in document["alerts"] or []:
        words = " ".join(filter(None, (alert["name"], alert["service"])))
        text = f"Alert {printable(words)} fires: {printable(alert['summary'])}"
        lines.append(paint(text, ALERT_LEVELS.get(alert["severity"], "")))
    if document["healthy"]:
        lines.append(paint("Everything is healthy and served.", "ok"))
    return lines
