# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory budget as text that a person reads at a glance: services, timeline, findings."""

from __future__ import annotations

import textwrap
import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget import Phase, Verdict
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import (
    ERROR,
    WARNING,
    Finding,
    Service,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB, human

WIDTH = 92  # below 100 with the indentation of Ansible's output
BAR = 32


def _megabytes(size: t.Optional[int]) -> str:
    """A size in a column whose head says MB."""
    if size is None:
        return "-"
    text = human(size)
    return text[:-3] if text.endswith(" MB") else text


def _bar(service: Service, scale: int) -> str:
    """The limit as a bar: # up to the usage target, - from there to the limit."""
    if not scale:
        return ""
    full = max(1, round(BAR * service.memory / scale)) if service.memory else 0
    used = min(full, round(BAR * service.expected / scale))
    return "#" * used + "-" * (full - used)


def _services(verdict: Verdict) -> t.Iterator[str]:
    services = verdict.budget.services.values()
    scale = max((service.memory for service in services), default=0)
    head = f"{'service (MB)':<20}{'limit':>7}{'reserved':>10}{'target':>8}{'alert':>7}{'CPUs':>6}"
    yield f"{head}  # target  - up to the limit"
    for service in services:
        cpus = "-" if service.cpus is None else f"{service.cpus:g}"
        yield (
            f"{service.name:<20}{_megabytes(service.limit):>7}{_megabytes(service.reservation):>10}"
            f"{_megabytes(service.usage_target):>8}{_megabytes(service.alert):>7}{cpus:>6}  {_bar(service, scale)}"
        )
        if service.colours > 1:
            more = f" + {service.colours - 1} more"
            extra = service.memory * (service.colours - 1)
            expected = service.expected_young * (service.colours - 1)
            note = "only in a switch; young: as reserved"
            yield f"{more:<20}{_megabytes(extra):>7}{'':>10}{_megabytes(expected):>8}{'':>7}{cpus:>6}  {note}"


def _mark(wanted: int, available: t.Optional[int]) -> str:
    """ok and what is left, or OVER and what is missing."""
    if available is None:
        return "unknown"
    left = available - wanted
    # Rounded to the worse side.
    return f"ok, {left // MIB:,} left" if left >= 0 else f"OVER by {-(left // MIB):,}"


def _timeline(verdict: Verdict) -> t.Iterator[str]:
    total = verdict.budget.total

    def row(phase: Phase) -> str:
        return (
            f"{phase.title:<22}{_megabytes(phase.guaranteed):>7}  {_mark(phase.guaranteed, total):<14}  "
            f"{_mark(phase.guaranteed, phase.available):<14}{_megabytes(phase.expected):>9}  "
            f"{_mark(phase.expected, phase.available)}"
        )

    yield f"{'':<24}{'guaranteed: sum of limits':<43}expected: sum of targets"
    yield f"{'phase (MB)':<22}{'sum':>7}  {'in the budget':<14}  {'on this host':<14}{'sum':>9}  on this host"
    yield from map(row, verdict.timeline)


def _host(verdict: Verdict) -> t.Iterator[str]:
    budget, host, peak = verdict.budget, verdict.host, verdict.peak
    if host.memory is None:
        yield "host: memory unknown"
        return
    yield (
        f"host: {human(host.memory)} - {human(budget.system_reserve)} system - {peak.containers} x "
        f"{human(budget.container_overhead)} beside containers = {human(t.cast(int, peak.available))} at the peak"
    )
    if budget.total is not None:
        yield (
            f"kernel limit above all containers: min({human(budget.total)}, {human(host.memory)} - "
            f"{human(budget.system_reserve)}) = {human(verdict.parent_limit)}"
        )


def describe(finding: Finding) -> str:
    """One finding in a few lines: what is wrong, the arithmetic, the mend."""
    head = f"{finding.severity.upper():<8} {finding.rule}"
    lines = [f"{head} ({finding.service})" if finding.service else head]
    for label, text in (("", finding.message), ("sum: ", finding.arithmetic), ("do:  ", finding.mend)):
        if text:
            lines += textwrap.wrap(
                label + text,
                WIDTH,
                initial_indent=" " * 4,
                subsequent_indent=" " * (4 + len(label)),
                break_long_words=True,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def count(verdict: Verdict) -> str:
    """ "2 errors, 1 warning"."""
    numbers = [(len(verdict.of(severity)), severity) for severity in (ERROR, WARNING)]
    return ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for number, severity in numbers)


def table(verdict: Verdict, profile: str) -> str:
    """Services, timeline and host; no line ends with a blank, for which YAML output would quote the block."""
    total = verdict.budget.total
    title = (
        f"MEMORY BUDGET, profile {profile}: {len(verdict.budget.services)} services, "
        f"{'no total' if total is None else human(total)} for containers. {count(verdict)}."
    )
    lines = [title, "", *_services(verdict), "", *_timeline(verdict), "", *_host(verdict)]
    return "\n".join(line.rstrip() for line in lines)


def report(verdict: Verdict, profile: str) -> str:
    """The table and every finding."""
    return "\n\n".join([table(verdict, profile), *map(describe, verdict.findings)])


def failure(verdict: Verdict, profile: str, strict: bool) -> str:
    """The message that stops a deploy: every error, and that nothing was changed."""
    mode = " memory_budget_strict makes warnings errors." if strict else ""
    errors = verdict.of(ERROR)
    head = (
        f"The memory budget does not hold (profile {profile}): {len(errors)} error"
        f"{'' if len(errors) == 1 else 's'}.{mode}\nNothing was changed; what ran before still runs."
    )
    return "\n\n".join([head, *map(describe, errors)])
