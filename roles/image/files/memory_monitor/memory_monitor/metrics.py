# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture as Prometheus metrics, in cAdvisor's names and semantics where it has them.

prometheus_client holds the data model, the registry and the collectors of process_* and python_*. Importing the
package as a whole also loads its HTTP servers, with ssl, wsgiref and urllib: measured 15 MB of resident memory, half
of this service's limit, against 3.5 MB for the modules that are used. So the package is entered without its
__init__, and the text format (prometheus/docs, exposition_formats.md) is written here; a test holds it against
prometheus_client's own.
"""

from __future__ import annotations

import importlib.util
import sys

if "prometheus_client" not in sys.modules:
    _found = importlib.util.find_spec("prometheus_client")
    if _found is None:
        raise ImportError("prometheus_client is not installed")
    sys.modules["prometheus_client"] = importlib.util.module_from_spec(_found)

from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import CollectorRegistry
from prometheus_client.utils import floatToGoString

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Name, type, figure of cgroup.py, help. failcnt is a counter without _total at cAdvisor, which promtool rejects.
CONTAINER = (
    ("container_memory_usage_bytes", "gauge", "usage", "Memory usage with the page cache."),
    ("container_memory_working_set_bytes", "gauge", "working_set", "Usage without inactive file pages."),
    ("container_memory_unreclaimable_bytes", "gauge", "unreclaimable", "Usage without file pages: what alerts watch."),
    ("container_memory_rss", "gauge", "rss", "Anonymous memory, in bytes."),
    ("container_memory_cache", "gauge", "cache", "Page cache with tmpfs and shared memory, in bytes."),
    ("container_memory_mapped_file", "gauge", "mapped_file", "Mapped files, in bytes."),
    ("container_memory_swap", "gauge", "swap_usage", "Swap in use, in bytes."),
    ("container_memory_failcnt", "unknown", "failcnt", "How often usage hit the limit."),
    ("container_memory_max_usage_bytes", "gauge", "peak", "Highest usage so far."),
    ("container_spec_memory_limit_bytes", "gauge", "limit", "Memory limit; 0 is none."),
    ("container_spec_memory_reservation_limit_bytes", "gauge", "reservation", "Memory reservation; 0 is none."),
    ("container_spec_cpu_quota", "gauge", "cpu_quota", "CPU quota in microseconds a period, if there is one."),
    ("container_spec_cpu_period", "gauge", "cpu_period", "CPU period in microseconds."),
    ("container_spec_cpu_shares", "gauge", "cpu_shares", "CPU weight in cgroup v1's shares."),
    ("container_cpu_usage_seconds_total", "counter", "cpu_seconds", "CPU time used."),
    ("container_cpu_cfs_throttled_seconds_total", "counter", "throttled_seconds", "Time that tasks were throttled."),
    ("container_cpu_cfs_throttled_periods_total", "counter", "throttled_periods", "Periods with throttled tasks."),
    ("container_cpu_cfs_periods_total", "counter", "periods", "Periods of the CPU quota."),
    ("container_threads", "gauge", "tasks", "Processes and threads, as the limit of pids counts them."),
    ("container_pressure_memory_waiting_seconds_total", "counter", "pressure_waiting", "Some task waited for memory."),
    ("container_pressure_memory_stalled_seconds_total", "counter", "pressure_stalled", "All tasks waited for memory."),
)
# The same, out of what the tracker knows.
TRACKED = (
    ("container_start_time_seconds", "gauge", "start_time", "When its cgroup was made."),
    ("container_memory_growth_bytes_per_hour", "gauge", "hourly", "Robust slope of unreclaimable memory."),
    ("container_memory_growth_confidence", "gauge", "certainty", "How sure it is that memory grows, 0 to 1."),
    ("container_memory_leak_suspected", "gauge", "leak", "1 where memory grows for long, lasting and surely."),
)
# Those that are there for a while after the container went, too.
COUNTED = (
    ("container_oom_events_total", "counter", "oom_kills", "Processes that the kernel killed for lack of memory."),
    ("container_restarts_total", "counter", "restarts", "Starts of the same container, after the first that was seen."),
)
BUDGET = (
    ("memory_budget_limit_bytes", "limit", "Budget: limit."),
    ("memory_budget_reservation_bytes", "reservation", "Budget: reservation."),
    ("memory_budget_usage_target_bytes", "usage_target", "Budget: usage target."),
    ("memory_budget_alert_bytes", "alert", "Budget: alert threshold."),
)
LABELS = ("id", "name", "stack", "service", "slot", "release")


def family(name, kind, help_text, samples):
    """A metric family of (labels, value). A counter's suffix belongs to its samples, as prometheus_client has it."""
    found = Metric(name.removesuffix("_total"), help_text, kind)
    for labels, value in samples:
        if value is not None:
            found.add_sample(name, labels, value)
    return found


def registry(picture):
    """This service's metrics and those of its process; C(picture) is a function that gives the last picture."""
    found = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=found)
    found.register(Collector(picture))
    return found


class Collector:
    """Collects from the last picture."""

    def __init__(self, picture):
        self._picture = picture

    def collect(self):
        picture = self._picture()
        yield from containers(picture)
        yield from stack_and_budget(picture)
        yield from machine(picture)


def containers(picture):
    running = [({label: facts[label] for label in LABELS}, facts, figures) for facts, figures in picture.running]
    for name, kind, figure, text in CONTAINER:
        unset = -1 if figure == "cpu_quota" else None
        values = ((labels, figures[figure]) for labels, _facts, figures in running if figures[figure] != unset)
        yield family(name, kind, text, values)
    for name, kind, fact, text in TRACKED:
        yield family(name, kind, text, ((labels, tracked(facts, fact)) for labels, facts, _figures in running))
    text = "Time of the last sample."
    yield family("container_last_seen", "gauge", text, ((labels, picture.time) for labels, _facts, _figures in running))
    everyone = [(labels, facts) for labels, facts, _figures in running]
    everyone += [({label: facts[label] for label in LABELS}, facts) for facts in picture.unseen]
    for name, kind, fact, text in COUNTED:
        yield family(name, kind, text, ((labels, facts[fact]) for labels, facts in everyone))


def tracked(facts, fact):
    if fact == "hourly":
        return None if facts["growth"] is None else facts["growth"] * 3600
    return facts[fact]


def stack_and_budget(picture):
    settings = picture.settings
    for figure in ("usage", "unreclaimable", "limit"):
        values = (({"stack": stack}, figures[figure]) for stack, figures in sorted(picture.stacks.items()))
        yield family(f"stack_memory_{figure}_bytes", "gauge", f"The stack's own cgroup: {figure}.", values)
    # The own stack has its 0 before its first kill; a series that begins with 1 is no rise.
    kills = [({"stack": stack}, count) for stack, count in sorted({settings.stack: 0, **picture.stack_kills}.items())]
    yield family("stack_oom_kills_total", "counter", "OOM kills in the stack's containers.", kills)
    for name, key, text in BUDGET:
        # What the budget leaves open is 0 there.
        values = (({"service": service}, entry[key] or None) for service, entry in settings.services.items())
        yield family(name, "gauge", text, values)
    for key, value in settings.totals.items():
        yield family(f"memory_budget_{key}_bytes", "gauge", f"Budget: {key}.", [({}, value)])
    percents = [({"level": key.rpartition("_")[0]}, value) for key, value in settings.percents.items()]
    yield family("memory_budget_threshold_percent", "gauge", "Thresholds in percent of a limit.", percents)
    phase = "overlap" if picture.overlap else "steady"
    phases = [({"phase": name}, int(name == phase)) for name in ("steady", "overlap")]
    yield family("memory_budget_phase", "gauge", "1 for the present phase; overlap: two releases run.", phases)


def machine(picture):
    host = picture.host

    def single(name, kind, text, value, labels=None):
        return family(name, kind, text, [] if value is None else [(labels or {}, value)])

    for key in ("memory_total", "memory_available", "swap_total", "swap_free"):
        yield single(f"host_{key}_bytes", "gauge", f"/proc/meminfo: {key}.", host.get(key))
    yield single("host_oom_kills_total", "counter", "OOM kills of the whole machine.", picture.host_kills)
    text = "Some task of the machine waited for memory."
    yield single("host_pressure_memory_waiting_seconds_total", "counter", text, host.get("pressure_waiting"))
    for index, kind in enumerate(("size", "available")):
        values = [({"filesystem": name}, sizes[index]) for name, sizes in picture.filesystems.items()]
        yield family(f"host_filesystem_{kind}_bytes", "gauge", f"Filesystem: {kind}.", values)
    release, backup = picture.release or {}, picture.backup or {}
    active = {key: release.get(key) for key in ("slot", "release")}
    yield single("release_active", "gauge", "The release that is served.", 1 if release else None, active)
    yield single("release_switched_timestamp_seconds", "gauge", "Time of the last switch.", release.get("switched"))
    text = "When the last backup ended that succeeded."
    yield single("backup_last_success_timestamp_seconds", "gauge", text, backup.get("finished"))
    yield single("backup_size_bytes", "gauge", "Size of that backup.", backup.get("bytes"))
    text = "When a backup was last restored elsewhere and compared."
    yield single("backup_last_verified_timestamp_seconds", "gauge", text, backup.get("verified"))
    text = "When a backup was last copied to another host."
    yield single("backup_last_copied_timestamp_seconds", "gauge", text, backup.get("copied"))
    text = "When a backup failed, until one succeeds in all."
    yield single("backup_last_failure_timestamp_seconds", "gauge", text, backup.get("failed"))
    text = "When the served certificate ends."
    yield single("certificate_not_after_timestamp_seconds", "gauge", text, picture.settings.certificate_not_after)
    errors = [({"reason": reason}, count) for reason, count in picture.errors.items()]
    yield family("memory_monitor_read_errors_total", "counter", "What could not be read, by reason.", errors)
    duration = picture.sample_seconds
    yield single("memory_monitor_sample_duration_seconds", "gauge", "Duration of the last sample.", duration)
    yield single("memory_monitor_samples_total", "counter", "Samples so far.", picture.samples)


def escape(text):
    return text.replace("\\", r"\\").replace("\n", r"\n")


def render(registry):
    """The registry's metrics in the text format, in a buffer that grows family by family."""
    body = bytearray()
    # A container's labels are one object in all families. Kept, so that its address stays its own.
    known = {}
    for found in registry.collect():
        name = f"{found.name}_total" if found.type == "counter" else found.name
        kind = "untyped" if found.type == "unknown" else found.type
        lines = [f"# HELP {name} {escape(found.documentation)}\n# TYPE {name} {kind}\n"]
        for sample in found.samples:
            labels, text = known.get(id(sample.labels), (None, ""))
            if labels is None and sample.labels:
                pairs = sorted(sample.labels.items())
                quoted = ((key, escape(value).replace('"', r"\"")) for key, value in pairs)
                text = "{" + ",".join(f'{key}="{value}"' for key, value in quoted) + "}"
                known[id(sample.labels)] = (sample.labels, text)
            lines.append(f"{sample.name}{text} {floatToGoString(sample.value)}\n")
        body += "".join(lines).encode()
    return body
