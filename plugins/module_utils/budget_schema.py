# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory budget as typed values.

What cannot be read becomes a finding and is left out, so that one run names everything that is wrong. The types and
names of a service's settings are those of the reference (the documented profile): a size there must be a size here.
"""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import (
    SizeError,
    parse_size,
    positive_size,
)

ERROR = "error"
WARNING = "warning"

Parser = t.Callable[[t.Any], t.Any]


@dataclass(frozen=True)
class Finding:
    """One thing a person should know; rule is a stable id, service is empty for the budget as a whole."""

    rule: str
    severity: str
    service: str
    message: str
    arithmetic: str
    mend: str


@dataclass(frozen=True)
class Service:
    """One entry of the budget; sizes are bytes, None is a value that is absent or could not be read."""

    name: str
    limit: t.Optional[int] = None
    reservation: t.Optional[int] = None
    usage_target: t.Optional[int] = None
    alert: t.Optional[int] = None
    cpus: t.Optional[float] = None
    cpus_reservation: t.Optional[float] = None
    pids_limit: t.Optional[int] = None
    oom_score_adj: t.Optional[int] = None
    shm_size: t.Optional[int] = None
    colours: int = 1
    tmpfs: t.Mapping[str, int] = field(default_factory=dict)
    settings: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def memory(self) -> int:
        """The limit for sums: one that could not be read is an error already and counts nothing."""
        return self.limit or 0

    @property
    def expected(self) -> int:
        """Bytes a warm container is expected to use: its usage target, or all of its limit where none is set."""
        return self.memory if self.usage_target is None else self.usage_target

    @property
    def expected_young(self) -> int:
        """Bytes of the container beside the one that serves: young from its start to the end of the drain, it is
        expected at its reservation."""
        return self.expected if self.reservation is None else min(self.reservation, self.expected)


@dataclass(frozen=True)
class Budget:
    """The whole budget; None is a value that is absent or could not be read."""

    services: t.Mapping[str, Service]
    total: t.Optional[int] = None
    totals: t.Mapping[str, t.Any] = field(default_factory=dict)
    thresholds: t.Mapping[str, t.Any] = field(default_factory=dict)
    system_reserve: int = 0
    container_overhead: int = 0


def _number(value: t.Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is no number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is no number") from None
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not above zero")
    return number


def _whole(least: int, most: float = float("inf")) -> Parser:
    """A parser of whole numbers from least to most; digits in a string count, as -e name=value gives them."""

    def parse(value: t.Any) -> int:
        try:
            if isinstance(value, bool) or not isinstance(value, (int, str)):
                raise ValueError
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is no whole number") from None
        if not least <= number <= most:
            span = f"from {least} to {most}" if most != float("inf") else f"{least} or more"
            raise ValueError(f"{value!r} is outside what is allowed: {span}")
        return number

    return parse


def _text(value: t.Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{value!r} is no text")
    return str(value)


def _flag(value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _names(value: t.Any) -> t.List[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{value!r} is no list of service names")
    return value


_PERCENT = _whole(1, 100)
_SECTIONS: t.Dict[str, t.Dict[str, Parser]] = {
    "budget": {"total": positive_size},
    "documented_totals": {
        "services": _names,
        "limit": positive_size,
        "usage_target": positive_size,
        "alert": positive_size,
    },
    "thresholds": {
        "warning_percent": _PERCENT,
        "critical_percent": _PERCENT,
        "container_percent": _PERCENT,
        "total_alert": positive_size,
        "total_critical": positive_size,
    },
    "host": {"system_reserve": parse_size, "container_overhead": parse_size},
}
_SERVICE: t.Dict[str, Parser] = {
    "limit": positive_size,
    "reservation": positive_size,
    "usage_target": positive_size,
    "alert": positive_size,
    "cpus": _number,
    "cpus_reservation": _number,
    "pids_limit": _whole(1),
    "oom_score_adj": _whole(-1000, 1000),
    "shm_size": positive_size,
    "colours": _whole(1),
}


def _parser_like(reference: t.Any) -> Parser:
    """The parser for values of the reference's kind."""
    if isinstance(reference, bool):
        return _flag
    if isinstance(reference, int):
        return _whole(0)
    if isinstance(reference, float):
        return _number
    try:
        parse_size(reference)
    except SizeError:
        return _text
    return positive_size


def _as_mapping(value: t.Any) -> t.Dict[str, t.Any]:
    """A mapping as it is, anything else as an empty one (for a reference that is not ours to judge)."""
    return value if isinstance(value, dict) else {}


class _Reader:
    """Reads mappings and collects what is wrong with them."""

    def __init__(self, overrides: t.Any) -> None:
        self.overrides = overrides
        self.findings: t.List[Finding] = []

    def where(self, path: t.Sequence[str]) -> str:
        """The place to change: the override if there is one, else the budget itself."""
        node = self.overrides
        for key in path:
            if not isinstance(node, dict) or key not in node:
                return ".".join(path)
            node = node[key]
        return ".".join(["memory_budget_overrides", *path])

    def error(self, rule: str, path: t.Sequence[str], message: str, mend: str) -> None:
        service = path[1] if path[0] == "services" and len(path) > 1 else ""
        self.findings.append(Finding(rule, ERROR, service, f"{self.where(path)} {message}", "", mend))

    def mapping(self, value: t.Any, path: t.Sequence[str]) -> t.Dict[str, t.Any]:
        if isinstance(value, dict):
            return value
        self.error(
            "value/type", path, f"is {value!r}, but a mapping of names to values belongs here", "Write a mapping."
        )
        return {}

    def unknown(self, noun: str, path: t.Sequence[str], known: t.Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(str(path[-1]), names, n=1)
        mend = f"Did you mean {close[0]}?" if close else f"Take it out. Known here: {', '.join(names)}."
        self.error(f"override/unknown-{noun}", path, f"is no {noun} of the budget; nothing would read it", mend)

    def fields(
        self, value: t.Any, parsers: t.Mapping[str, Parser], path: t.Sequence[str], noun: str = "key", null: bool = True
    ) -> t.Dict[str, t.Any]:
        """The entries of one mapping that could be read; null says whether an entry may be empty, which is absent."""
        result = {}
        for name, raw in self.mapping(value, path).items():
            place = [*path, str(name)]
            if name not in parsers:
                self.unknown(noun, place, parsers)
            elif raw is not None:
                try:
                    result[name] = parsers[name](raw)
                except SizeError as error:
                    self.error(f"size/{error.rule}", place, f"cannot be read: {error}", "Write a size such as 64M.")
                except ValueError as error:
                    self.error("value/type", place, f"cannot be read: {error}", "Write a value of the documented kind.")
            elif not null:
                self.error("value/missing", place, "is empty, but a role renders it", "Give it a value.")
        return result

    def service(self, name: str, value: t.Any, reference: t.Dict[str, t.Any]) -> Service:
        path = ["services", name]
        entry = dict(self.mapping(value, path))
        settings = self.fields(
            entry.pop("settings", {}),
            {key: _parser_like(example) for key, example in _as_mapping(reference.get("settings")).items()},
            [*path, "settings"],
            noun="setting",
            null=False,
        )
        mounts = self.mapping(entry.pop("tmpfs", None) or {}, [*path, "tmpfs"])
        tmpfs = self.fields(mounts, dict.fromkeys(mounts, positive_size), [*path, "tmpfs"])
        for mount in mounts:
            if not str(mount).startswith("/"):
                self.error(
                    "tmpfs/path", [*path, "tmpfs", str(mount)], "is no absolute path", "Write the path with a /."
                )
        if entry.get("limit") is None and isinstance(value, dict):
            self.error(
                "limit/missing",
                [*path, "limit"],
                "is missing: the service has no memory limit and could take the whole host",
                f"Give it one; the documented value is {reference.get('limit', 'not known')}.",
            )
        # Only for the hint: these two are read above.
        known = {**_SERVICE, "settings": _as_mapping, "tmpfs": _as_mapping}
        return Service(name=name, tmpfs=tmpfs, settings=settings, **self.fields(entry, known, path))


def read_budget(data: t.Any, reference: t.Any, overrides: t.Any) -> t.Tuple[Budget, t.List[Finding]]:
    """The merged budget as typed values, and an error for each value, name or shape that is not what it should be.

    reference is the documented profile: what it does not know, nothing reads. overrides is what the user changed
    and serves to name the place to mend.
    """
    reader = _Reader(overrides)
    known = _as_mapping(reference)
    sections: t.Dict[str, t.Dict[str, t.Any]] = {name: {} for name in _SECTIONS}
    services = {}
    for name, value in reader.mapping(data, ["budget"]).items():
        if name in _SECTIONS:
            sections[name] = reader.fields(value, _SECTIONS[name], [name])
        elif name != "services":
            reader.unknown("key", [str(name)], [*_SECTIONS, "services"])
    known_services = _as_mapping(known.get("services"))
    for name, value in reader.mapping(_as_mapping(data).get("services"), ["services"]).items():
        if name in known_services:
            services[name] = reader.service(name, value, _as_mapping(known_services[name]))
        else:
            reader.unknown("service", ["services", str(name)], known_services)
    if _as_mapping(_as_mapping(data).get("budget")).get("total") is None:
        reader.error("budget/total", ["budget", "total"], "is missing", "Say how much all containers may take: 2048M.")
    return (
        Budget(
            services=services,
            total=sections["budget"].get("total"),
            totals=sections["documented_totals"],
            thresholds=sections["thresholds"],
            system_reserve=sections["host"].get("system_reserve", 0),
            container_overhead=sections["host"].get("container_overhead", 0),
        ),
        reader.findings,
    )


def read_service(entry: t.Any) -> Service:
    """One entry of the budget by itself. Raises ValueError that names each value that cannot be read."""
    reader = _Reader({})
    service = reader.service("service", entry, _as_mapping(entry))
    if reader.findings:
        raise ValueError("; ".join(finding.message for finding in reader.findings))
    return service
