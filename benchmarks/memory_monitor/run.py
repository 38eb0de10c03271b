#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the Memory Monitor cost?

Runs its image within the limits of the memory budget, with 12, 25, 50 and 100 containers to watch: cgroups in the
kernel's own file system, made for this and empty, of which the monitor sees no others. For each number it tells the
resident memory, the time of a sample, and the time of a scrape of a new sample, as Prometheus sees it (nobody has asked
for that sample before). Then, with 12: 100,000 scrapes over HTTP, and 20,000 samples, each rendered anew; neither may
let it grow.

Prints the figures, writes them to .dev/reports/memory_monitor.json, and ends with 1 when a goal is missed. Needs root.
What else runs on the machine is measured as well, so let that be little.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/unit/monitor"))
from cgroup_trees import configuration, identity  # noqa: E402

REPORT = ROOT / ".dev/reports/memory_monitor.json"
BUDGET = yaml.safe_load((ROOT / "roles/memory_budget/vars/main/documented.yml").read_text())[
    "__memory_budget_documented"
]
OWN = BUDGET["services"]["memory_monitor"]
CGROUPS, NAME = Path("/sys/fs/cgroup"), "bench-memory-monitor"
MB = 1 << 20
# Goals: resident memory by number of containers, milliseconds of a scrape with 12, growth, and that a container more
# costs no more among a hundred than among a few.
RESIDENT = {12: 24 * MB, 100: 28 * MB}
SCRAPE_MS, GROWTH, LINEAR = 10.0, 1 * MB, 1.5
# Samples as fast as they go, each rendered, inside the image.
GROW = """
import sys, time
from memory_monitor.pages import Pages
from memory_monitor.sampler import Sampler

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

sampler = Sampler()
pages = Pages(sampler)
number = int(sys.argv[1])
for count in range(number + 1):
    sampler.sample(float(count), 1.8e9 + count)
    assert pages("/metrics", {}).status == pages("/api/v1/status", {}).status == 200
    if count in (number // 10, number // 2, number):
        print(count, resident(), flush=True)
"""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=900)
    return done.stdout.strip()


class Cgroups:
    """Empty cgroups below one that is removed in the end."""

    def __init__(self) -> None:
        self.v2 = (CGROUPS / "cgroup.controllers").exists()
        self.roots = (
            [CGROUPS] if self.v2 else sorted({(CGROUPS / n).resolve() for n in ("memory", "cpu", "cpuacct", "pids")})
        )
        self.made: list[Path] = []

    def make(self, path: str) -> None:
        for root in self.roots:
            directory = root / NAME
            for part in ["", *path.split("/")]:
                directory = directory / part
                if not directory.exists():
                    directory.mkdir()
                    self.made.append(directory)
                    if self.v2 and part != path.split("/")[-1]:
                        (directory / "cgroup.subtree_control").write_text("+memory +cpu +pids")

    def __enter__(self) -> Cgroups:
        return self

    def __exit__(self, *_error: object) -> None:
        for directory in reversed(self.made):
            directory.rmdir()

    @property
    def mounts(self) -> list[str]:
        """Only these are seen, at the place of the whole tree."""
        if self.v2:
            return ["--volume", f"{CGROUPS / NAME}:/host/cgroup:ro"]
        names = ("memory", "cpu", "cpuacct", "pids")
        return [part for n in names for part in ("--volume", f"{CGROUPS / n / NAME}:/host/cgroup/{n}:ro")]

    def fill(self, number: int) -> None:
        """So many containers: those of the budget first, then others of the same stack."""
        services = [*BUDGET["services"], *(f"service{n}" for n in range(number))]
        for count in range(number):
            self.make(f"sixty/{services[count]}/{identity(count)}")


@contextlib.contextmanager
def monitor(image: str, config: str, cgroups: Cgroups, *command: str, limits: bool = True) -> Iterator[str]:
    options = ["--volume", f"{config}:/etc/sixty:ro", "--read-only", "--cap-drop", "ALL", "--init", *cgroups.mounts]
    if limits:
        options += ["--memory", OWN["limit"].lower(), "--memory-swap", OWN["limit"].lower(), "--cpus", str(OWN["cpus"])]
    found = docker("run", "--detach", "--name", NAME, "--publish", "127.0.0.1::8080", *options, image, *command)
    try:
        yield found
    finally:
        docker("rm", "--force", NAME)


class Client:
    """A connection that is kept, as Prometheus keeps one."""

    def __init__(self) -> None:
        port = docker("port", NAME, "8080").rpartition(":")[2]
        self.connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
        for _ in range(100):
            with contextlib.suppress(OSError, AssertionError):
                assert self.scrape()[0]["memory_monitor_samples_total"] > 2
                return
            self.connection.close()
            time.sleep(0.1)
        sys.exit(f"The monitor does not serve: {docker('logs', NAME)}")

    def fetch(self) -> tuple[bytes, float]:
        """(body, milliseconds)."""
        began = time.perf_counter()
        self.connection.request("GET", "/metrics")
        answer = self.connection.getresponse()
        body = answer.read()
        taken = (time.perf_counter() - began) * 1000
        assert answer.status == 200, body
        return body, taken

    def scrape(self) -> tuple[dict[str, float], float]:
        """(metrics without labels, milliseconds)."""
        body, taken = self.fetch()
        pairs = (line.split() for line in body.decode().splitlines() if "{" not in line and line[0] != "#")
        return {name: float(value) for name, value in pairs}, taken


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def watch(image: str, config: str, cgroups: Cgroups, number: int, looks: int) -> dict[str, float]:
    """The cost with so many containers."""
    cgroups.fill(number)
    with monitor(image, config, cgroups):
        client = Client()
        before = client.scrape()[0]
        times, samples = [], []
        for _ in range(looks):
            # At another moment between two samples each time.
            time.sleep(1.07)
            found, taken = client.scrape()
            times.append(taken)
            samples.append(found["memory_monitor_sample_duration_seconds"] * 1000)
        assert client.fetch()[0].count(b"container_memory_usage_bytes{") == number
        cpu = found["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
        return {
            "resident": found["process_resident_memory_bytes"],
            "scrape_p50": percentile(times, 0.5),
            "scrape_p99": percentile(times, 0.99),
            "sample_p50": percentile(samples, 0.5),
            "cpu_ms_a_sample": 1000
            * cpu
            / (found["memory_monitor_samples_total"] - before["memory_monitor_samples_total"]),
            "bytes": len(client.fetch()[0]),
        }


def grow(image: str, config: str, cgroups: Cgroups, scrapes: int) -> dict[str, float]:
    """How resident memory goes on over many scrapes, and over as many samples."""
    with monitor(image, config, cgroups):
        client, marks, times = Client(), {}, []
        for count in range(1, scrapes + 1):
            times.append(client.fetch()[1])
            if count in (scrapes // 10, scrapes):
                marks[count] = client.scrape()[0]["process_resident_memory_bytes"]
    samples = scrapes // 5
    with monitor(image, config, cgroups, "python3", "-c", GROW, str(samples), limits=False):
        docker("wait", NAME)
        rows = [line.split() for line in docker("logs", NAME).splitlines()]
    inside = {int(count): int(value) for count, value in rows}
    return {
        "scrapes": scrapes,
        "scrapes_growth": marks[scrapes] - marks[scrapes // 10],
        "scrapes_resident": marks[scrapes],
        "again_p99": percentile(times, 0.99),
        "samples": samples,
        "samples_growth": inside[samples] - inside[samples // 10],
        "samples_resident": inside[samples],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="default: that of the running stack's monitor")
    parser.add_argument("--looks", type=int, default=100, help="scrapes for each number of containers")
    parser.add_argument("--scrapes", type=int, default=100_000)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("This makes cgroups, which only root may.")
    image = options.image or docker("inspect", "--format", "{{.Config.Image}}", "sixty-memory_monitor")
    with tempfile.TemporaryDirectory() as config, Cgroups() as cgroups:
        os.chmod(config, 0o755)
        (Path(config) / "current").mkdir()
        (Path(config) / "current/monitor.json").write_text(configuration())
        rows = {number: watch(image, config, cgroups, number, options.looks) for number in (12, 25, 50, 100)}
    with tempfile.TemporaryDirectory() as config, Cgroups() as cgroups:
        os.chmod(config, 0o755)
        (Path(config) / "current").mkdir()
        (Path(config) / "current/monitor.json").write_text(configuration())
        cgroups.fill(12)
        growth = grow(image, config, cgroups, options.scrapes)

    def each(few: int, many: int) -> float:
        return (rows[many]["cpu_ms_a_sample"] - rows[few]["cpu_ms_a_sample"]) / (many - few)

    few, many = each(12, 50), each(50, 100)
    print(
        f"The Memory Monitor within {OWN['limit']} and {OWN['cpus']} CPUs, {options.looks} scrapes of new samples each"
    )
    heads = ("containers", "resident MB", "scrape p50 ms", "p99 ms", "sample ms", "CPU ms/s", "KB")
    print(" ".join(f"{head:>13}" for head in heads))
    for number, row in rows.items():
        times = [f"{row[name]:13.2f}" for name in ("scrape_p50", "scrape_p99", "sample_p50", "cpu_ms_a_sample")]
        print(f"{number:13} {row['resident'] / MB:13.1f} {' '.join(times)} {row['bytes'] / 1000:13.0f}")
    print(f"One container more costs {few:.3f} ms of CPU a second up to 50, {many:.3f} from there: {many / few:.2f}")
    print(f"{growth['scrapes']:,} scrapes: {growth['scrapes_growth'] / MB:+.2f} MB, p99 {growth['again_p99']:.2f} ms")
    print(f"{growth['samples']:,} samples, each rendered: {growth['samples_growth'] / MB:+.2f} MB")
    print("Growth counts from a tenth of them on.")
    goals = {
        f"{number} containers: at most {most // MB} MB": rows[number]["resident"] <= most
        for number, most in RESIDENT.items()
    }
    goals[f"12 containers: p99 of a scrape at most {SCRAPE_MS:.0f} ms"] = rows[12]["scrape_p99"] <= SCRAPE_MS
    goals["no growth"] = max(growth["scrapes_growth"], growth["samples_growth"]) <= GROWTH
    goals[f"linear: at most {LINEAR}"] = many <= LINEAR * few
    for goal, met in goals.items():
        print(f"{'met   ' if met else 'MISSED'} {goal}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(
        json.dumps({"containers": rows, "growth": growth, "linear": many / few, "goals": goals}, indent=2) + "\n"
    )
    return 0 if all(goals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
