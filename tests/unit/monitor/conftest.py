# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Memory Monitor's package, from where its image takes it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[3] / "roles/image/files/memory_monitor"
sys.path.insert(0, str(PACKAGE))

from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import (  # noqa: E402
    CgroupTree,
    configuration,
    flat,
)
from memory_monitor.sampler import Sampler  # noqa: E402

TREES = [(1, "cgroupfs"), (1, "systemd"), (2, "cgroupfs"), (2, "systemd")]


@pytest.fixture(params=TREES, ids=lambda param: f"v{param[0]}-{param[1]}")
def tree(request, tmp_path):
    found = CgroupTree(tmp_path / "cgroup", *request.param)
    yield found
    found.close()


class Machine:
    """A host on disk, and the monitor that looks at it. Time passes only here."""

    def __init__(self, tree, home):
        self.tree, self.home = tree, home
        self.proc, self.kills = home / "proc", 40
        for name in ("route/slots", "status", "logs", "config", "proc/pressure"):
            (home / name).mkdir(parents=True)
        (home / "config/monitor.json").write_text(configuration())
        lines = {"MemTotal": 2048, "MemFree": 100, "MemAvailable": 1024, "SwapTotal": 512, "SwapFree": 256}
        (self.proc / "meminfo").write_text("".join(f"{name}: {mb << 10} kB\n" for name, mb in lines.items()))
        (self.proc / "pressure/memory").write_text("some avg10=0.00 total=2500000\nfull avg10=0.00 total=0\n")
        self.killed(0)
        self.now, self.wall = 1000.0, 1_800_000_000.0
        self.said = []
        mounts = {name: str(home / name) for name in ("cgroup", "route", "status", "logs", "config")}
        mounts.update(docker=str(home), stack=str(home / "route"))
        self.sampler = Sampler(mounts, str(self.proc), self.said.append)

    def killed(self, number=1):
        """The kernel killed processes, wherever."""
        self.kills += number
        (self.proc / "vmstat").write_text(flat({"nr_free_pages": 1000, "oom_kill": self.kills}))

    def look(self, seconds=1.0):
        """The next sample."""
        self.now += seconds
        self.wall += seconds
        self.sampler.sample(self.now, self.wall)
        return self.sampler.picture

    def facts(self, path):
        """What is known of a container, running or gone."""
        picture = self.sampler.picture
        everyone = [facts for facts, _figures in picture.running] + picture.unseen
        return next(facts for facts in everyone if facts["id"] == path)

    def figures(self, path):
        return next(figures for facts, figures in self.sampler.picture.running if facts["id"] == path)

    def ids(self):
        return {facts["id"] for facts, _figures in self.sampler.picture.running}

    @property
    def errors(self):
        """Reasons that were counted."""
        return {reason: count for reason, count in self.sampler.errors.counts.items() if count}


@pytest.fixture
def machine(tree, tmp_path):
    found = Machine(tree, tmp_path)
    yield found
    found.sampler.creations.close()
