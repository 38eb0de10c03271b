# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a single service: it is killed, it runs out of memory, its network is cut."""

from __future__ import annotations

import json
import random
import time

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.faults.matrix import SERVICES, TIER, WATCHERS
from ansible_collections.sixty_sales.memory_optimized.tests.faults.scene import INVENTORY
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import eventually

# Visitors do without them: the API answers from PostgreSQL, and nobody asks what watches.
NOT_MISSED = {"redis", *WATCHERS}


def test_postgresql_is_killed_in_the_middle_of_writes(scene):
    """Its main process, as a crash of its own would end it, three times; no docker kill, after which it stays away."""
    name = scene.container("postgres")
    ready = f"docker exec {name} pg_isready -q -h /run/postgresql && echo ready || true"
    with scene.watched("PostgreSQL killed in writes", "postgres", writes=30) as fault:
        for _ in range(3):
            init = scene.inspect(name)["State"]["Pid"]
            scene.ssh(f"kill -9 $(cat /proc/{init}/task/{init}/children)")
            eventually(
                lambda old=init: scene.runs(name) and scene.inspect(name)["State"]["Pid"] != old, "it is started", 60
            )
            eventually(lambda: scene.ssh(ready), "it has recovered", 60)
            time.sleep(random.uniform(1, 3))
        assert "database system was not properly shut down" in scene.log(name)
        assert fault.failures("write"), "no write was under way"
        told = eventually(lambda: scene.firing(fault.began, "postgres"), "an alert names it", 120)
        assert "ContainerRestartLoop" in told
        fault.say("the engine; it replays its log", f"503 with a reason; alert {', '.join(told)}")


# Fills a container's limit from within its cgroup until the kernel kills one of its processes, which it prefers to this
# one; it may take this one as well before the room of the first is free. Raising a score takes no capability.
FILL = r"""
import os, sys, time
init, limit = sys.argv[1], int(sys.argv[2])
lines = [line.strip().split(":", 2) for line in open(f"/proc/{init}/cgroup")]
memory = [path for _, names, path in lines if "memory" in names.split(",")]
group = "/sys/fs/cgroup/memory" + memory[0] if memory else "/sys/fs/cgroup" + lines[0][2]
counter = group + ("/memory.oom_control" if memory else "/memory.events")
kills = lambda: int(dict(line.split() for line in open(counter))["oom_kill"])
children = lambda pid: open(f"/proc/{pid}/task/{pid}/children").read().split()
def score(pid, value):
    try:
        with open(f"/proc/{pid}/oom_score_adj", "r+") as file:
            before = file.read()
            file.seek(0)
            file.write(value)
            return before
    except (FileNotFoundError, ProcessLookupError):
        return None
[main] = children(init)
scores = {pid: score(pid, "1000") for pid in [main, *children(main)]}
before = kills()
filling = os.fork()
if filling == 0:
    open(f"{group}/cgroup.procs", "w").write(str(os.getpid()))
    held = []
    while kills() == before and len(held) << 20 <= limit:
        held.append(b"x" * (1 << 20))
    os._exit(0)
os.waitpid(filling, 0)
time.sleep(0.5)
killed = [pid for pid, value in scores.items() if value is not None and score(pid, value) is None]
print("killed", "main" if main in killed else "another" if killed else "nobody")
"""


# What watches tells of the others, and comes first: its own counters begin anew.
@pytest.mark.parametrize("service", [*WATCHERS, *TIER])
def test_out_of_memory(scene, service):
    name = scene.container(service)
    before = scene.inspect(name)
    with scene.watched("out of memory", service) as fault:
        said = scene.script(FILL, before["State"]["Pid"], before["HostConfig"]["Memory"])
        assert said in ("killed main", "killed another"), said
        eventually(lambda: scene.runs(name), "it runs again", 60)
        time.sleep(2)
        after = scene.inspect(name)
        assert (after["RestartCount"] > before["RestartCount"]) == (said == "killed main")
        assert after["HostConfig"]["Memory"] == before["HostConfig"]["Memory"]
        by = (
            "the engine, which starts it again" if said == "killed main" else "its own main process, which lost another"
        )
        if service == "memory_monitor":
            # Who counts the kills was away.
            shown = scene.operator.made("07-monitor", f"check-health {INVENTORY} OUTPUT=json")
            restarts = {one["service"]: one["restarts"] for one in json.loads(shown.text)["services"]}
            assert restarts[service] == after["RestartCount"] > 0
            fault.say(by, "`make check-health`: restarts")
        else:
            told = eventually(lambda: scene.firing(fault.began, service), "an alert names it", 90)
            assert "ContainerOOMKilled" in told, told
            fault.say(by, f"alert {', '.join(told)}")
    if service in NOT_MISSED:
        assert not fault.witness.failed, fault.witness.failed


# The other end of each of a container's links, at the host: a cable that is pulled out, and put back as it was.
LINKS = r"""
import re, subprocess, sys
ask = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout
wanted = re.findall(r"eth\d+@if(\d+)", ask("nsenter", "-t", sys.argv[1], "-n", "ip", "-o", "link"))
names = dict(re.findall(r"^(\d+): ([^:@]+)", ask("ip", "-o", "link"), re.MULTILINE))
for number in wanted:
    subprocess.run(["ip", "link", "set", names[number], sys.argv[2]], check=True)
print(len(wanted))
"""


def link(scene, service, state):
    pid = scene.inspect(scene.container(service))["State"]["Pid"]
    assert int(scene.script(LINKS, pid, state)) > 0


@pytest.mark.parametrize("service", TIER)
def test_network_cut(scene, service):
    with scene.watched("network cut", service) as fault:
        name = scene.container(service)
        pid = scene.inspect(name)["State"]["Pid"]
        scene.script(LINKS, pid, "down")
        code, said = scene.check_health(f"07-cut-{service}")
        if service == "redis":
            told = eventually(lambda: scene.firing(fault.began, service), "an alert names it", 240)
            told_how = f"alert {', '.join(told)}"
        else:
            assert code != 0 and "Something is not healthy" in said, said[-2000:]
            names = said.rpartition("Something is not healthy: ")[2].partition(". ")[0]
            told_how = f"`make check-health`: {names}"
        scene.script(LINKS, pid, "up")
        fault.mended()
        assert scene.inspect(name)["State"]["Pid"] == pid, "it was restarted"
        fault.say("its clients, which connect again", told_how)
    if service in NOT_MISSED:
        assert not fault.witness.failed, fault.witness.failed


def test_network_of_what_watches_cut(scene):
    """All but Prometheus at once, until it tells of each; then Prometheus itself."""
    others = [service for service in WATCHERS if service != "prometheus"]
    with scene.watched("network cut", *others) as fault:
        for service in others:
            link(scene, service, "down")
        for service in others:
            told = eventually(lambda one=service: scene.firing(fault.began, one), f"an alert names {service}", 300)
            fault.say("Prometheus, which scrapes again", f"alert {', '.join(told)}", service)
        for service in others:
            link(scene, service, "up")
        fault.mended()
        gone = {"TargetDown", "MonitorDown"}
        eventually(
            lambda: not any(gone & set(scene.firing(fault.began, one)) for one in others), "they are scraped again", 120
        )
    assert not fault.witness.failed, fault.witness.failed
    with scene.watched("network cut", "prometheus") as fault:
        link(scene, "prometheus", "down")
        code, said = scene.check_health("07-cut-prometheus")
        assert code != 0 and "Something is not healthy: Prometheus" in said, said[-2000:]
        link(scene, "prometheus", "up")
        fault.mended()
        eventually(lambda: scene.alerts(fault.began) is not None, "Prometheus answers", 60)
        fault.say("it scrapes again", "the heartbeat's receiver, where there is one; `make check-health`: Prometheus")
    assert not fault.witness.failed, fault.witness.failed


def test_every_service_has_its_limit_and_its_network_again(scene):
    """What the tests before have left behind: nothing."""
    eventually(lambda: scene.is_healthy(len(SERVICES)), "all containers are healthy", 180)
    code, said = scene.check_health("07-after")
    assert code == 0, said[-2000:]
