# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventories/production on a machine of 2,048 MB with cgroup v2 and systemd's cgroups, from bare to rebooted."""

from __future__ import annotations

import csv
import json
import shlex
import time
import uuid
from typing import Any

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import BUDGET
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import NAME, Load, Operator, eventually

INVENTORY = "INVENTORY=inventories/production"
MB = 1 << 20
PARENT_LIMIT = "cat /sys/fs/cgroup/sixty.slice/memory.max"
# A line every five seconds, from before the first deploy to the end: what the machine has, and what the stack takes.
TIMELINE = """\
#!/bin/sh
while :; do
  available=$(awk '/^MemAvailable/ { print $2 * 1024 }' /proc/meminfo)
  stack=$(cat /sys/fs/cgroup/sixty.slice/memory.current 2>/dev/null || echo 0)
  echo "$(date +%s),$available,$stack" >> /var/lib/timeline.csv
  sleep 5
done
"""
UNIT = "[Service]\nExecStart=/usr/local/sbin/timeline\n[Install]\nWantedBy=multi-user.target\n"


def containers(operator: Operator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(operator.ssh("docker inspect $(docker ps --quiet)"))
    return found


def memory_total(operator: Operator) -> int:
    return int(operator.ssh("sed -n 's/^MemTotal: *//p' /proc/meminfo").split()[0]) * 1024


def all_is_well(operator: Operator) -> bool:
    states = {one["Name"]: one["State"] for one in containers(operator)}
    return len(states) >= 10 and all(
        state["Running"] and state.get("Health", {}).get("Status") == "healthy" for state in states.values()
    )


def rows(operator: Operator) -> int:
    status, _, body = operator.ask(f"/api/deals?q={Load.MARK.replace(' ', '%20')}")
    assert status == 200, body
    total: int = json.loads(body)["total"]
    return total


def test_the_machine_is_a_bare_one_of_2_gb_with_cgroup_v2(operator):
    assert operator.ssh("stat -fc %T /sys/fs/cgroup") == "cgroup2fs"
    assert 1900 * MB < memory_total(operator) < 2048 * MB
    assert operator.try_ssh("command -v dockerd").returncode != 0
    for path, text in {"/usr/local/sbin/timeline": TIMELINE, "/etc/systemd/system/timeline.service": UNIT}.items():
        operator.ssh(f"printf %s {shlex.quote(text)} > {path}")
    operator.ssh("chmod 0755 /usr/local/sbin/timeline && systemctl enable --now timeline")
    eventually(lambda: operator.ssh("wc -l < /var/lib/timeline.csv") != "0", "the memory is noted", 60)


def test_a_check_of_the_bare_machine_ends_after_the_plan(operator):
    checked = operator.deploy("01-check-bare", "--check", "--diff")
    assert f"No container engine answers on {NAME}. One would be installed" in checked.said
    # A budget that fits by expectation alone is a warning, and the parent's limit is below MemTotal.
    limit = (memory_total(operator) - 300 * MB) / MB
    assert "warnings" in checked.said and f"parent cgroup sixty limited to {limit:,.0f} MB" in checked.said
    assert operator.try_ssh("command -v dockerd").returncode != 0


def test_a_deploy_of_the_bare_machine_serves(operator):
    operator.deploy("02-deploy", timeout=900)
    assert operator.routed()
    assert operator.ssh("docker info --format '{{.CgroupVersion}} {{.CgroupDriver}}'") == "2 systemd"
    eventually(lambda: all_is_well(operator), "all containers are healthy", 300)


def test_a_second_run_changes_nothing(operator):
    recap = operator.deploy("03-deploy-again").recap
    assert (recap["changed"], recap["failed"]) == (0, 0)


def test_the_kernel_has_the_budget_s_limits(operator):
    """memory.max and its like as the kernel gives them, of every container and of the slice above all of them."""
    parent = "/sys/fs/cgroup/sixty.slice"

    def read(path: str) -> int:
        return int(operator.ssh(f"cat {path}"))

    total = memory_total(operator)
    assert read(f"{parent}/memory.max") == min(2048 * MB, total - 300 * MB)
    assert read(f"{parent}/memory.swap.max") == 0
    found = {}
    for one in containers(operator):
        service = one["Config"]["Labels"]["sixty.service"]
        (group,) = operator.ssh(f"cat /proc/{one['State']['Pid']}/cgroup").splitlines()
        path = f"/sys/fs/cgroup{group.partition('::')[2]}"
        slice_path = path.rpartition("/")[0]
        assert path == f"{parent}/sixty-{service}.slice/docker-{one['Id']}.scope"
        budget = BUDGET["services"][service]
        limit, reservation = parse_size(budget["limit"]), parse_size(budget["reservation"])
        assert read(f"{path}/memory.max") == limit, service
        assert read(f"{path}/memory.swap.max") == 0, service
        assert read(f"{path}/memory.low") == reservation, service
        # What is reserved counts only where those above have it too.
        assert read(f"{slice_path}/memory.low") >= reservation, service
        quota, period = operator.ssh(f"cat {path}/cpu.max").split()
        assert int(quota) / int(period) == float(budget["cpus"]), service
        found[service] = {
            "memory.max": limit,
            "memory.low": reservation,
            "memory.current": read(f"{path}/memory.current"),
        }
    assert len(found) >= 10
    operator.note(mem_total=total, parent=read(f"{parent}/memory.max"), limits=found)


def test_it_is_well_by_its_own_commands(operator):
    operator.made("04-check-health", f"check-health {INVENTORY}")
    operator.made("04-check-resources", f"check-resources {INVENTORY}")


def test_a_switch_under_load_and_the_way_back_cost_no_request(operator):
    old, new = operator.routed(), f"r-{uuid.uuid4().hex[:6]}"
    with operator.load(8) as load:
        operator.deploy("05-switch", release_id=new, timeout=900)
        assert operator.routed() == new
        operator.made("05-rollback-emergency", f"rollback-emergency {INVENTORY}")
        assert operator.routed() == old
    operator.note(load=load.report())
    assert not load.failed, load.report()
    assert load.releases == {old, new}
    assert rows(operator) == len(load.acknowledged) > 0


def test_after_a_reboot_everything_is_back_by_itself(operator):
    old, kept, boot = operator.routed(), rows(operator), operator.ssh("cat /proc/sys/kernel/random/boot_id")
    before = {one["Name"]: one["Id"] for one in containers(operator)}
    limit = operator.ssh(PARENT_LIMIT)
    started = time.monotonic()
    operator.try_ssh("sudo systemctl reboot")
    slow = operator.slowness
    eventually(lambda: operator.ssh("cat /proc/sys/kernel/random/boot_id") != boot, "the machine boots", 120 * slow)
    reached = time.monotonic() - started
    eventually(lambda: operator.routed() == old and rows(operator) == kept, "page and data are served", 120 * slow)
    served = time.monotonic() - started
    eventually(lambda: all_is_well(operator), "all containers are healthy", 120 * slow)
    operator.note(
        reboot={"ssh": round(reached, 1), "served": round(served, 1), "healthy": round(time.monotonic() - started, 1)}
    )
    assert {one["Name"]: one["Id"] for one in containers(operator)} == before
    assert operator.ssh(PARENT_LIMIT) == limit
    again = operator.deploy("06-deploy-after-reboot")
    assert again.recap["changed"] == 0, again.changed


def test_memory_stayed_within_the_machine(operator):
    """The timeline, against MemTotal: how much was taken in each step, and nothing was killed for memory."""
    text = operator.ssh("cat /var/lib/timeline.csv")
    (operator.reports / "memory.csv").write_text(f"time,available,stack\n{text}\n")
    samples = [tuple(map(int, line)) for line in csv.reader(text.splitlines()) if len(line) == 3]
    total = memory_total(operator)
    report = json.loads((operator.reports / "report.json").read_text())
    lines = [f"MemTotal {total // MB:,} MB; MB at the most of {len(samples)} samples, one every 5 s"]
    for step, facts in report.items():
        if not isinstance(facts, dict) or "began" not in facts:
            continue
        during = [one for one in samples if facts["began"] <= one[0] <= facts["began"] + facts["seconds"]]
        if during:
            used, stack = total - min(one[1] for one in during), max(one[2] for one in during)
            bar = "#" * round(40 * used / total)
            lines.append(
                f"{step:24} [{bar:-<40}] used {used // MB:5,}  stack {stack // MB:5,}  {facts['seconds']:6.0f} s"
            )
    (operator.reports / "memory.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    assert len(samples) > 30
    assert min(available for _, available, _ in samples) > 100 * MB
    assert "Out of memory" not in operator.ssh("journalctl --no-pager --quiet --dmesg")
    assert operator.ssh("grep oom_kill /sys/fs/cgroup/sixty.slice/memory.events").split()[1] == "0"


def test_no_secret_is_anywhere(operator):
    assert operator.assert_secrets_are_nowhere() > 100_000
