#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does each memory profile survive?

Deploys the whole stack with the profile `documented` as a stack of its own, puts five minutes of redis-benchmark,
pgbench and requests through nginx to the API on it, all at once, and removes it; then the same with `hardened`. Redis
is filled far beyond its limit, PostgreSQL is kept busy with a database larger than its buffers, and the API is asked at
a constant rate (tests/performance/api_load.py). The generators have memory and processors of their own.

Reports both side by side to the terminal and to build/reports/profiles (summary.md, summary.json): answered requests a
second, what failed, OOM kills by the kernel's log, restarts by the engine, memory by the Memory Monitor once a second.
Ends with 1 when the safe profile, `hardened`, had an OOM kill, a restart or a failed request. It needs root, and the
images' names in .dev/images.env: `make benchmark-profiles`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = {
    "stack_name": "bench_profiles",
    "stack_subnet_prefix": "10.76",
    "nginx_http_port": 18077,
    "memory_monitor_port": 18078,
    "prometheus_port": 18079,
    "alertmanager_port": 18080,
}
# The helpers of the tests are what is measured with, on this stack.
os.environ["SIXTY_TEST_SETTINGS"] = json.dumps(SETTINGS)
sys.path[:0] = [str(ROOT / ".dev/collections"), str(ROOT / "tests/performance")]

import api_load
import container_memory
import figures
from ansible_collections.sixty_sales.memory_optimized.tests.integration.kernel_log import KernelLog
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    NAME,
    PORT,
    UNLIMITED,
    containers,
    deploy,
    docker,
    eventually,
    info,
    play,
    serves,
    sql,
)

REPORTS = ROOT / "build/reports/profiles"
PROFILES, SAFE = ("documented", "hardened"), "hardened"
API_RATE = 50
REDIS_REQUESTS, REDIS_BYTES, REDIS_KEYS, REDIS_CLIENTS = 100_000, 512, 1_000_000, 20
PG_SCALE, PG_CLIENTS = 10, 4
# For each generator, beside the stack.
BOUNDS = ("--cpus=0.5", "--memory=256m", "--memory-swap=256m")
# Beyond the load's own time, until a generator has to have ended.
GRACE = 90

# Both go on until the time is over, whatever becomes of the server.
REDIS_LOAD = f"""
end=$(($(date +%s) + $1))
while [ $(date +%s) -lt $end ]; do
  timeout 60 redis-benchmark -h {NAME}-redis --user admin -a "$PASSWORD" -t set,get --csv \
    -n {REDIS_REQUESTS} -d {REDIS_BYTES} -r {REDIS_KEYS} -c {REDIS_CLIENTS} 2>&1
  code=$?
  echo; echo "ended $code"
  [ $code = 0 ] || sleep 0.2
done
"""
PG_FILL = f"exec pgbench -h {NAME}-postgres -U sixty -i -q -s {PG_SCALE} bench 2>&1"
PG_LOAD = f"""
cd /log || exit
end=$(($(date +%s) + $1))
number=0
while left=$((end - $(date +%s))); [ $left -gt 0 ]; do
  number=$((number + 1))
  pgbench -h {NAME}-postgres -U sixty -n -c {PG_CLIENTS} -T $left -l --log-prefix=run$number bench 2>&1 || sleep 0.2
done
"""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def secret(name: str) -> str:
    return (ROOT / ".dev/secrets" / NAME / f"{name}_password").read_text().split()[0]


# What a generator needs of the stack: its network, the variable of the password, and the password.
WAYS_IN = {"redis": ("cache", "PASSWORD", "redis_admin"), "postgres": ("db", "PGPASSWORD", "postgres_app")}


class Generator:
    """A program of a service's image, in a container outside of the stack, next to the service that it loads."""

    def __init__(self, service: str, script: str, seconds: int = 0, *options: str) -> None:
        network, variable, password = WAYS_IN[service]
        self.name = f"{NAME}-load-{service}"
        command = ["docker", "run", "--rm", "--name", self.name, "--network", f"{NAME}-{network}", *BOUNDS, *options]
        command += ["--user=0", "--tmpfs=/tmp", "--env", variable, "--entrypoint=sh"]
        command += [os.environ[f"SIXTY_{service.upper()}_IMAGE"], "-c", script, "sh", str(seconds)]
        # A pipe that nobody reads would stop it.
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            # All may see a command line.
            env={**os.environ, variable: secret(password)},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_error: object) -> None:
        docker("rm", "--force", self.name, check=False)
        self._process.wait(30)
        self._output.close()

    def said(self, seconds: float) -> str:
        """All that it has written, when it has ended."""
        code = self._process.wait(seconds)
        self._output.seek(0)
        text = self._output.read()
        if code:
            raise RuntimeError(f"{self.name} ended with {code}:\n{text[-2000:]}")
        return text


def restarts() -> dict[str, int]:
    """Service -> how often the engine has started its container again."""
    return {entry["Config"]["Labels"]["sixty.service"]: entry["RestartCount"] for entry in containers()}


def fill() -> None:
    """A database of pgbench beside the application's, by the application's role."""
    sql("CREATE DATABASE bench OWNER sixty")
    with Generator("postgres", PG_FILL) as filling:
        filling.said(300)


def under_load(seconds: int) -> dict[str, Any]:
    """All three at once; what they came to, and what the services had to bear."""
    source, look = container_memory.source(
        f"http://127.0.0.1:{SETTINGS['memory_monitor_port']}", f"http://127.0.0.1:{PORT}", NAME
    )
    before, log = restarts(), KernelLog(NAME)
    with contextlib.ExitStack() as stack:
        stack.callback(log.close)
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="profiles-")))
        recorder = stack.enter_context(container_memory.Recorder(look))
        redis = stack.enter_context(Generator("redis", REDIS_LOAD, seconds))
        postgres = stack.enter_context(Generator("postgres", PG_LOAD, seconds, f"--volume={folder}:/log"))
        samples = api_load.run(f"http://127.0.0.1:{PORT}", API_RATE, seconds, 0)
        loads = {
            f"API, {API_RATE} requests/s": figures.api_figures(api_load.summary(samples, seconds)["all"]),
            f"redis-benchmark, SET and GET of {REDIS_BYTES} bytes": figures.redis_figures(
                redis.said(GRACE), REDIS_REQUESTS, seconds
            ),
            f"pgbench, {PG_CLIENTS} clients": figures.postgres_figures(postgres.said(GRACE), lines(folder), seconds),
        }
        # The API serves from PostgreSQL whatever becomes of Redis, which may be away for a moment yet.
        eventually(serves, "page and data are served after the load")
        kills = log.kills()
    again = {service: count - before.get(service, 0) for service, count in restarts().items()}
    recorded = container_memory.summary(recorder.looks)
    return {
        "loads": loads,
        "services": figures.service_figures(recorded, kills, again, NAME),
        "peak_together_mb": round(
            max(sum(facts["used"] for facts in looked.values()) for _at, looked in recorder.looks) / (1 << 20), 1
        ),
        "memory_from": source,
        "looks": len(recorder.looks),
        "looks_failed": len(recorder.errors),
    }


def lines(folder: pathlib.Path) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        yield from path.read_text().splitlines()


def measure(profile: str, seconds: int) -> dict[str, Any]:
    say(f"profile {profile}: the whole stack")
    try:
        deploy(
            "--tags=all",
            **UNLIMITED,
            memory_budget_profile=profile,
            release_watch_seconds=0,
            image_optional=["grafana", "loki", "fluent_bit"],
        )
        fill()
        eventually(serves, "page and data are served")
        say(f"profile {profile}: {seconds} s of redis-benchmark, pgbench and {API_RATE} requests/s to the API")
        return under_load(seconds)
    finally:
        destroy()


def destroy() -> None:
    """Removes the stack with its data; it is not there to be kept."""
    ended = play(playbook="playbooks/destroy.yml", docker_host_purge=True)
    if ended.code:
        raise RuntimeError(f"the stack could not be removed:{ended.tail}")
    shutil.rmtree(ROOT / f".dev/secrets/{NAME}", ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=300, help="of load on each profile (default: 300)")
    options = parser.parse_args()
    if options.seconds < 20:
        sys.exit("20 seconds of load are the least.")
    if os.geteuid() != 0 or "SIXTY_BASE_IMAGE" not in os.environ:
        sys.exit("This needs root, and the images' names as environment; use `make benchmark-profiles`.")
    # Like Ctrl-C, so that the stack is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # One that was cut short may have left something.
    destroy()
    results = {profile: measure(profile, options.seconds) for profile in PROFILES}
    engine = info()
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": options.seconds,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "engine": engine["ServerVersion"],
        "cgroup": int(engine.get("CgroupVersion") or 1),
        "profiles": results,
        "problems": figures.problems(SAFE, results[SAFE]),
    }
    told = figures.tables(results)
    together = ", ".join(f"{profile} {one['peak_together_mb']:,.0f} MB" for profile, one in results.items())
    note = f"{options.seconds} s of load on each profile. Peak of all services together: {together} of 2,048 MB."
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "summary.json").write_text(json.dumps(report, indent=2) + "\n")
    (REPORTS / "summary.md").write_text(f"## Memory profiles under load\n\n{told}\n\n{note}\n")
    print(f"\n{told}\n\n{note}\nFigures: {REPORTS.relative_to(ROOT)}/summary.json")
    if report["problems"]:
        sys.exit("The safe profile did not hold:\n  " + "\n  ".join(report["problems"]))


if __name__ == "__main__":
    main()
