#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does a deploy take that has nothing to do?

The whole stack, with all that watches it: a first deploy with the images present, then several that have
nothing to do, the number of their tasks, and where the time goes.

Then the application tier twice on this machine, each time as a stack of its own: with the
collection's deploy.yml, and with one_task_a_file.yml, which lands the same files with one task each.
Makes sure that both are the same (every file, mode and owner; every container's settings) and serve,
then deploys each again several times, in turn, so that both meet the same noise.

A run that changes something fails. Reports medians to the terminal and to .dev/reports/no_change_deploy.json,
removes all stacks, and ends with 1 when a goal is missed: 30 s for the whole stack, no more for each service of
it than for one of the tier, and a third of the time of one task a file.

Both variants share ansible.cfg, inventory and interpreter, connect locally, and gather no facts;
what gathering would add to either is measured as well.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import io
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPORT = ROOT / ".dev/reports/no_change_deploy.json"
INVENTORY = ["-i", "inventories/local"]
GOAL = 1 / 3
WHOLE_GOAL = 30
SERVICES = ("postgres", "redis", "nginx", "api")
PARTS = ("whole", "comparison")
# Each has a published port.
WATCHERS = ("memory_monitor", "prometheus", "alertmanager", "grafana")


class Variant:
    """A stack of its own, and the playbook that deploys it."""

    def __init__(self, title: str, playbook: str, stack: str, subnets: str, port: int, *options: str) -> None:
        self.title, self.playbook, self.stack, self.subnets, self.port = title, playbook, stack, subnets, port
        self.options = options
        self.variables: pathlib.Path | None = None
        self.runs: list[dict] = []

    def deploy(self, *options: str, seconds: int = 300, **environment: str) -> dict:
        """Runs the playbook; wall-clock and CPU seconds, and the counts of its recap."""
        options = (*self.options, *options)
        return play(self.playbook, "-e", f"@{self.variables}", *options, seconds=seconds, **environment)

    def neutral(self, text: str) -> str:
        """Without what has to differ between two stacks on one host."""
        return text.replace(self.stack, "STACK").replace(f"{self.subnets}.", "SUBNET.").replace(str(self.port), "PORT")


def play(playbook: str, *options: str, seconds: int = 300, **environment: str) -> dict:
    """Runs a playbook. Exits with its output when it fails or does not end in time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        done = subprocess.run(
            ["ansible-playbook", *INVENTORY, playbook, *options],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
        sys.exit(f"{playbook} did not end within {seconds} s:\n{output[-4000:]}")
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    recap = re.search(r"ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=(\d+)", done.stdout)
    if done.returncode or recap is None:
        sys.exit(f"{playbook} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    ok, changed, _unreachable, _failed, skipped = map(int, recap.groups())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": wall, "cpu": cpu, "tasks": ok + skipped, "changed": changed, "output": done.stdout}


def ad_hoc(module: str) -> float:
    """Seconds that one module takes on its own."""
    began = time.monotonic()
    subprocess.run(
        ["ansible", *INVENTORY, "stack", "-m", module],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
    return time.monotonic() - began


def as_root(*command: str) -> bytes:
    """The output of a command that reads what only root may read."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.run([*sudo, *command], check=True, stdout=subprocess.PIPE, timeout=60).stdout


def landed(variant: Variant, release: str) -> dict[str, list]:
    """Every landed file with mode, owner, group and content."""
    found = {}
    for service in SERVICES:
        folder = f"api-{release}" if service == "api" else service
        archive = as_root("tar", "-cf", "-", "-C", f"/srv/{variant.stack}/config/{folder}/current/", ".")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                text = variant.neutral(content.read().decode()) if content else None
                found[f"{service}/{member.name}"] = [oct(member.mode), member.uid, member.gid, text]
    for path in (f"/etc/logrotate.d/{variant.stack}", f"/etc/systemd/system/logrotate.timer.d/{variant.stack}.conf"):
        found[variant.neutral(path)] = [variant.neutral(as_root("cat", path).decode())]
    return found


def containers(variant: Variant, release: str) -> dict[str, dict]:
    """What the engine has recorded of each container."""
    found = {}
    for service in SERVICES:
        name = f"{variant.stack}-{service}" + (f"-{release}" if service == "api" else "")
        text = variant.neutral(as_root("docker", "inspect", name).decode())
        (entry,) = json.loads(text)
        host = dict(entry["HostConfig"], Binds=sorted(entry["HostConfig"]["Binds"]))
        config = entry["Config"]
        found[service] = {
            "host": host,
            "networks": sorted(entry["NetworkSettings"]["Networks"]),
            "running": entry["State"]["Running"],
            "config": {key: config[key] for key in ("Image", "Cmd", "User", "Healthcheck", "StopSignal")},
            "env": sorted(config["Env"]),
        }
    return found


def differences(ours: dict, theirs: dict, path: str = "") -> list[str]:
    """Where two nested dictionaries differ."""
    found = []
    for key in sorted(set(ours) | set(theirs)):
        one, other = ours.get(key), theirs.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{path}{key}: ")
        elif one != other:
            found.append(f"{path}{key}: {one!r} and {other!r}")
    return found


def served_release(variant: Variant) -> str:
    """The release that answers through nginx, by the API's own word; waits for a fresh stack."""
    for left in range(60, -1, -1):
        url = f"http://127.0.0.1:{variant.port}/api/release"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["release"]
        if left:
            time.sleep(1)
    sys.exit(f"{variant.title}: the API did not answer through nginx on port {variant.port} within a minute.")


def profile(variant: Variant) -> dict:
    """Module runs on the host, loop items included, the tasks and the roles that take longest (a run of its own)."""
    run = variant.deploy(
        "-vvv", ANSIBLE_CALLBACKS_ENABLED="ansible.posix.profile_tasks", PROFILE_TASKS_TASK_OUTPUT_LIMIT="all"
    )
    tasks = [
        (name.replace("sixty_sales.memory_optimized.", ""), float(seconds))
        for name, seconds in re.findall(r"^(\S.*?) -{2,} +([\d.]+)s$", run["output"], re.MULTILINE)
    ]
    roles: dict[str, float] = collections.defaultdict(float)
    for name, seconds in tasks:
        roles[name.partition(" : ")[0] if " : " in name else "(no role)"] += seconds
    modules = re.findall(r"^Using module file ", run["output"].replace("<localhost> ", ""), re.MULTILINE)
    return {
        "modules": len(modules),
        "top": sorted(tasks, key=lambda task: -task[1])[:8],
        "roles": {name: round(roles[name], 2) for name in sorted(roles, key=lambda name: -roles[name])},
    }


def unchanged(variant: Variant) -> dict:
    """A deploy that has nothing to do, kept among the variant's runs."""
    run = variant.deploy()
    if run["changed"]:
        sys.exit(f"{variant.title} changed something where nothing was due:\n{run['output'][-4000:]}")
    variant.runs.append(run)
    return run


def median(variant: Variant, figure: str) -> float:
    return statistics.median(run[figure] for run in variant.runs)


def table(ours: Variant, theirs: Variant, report: dict) -> str:
    """The result for a person."""
    one, other = report["variants"][ours.title], report["variants"][theirs.title]
    lines = [
        f"No-change deploy of the application tier, median of {len(ours.runs)} runs in turn, {report['files']} files",
        f"{'':34}{ours.title:>16}{theirs.title:>18}{'ratio':>8}",
    ]
    for label, key in (("seconds", "seconds"), ("CPU seconds (user + system)", "cpu")):
        lines.append(f"{label:34}{one[key]:>16.2f}{other[key]:>18.2f}{one[key] / other[key]:>8.2f}")
    for label, key in (("tasks (ok + skipped)", "tasks"), ("module runs on the host", "modules")):
        lines.append(f"{label:34}{one[key]:>16}{other[key]:>18}")
    lines.append(f"Gathering facts would add {report['gathering']:.2f} s to either.")
    for variant in (ours, theirs):
        lines.append(f"Longest tasks of {variant.title}:")
        lines += [f"  {seconds:5.2f} s  {name}" for name, seconds in report["variants"][variant.title]["top"]]
    return "\n".join(lines)


def prepare(variants: list[Variant], folder: pathlib.Path, app: pathlib.Path) -> None:
    """Variables of both stacks, with the same secrets and the same application."""
    for variant in variants:
        variant.variables = folder / f"{variant.stack}.json"
        settings = {
            "stack_name": variant.stack,
            "stack_subnet_prefix": variant.subnets,
            "nginx_http_port": variant.port,
            "local_secrets": str(folder / "secrets"),
            "release_app_source": str(app),
            "release_seed_rows": 0,
            "release_watch_seconds": 0,
            **{f"{name}_port": variant.port + 100 * step for step, name in enumerate(WATCHERS, start=1)},
        }
        variant.variables.write_text(json.dumps(settings))


def measure_whole(whole: Variant, rounds: int) -> dict:
    """The whole stack, without the services whose images no registry gives."""
    print("==> A deploy that builds what is missing, and is removed", flush=True)
    whole.deploy(seconds=900)
    destroy([whole])
    first = whole.deploy()
    print(f"==> First deploy of the whole stack: {first['seconds']:.2f} s", flush=True)
    served_release(whole)
    for number in range(rounds):
        print(f"==> Round {number + 1} of {rounds}: {unchanged(whole)['seconds']:.2f} s", flush=True)
    listed = as_root("docker", "ps", "--quiet", "--filter", f"label=sixty.stack={whole.stack}").split()
    return {
        "services": len(listed),
        "first_seconds": round(first["seconds"], 2),
        "seconds": round(median(whole, "seconds"), 2),
        "cpu": round(median(whole, "cpu"), 2),
        "runs": [round(run["seconds"], 2) for run in whole.runs],
        "tasks": whole.runs[0]["tasks"],
        **profile(whole),
    }


def whole_table(report: dict) -> str:
    """The result for a person."""
    roles = [f"  {seconds:5.2f} s  {name}" for name, seconds in list(report["roles"].items())[:8]]
    return "\n".join(
        [
            f"Whole stack, {report['services']} services: no-change deploy {report['seconds']:.2f} s, median of "
            f"{len(report['runs'])} ({report['seconds'] / report['services']:.2f} s a service)",
            f"{report['cpu']:.2f} CPU seconds, {report['tasks']} tasks, {report['modules']} module runs on the host",
            f"First deploy with the images present: {report['first_seconds']:.2f} s, without a watch.",
            "Roles that take longest:",
            *roles,
            "Tasks that take longest:",
            *(f"  {seconds:5.2f} s  {name}" for name, seconds in report["top"]),
        ]
    )


def measure(ours: Variant, theirs: Variant, folder: pathlib.Path, rounds: int) -> dict:
    """Brings both up, compares them, and times them."""
    print("==> First deploy with the collection (builds what is missing)", flush=True)
    ours.deploy(seconds=900)
    print("==> First deploy with one task a file", flush=True)
    literal = folder / "literal.json"
    play("benchmarks/no_change_deploy/settings.yml", "-e", f"@{theirs.variables}", "-e", f"settings_file={literal}")
    theirs.variables = literal
    theirs.deploy()

    release = served_release(ours)
    if served_release(theirs) != release:
        sys.exit("The two stacks serve different releases: the application changed meanwhile. Run it again.")
    files = landed(ours, release)
    unequal = differences(files, landed(theirs, release)) + differences(
        containers(ours, release), containers(theirs, release)
    )
    if unequal:
        sys.exit("The two stacks are not the same, so their times cannot be compared:\n  " + "\n  ".join(unequal))

    for number in range(rounds):
        for variant in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            run = unchanged(variant)
            print(f"==> Round {number + 1} of {rounds}: {variant.title} {run['seconds']:.2f} s", flush=True)

    report = {
        "files": sum(value[-1] is not None for value in files.values()),
        "gathering": max(0.0, ad_hoc("ansible.builtin.setup") - ad_hoc("ansible.builtin.ping")),
        "goal": round(GOAL, 3),
        "ratio": round(median(ours, "seconds") / median(theirs, "seconds"), 3),
        "variants": {},
    }
    for variant in (ours, theirs):
        report["variants"][variant.title] = {
            "seconds": round(median(variant, "seconds"), 2),
            "cpu": round(median(variant, "cpu"), 2),
            "tasks": variant.runs[0]["tasks"],
            "runs": [round(run["seconds"], 2) for run in variant.runs],
            **profile(variant),
        }
    return report


def destroy(variants: list[Variant]) -> None:
    """Removes stacks with their data; none is there to be kept."""
    for variant in variants:
        play("playbooks/destroy.yml", "-e", f"stack_name={variant.stack}", "-e", "docker_host_purge=true")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each variant (default: 5)")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one")
    parser.add_argument("--app", type=pathlib.Path, default=ROOT / "app", help="the application's sources")
    options = parser.parse_args()
    if shutil.which("ansible-playbook") is None:
        sys.exit("There is no ansible-playbook in PATH; use `make benchmark-deploy`.")
    # Like Ctrl-C, so that the stacks are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    here = pathlib.Path(__file__).resolve().parent.relative_to(ROOT)
    whole = Variant("whole stack", "deploy.yml", "bench_whole", "10.73", 18073)
    ours = Variant("collection", "deploy.yml", "bench_trees", "10.71", 18071, "--skip-tags", "monitoring")
    theirs = Variant("one task a file", f"{here}/one_task_a_file.yml", "bench_files", "10.72", 18072)
    parts, missed = options.part or PARTS, []
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
    }
    with tempfile.TemporaryDirectory(prefix="no_change_deploy-") as name:
        folder = pathlib.Path(name)
        prepare([whole, ours, theirs], folder, options.app.resolve())
        if "whole" in parts:
            try:
                report["whole"] = measure_whole(whole, options.runs)
            finally:
                destroy([whole])
        if "comparison" in parts:
            try:
                report |= measure(ours, theirs, folder, options.runs)
            finally:
                destroy([ours, theirs])
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    if "whole" in parts:
        print(whole_table(report["whole"]))
        if report["whole"]["seconds"] > WHOLE_GOAL:
            missed.append(f"the whole stack takes longer than {WHOLE_GOAL} s")
    if "comparison" in parts:
        print(table(ours, theirs, report))
        if report["ratio"] > GOAL:
            missed.append(f"the ratio {report['ratio']:.2f} is over {GOAL:.2f}")
    if len(parts) == len(PARTS):
        each = report["whole"]["seconds"] / report["whole"]["services"]
        of_tier = report["variants"][ours.title]["seconds"] / len(SERVICES)
        if each > of_tier:
            missed.append(f"a service of the whole stack takes {each:.2f} s, one of the tier alone {of_tier:.2f} s")
    if missed:
        sys.exit(f"Goals that were missed: {'; '.join(missed)}.")


if __name__ == "__main__":
    main()
