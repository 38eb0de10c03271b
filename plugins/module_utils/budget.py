# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory budget, judged: a timeline of the deploy instead of one sum, and findings with their arithmetic.

Two answers for each phase. Guaranteed memory is the sum of limits: what containers may take at once. Expected memory
is the sum of usage targets: what they are meant to take. Both are compared with the budget and with the host.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import (
    ERROR,
    WARNING,
    Budget,
    Finding,
    Service,
    read_budget,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.engine_rules import check_engine
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB, human, parse_size

Findings = t.Iterator[Finding]

# Docker refuses a lower limit ("Minimum memory limit allowed is 6MB", moby/moby daemon_unix.go).
DOCKER_MINIMUM = 6 * MIB
# Beside the pools: two connections of the exporter, which keeps one and opens one a scrape, and one of the schema
# migration, which runs while both APIs may be up.
EXPORTER_CONNECTIONS = 2
MIGRATION_CONNECTIONS = 1
# name, title, whether the second colour is up
PHASES = (
    ("steady", "steady", False),
    ("overlap", "overlap (both APIs)", True),
    ("drain", "drain (old API ends)", True),
    ("promoted", "promoted", False),
)


@dataclass(frozen=True)
class Host:
    """What the machine has; None where it is not known. Memory in bytes."""

    memory: t.Optional[int] = None
    cpus: t.Optional[int] = None


@dataclass(frozen=True)
class Phase:
    """One phase of a deploy; sizes are bytes.

    available is what the host has for containers: MemTotal - system reserve - overhead per container, None where the
    host is not known.
    """

    name: str
    title: str
    containers: int
    guaranteed: int
    expected: int
    available: t.Optional[int]


@dataclass(frozen=True)
class Verdict:
    """Everything there is to know about a budget; parent_limit is bytes for the cgroup above all containers."""

    budget: Budget
    host: Host
    timeline: t.Tuple[Phase, ...]
    findings: t.Tuple[Finding, ...]
    parent_limit: int

    @property
    def peak(self) -> Phase:
        """The phase with the largest sum of limits."""
        return max(self.timeline, key=lambda phase: phase.guaranteed)

    def of(self, severity: str) -> t.List[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]


def timeline(budget: Budget, host: Host) -> t.Tuple[Phase, ...]:
    """The phases of a deploy. A service with colours runs once, and once per colour during overlap and drain."""
    phases = []
    for name, title, switching in PHASES:
        containers = guaranteed = expected = 0
        for service in budget.services.values():
            young = service.colours - 1 if switching else 0
            containers += 1 + young
            guaranteed += service.memory * (1 + young)
            expected += service.expected + young * service.expected_young
        available = None
        if host.memory is not None:
            available = host.memory - budget.system_reserve - budget.container_overhead * containers
        phases.append(Phase(name, title, containers, guaranteed, expected, available))
    return tuple(phases)


def judge(
    data: t.Any,
    documented: t.Any = None,
    overrides: t.Any = None,
    host: Host = Host(),
    strict: bool = False,
) -> Verdict:
    """Reads a merged budget and checks all of it; never raises for what a user wrote.

    documented is the reference for names and kinds of values (the budget itself where there is none), overrides what
    the user changed. strict makes every warning an error.
    """
    reference = data if documented is None else documented
    budget, findings = read_budget(data, reference, overrides or {})
    phases = timeline(budget, host)
    for service in budget.services.values():
        findings += [*check_service(service, host), *check_engine(service)]
    findings += [
        *check_sum(budget, phases, reference),
        *check_connections(budget),
        *check_host(budget, phases, host),
        *check_thresholds(budget),
        *check_documented_totals(budget),
    ]
    if strict:
        findings = [replace(finding, severity=ERROR) for finding in findings]
    findings.sort(key=lambda finding: finding.severity != ERROR)
    limits = [] if budget.total is None else [budget.total]
    if host.memory is not None:
        limits.append(host.memory - budget.system_reserve)
    return Verdict(budget, host, phases, tuple(findings), max(0, min(limits, default=0)))


def check_service(service: Service, host: Host) -> Findings:
    """What holds for every container, whatever runs in it."""

    def find(severity: str, rule: str, message: str, arithmetic: str, mend: str) -> Finding:
        return Finding(rule, severity, service.name, message, arithmetic, mend)

    limit, target, alert = service.limit, service.usage_target, service.alert
    if limit is not None:
        if limit < DOCKER_MINIMUM:
            yield find(
                ERROR,
                "limit/below-minimum",
                "The limit is below the least that Docker accepts; is its unit missing?",
                f"{human(limit)} < {human(DOCKER_MINIMUM)}",
                "6M at least; a number without a unit is bytes.",
            )
        for rule, name, value, why in (
            ("reservation", "reservation", service.reservation, "Docker refuses such a container"),
            ("target", "usage_target", target, "the service is expected to be OOM-killed"),
            ("alert", "alert", alert, "the alert can never fire"),
        ):
            if value is not None and value > limit:
                yield find(
                    ERROR,
                    f"{rule}/above-limit",
                    f"{name} is above the limit: {why}.",
                    f"{human(value)} > {human(limit)}",
                    f"Raise the limit, or lower {name} by {human(value - limit)}.",
                )
        mounts = {**service.tmpfs, **({"/dev/shm": service.shm_size} if service.shm_size else {})}
        needed = (target or 0) + sum(mounts.values())
        if mounts and needed > limit:
            terms = [f"{human(target or 0)} expected", *(f"{path} {human(size)}" for path, size in mounts.items())]
            yield find(
                ERROR,
                "tmpfs/does-not-fit",
                "A tmpfs counts against the container's limit, and full ones do not fit beside the program.",
                f"{' + '.join(terms)} = {human(needed)} > {human(limit)}",
                f"Take {human(needed - limit)} off the tmpfs sizes, or raise the limit.",
            )
    if target is not None and alert is not None and alert < target:
        yield find(
            WARNING,
            "alert/below-target",
            "The alert fires while the service still is within its usage target.",
            f"{human(alert)} < {human(target)}",
            f"alert of {human(target)} or more, or a lower usage_target.",
        )
    if service.cpus is not None and host.cpus is not None and service.cpus > host.cpus:
        yield find(
            WARNING,
            "cpu/above-host",
            "The CPU limit is more than the host has, so it limits nothing.",
            f"{service.cpus:g} > {host.cpus} CPUs",
            f"cpus of {host.cpus} at most.",
        )
    if service.cpus is not None and service.cpus_reservation is not None and service.cpus_reservation > service.cpus:
        yield find(
            ERROR,
            "cpu/reservation-above-limit",
            "The CPU reservation is above the CPU limit, so it cannot be used.",
            f"{service.cpus_reservation:g} > {service.cpus:g} CPUs",
            "A lower cpus_reservation, or more cpus.",
        )


def check_sum(budget: Budget, phases: t.Sequence[Phase], reference: t.Any) -> Findings:
    """Limits within the budget: in the steady state, and at the peak, while two releases are up."""
    if budget.total is None:
        return
    peak = max(phases, key=lambda phase: phase.guaranteed)
    steady = phases[0]
    phase, switching = (steady, False) if steady.guaranteed > budget.total else (peak, True)
    over = phase.guaranteed - budget.total
    if over <= 0:
        return
    parts = []
    for service in budget.services.values():
        times = f"{service.colours} x " if switching and service.colours > 1 else ""
        parts.append(f"{service.name} {times}{_megabytes(service.limit)}")
    yield Finding(
        "budget/peak" if switching else "budget/sum",
        ERROR,
        "",
        "While both APIs are up during the switch, the limits are more than the budget; before and after they fit."
        if switching
        else "The limits of all services are more than the budget.",
        f"{' + '.join(parts)} = {human(phase.guaranteed)} > {human(budget.total)}, {human(over)} too much",
        f"Take {human(over)} off the limits{_raised(budget, reference)}.",
    )


def _megabytes(size: t.Optional[int]) -> str:
    """A term of a sum that ends in MB; a size that could not be read is a question mark."""
    return "?" if size is None else human(size).replace(" MB", "")


def _raised(budget: Budget, reference: t.Any) -> str:
    """Which limits are above the documented ones, so that the mend can name them."""
    documented, _unused = read_budget(reference, reference, {})
    raised = [
        f"{name} by {human(service.memory - documented.services[name].memory)}"
        for name, service in budget.services.items()
        if name in documented.services and service.memory > documented.services[name].memory
    ]
    return f"; above the documented ones: {', '.join(raised)}" if raised else ", or raise budget.total"


def check_connections(budget: Budget) -> Findings:
    """Every pool at its maximum, in both colours, must find a connection.

    PostgreSQL refuses the rest ("sorry, too many clients already"), and keeps superuser_reserved_connections back.
    """
    postgres = budget.services.get("postgres")
    if postgres is None or postgres.settings.get("max_connections") is None:
        return
    most, reserved = postgres.settings["max_connections"], postgres.settings.get("reserved_connections", 0)
    pools = [
        (service, service.settings["pool_max"])
        for service in budget.services.values()
        if "pool_max" in service.settings
    ]
    exporter = EXPORTER_CONNECTIONS if "postgres_exporter" in budget.services else 0
    needed = sum(pool * service.colours for service, pool in pools) + exporter + MIGRATION_CONNECTIONS + reserved
    if needed <= most:
        return
    terms = [f"{service.name} {pool} x {service.colours} colours" for service, pool in pools]
    terms += [f"{exporter} exporter", f"{MIGRATION_CONNECTIONS} migration", f"{reserved} reserved"]
    yield Finding(
        "postgres/connections",
        ERROR,
        "postgres",
        "While both colours are up, PostgreSQL would refuse connections that the pools may open.",
        f"{' + '.join(terms)} = {needed} > max_connections {most}",
        f"max_connections of {needed} (see what that costs in memory), or a smaller pool_max.",
    )


def check_host(budget: Budget, phases: t.Sequence[Phase], host: Host) -> Findings:
    """Does the host have it? Expected memory must fit; guaranteed memory should.

    Each container costs its shim outside of its limit: containerd-shim-runc-v2, 10 to 11 MB (measured;
    containerd/containerd#7878).
    """
    if host.memory is None:
        return

    def find(severity: str, noun: str, message: str) -> t.Optional[Finding]:
        """The phase that lacks most of one kind of memory, if any lacks some."""
        phase = max(phases, key=lambda phase: getattr(phase, noun) - t.cast(int, phase.available))
        wanted, available = getattr(phase, noun), t.cast(int, phase.available)
        if wanted <= available:
            return None
        outside = budget.system_reserve + budget.container_overhead * phase.containers
        return Finding(
            f"host/{noun}",
            severity,
            "",
            f"{message} Worst phase: {phase.title}.",
            f"{human(t.cast(int, host.memory))} - {human(budget.system_reserve)} system - {phase.containers} containers"
            f" x {human(budget.container_overhead)} = {human(available)} < {human(wanted)} {noun}",
            f"A host with {human(wanted + outside)} or more, or {human(wanted - available)} less for services.",
        )

    if host.memory <= budget.system_reserve:
        yield Finding(
            "host/reserve",
            ERROR,
            "",
            "The host has no memory left for containers after what the system needs.",
            f"{human(host.memory)} - {human(budget.system_reserve)} = {human(host.memory - budget.system_reserve)}",
            "A host with more memory.",
        )
        return
    found = find(ERROR, "expected", "The host cannot hold even what the services are expected to use.") or find(
        WARNING,
        "guaranteed",
        "The host holds what the services are expected to use, but not all limits at once: the stack's own cgroup "
        "limit will kill inside the stack before the host runs out.",
    )
    if found:
        yield found


def check_thresholds(budget: Budget) -> Findings:
    """Warnings come before critical alerts, and both before the budget is used up."""
    values = budget.thresholds
    for low, high in (
        ("warning_percent", "critical_percent"),
        ("total_alert", "total_critical"),
        ("total_critical", "total"),
    ):
        first, second = values.get(low), budget.total if high == "total" else values.get(high)
        if first is not None and second is not None and first >= second:
            show = human if low.startswith("total") else "{} %".format
            yield Finding(
                "thresholds/order",
                WARNING,
                "",
                f"thresholds.{low} is not below {'budget' if high == 'total' else 'thresholds'}.{high}.",
                f"{show(first)} >= {show(second)}",
                f"A lower {low}, or a higher {high}.",
            )


def check_documented_totals(budget: Budget) -> Findings:
    """The last row of the requirement's table: the sums of its six services must stay within what it states."""
    names = budget.totals.get("services", [])
    for name in names:
        if name not in budget.services:
            yield Finding(
                "override/unknown-service",
                ERROR,
                name,
                f"documented_totals.services names {name}, which is no service of the budget.",
                "",
                f"Take it out. Known here: {', '.join(sorted(budget.services))}.",
            )
    services = [budget.services[name] for name in names if name in budget.services]
    for column in ("limit", "usage_target", "alert"):
        stated = budget.totals.get(column)
        parts = [(service.name, getattr(service, column)) for service in services]
        total = sum(size or 0 for _name, size in parts)
        terms = " + ".join(f"{name} {_megabytes(size)}" for name, size in parts)
        if stated is not None and total > stated:
            yield Finding(
                f"totals/{column.replace('_', '-')}",
                WARNING,
                "",
                f"The {column} of the documented six services is more than the documented total.",
                f"{terms} = {human(total)} > {human(stated)}",
                f"Take {human(total - stated)} off, or change documented_totals.{column} knowingly.",
            )


def as_result(verdict: Verdict) -> t.Dict[str, t.Any]:
    """The verdict as plain data for Ansible; sizes are bytes."""
    budget, peak = verdict.budget, verdict.peak
    return {
        "parent_limit": verdict.parent_limit,
        "rows": [
            {
                "service": service.name,
                **{
                    name: getattr(service, name)
                    for name in ("limit", "reservation", "usage_target", "alert", "cpus", "cpus_reservation", "colours")
                },
            }
            for service in budget.services.values()
        ],
        "totals": {
            "budget": budget.total,
            "limit": verdict.timeline[0].guaranteed,
            "expected": verdict.timeline[0].expected,
            "peak": peak.guaranteed,
            "peak_expected": max(phase.expected for phase in verdict.timeline),
            "containers": verdict.timeline[0].containers,
            "peak_containers": peak.containers,
        },
        "timeline": [
            {
                "phase": phase.name,
                "containers": phase.containers,
                "guaranteed": phase.guaranteed,
                "expected": phase.expected,
                "host_available": phase.available,
                "fits_budget": budget.total is not None and phase.guaranteed <= budget.total,
                "fits_host_guaranteed": None if phase.available is None else phase.guaranteed <= phase.available,
                "fits_host_expected": None if phase.available is None else phase.expected <= phase.available,
            }
            for phase in verdict.timeline
        ],
        "findings": [vars(finding).copy() for finding in verdict.findings],
        "host_memory": verdict.host.memory,
        "host_cpus": verdict.host.cpus,
    }


def host_memory(meminfo: str) -> int:
    """MemTotal of /proc/meminfo in bytes; its "kB" are KiB (proc_meminfo(5)). Raises ValueError if there is none."""
    for line in meminfo.splitlines():
        name, _colon, value = line.partition(":")
        if name == "MemTotal":
            return parse_size(value)
    raise ValueError("/proc/meminfo has no MemTotal")
