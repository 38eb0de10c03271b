# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OOM kills as the kernel tells them: on cgroup v1 a container's own count goes together with it."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.stack_host import cgroup_parent
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import BUDGET, info


class KernelLog:
    """What the kernel says of its kills from now on: the truth, whoever counts."""

    def __init__(self, stack: str) -> None:
        driver = info()["CgroupDriver"]
        self._parents = {service: cgroup_parent(stack, service, driver).strip("/") for service in BUDGET["services"]}
        self._process = subprocess.Popen(["dmesg", "--follow-new"], stdout=subprocess.PIPE, text=True)
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        self._lines.extend(line for line in self._process.stdout if "oom-kill:" in line)

    def kills(self) -> Counter[str]:
        """Service -> processes that were killed in its containers; "" stands for the rest of the machine."""
        found: Counter[str] = Counter()
        for line in list(self._lines):
            place = line.partition("task_memcg=")[2].partition(",")[0]
            found[next((service for service, parent in self._parents.items() if f"/{parent}/" in place), "")] += 1
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
