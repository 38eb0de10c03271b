# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A budget entry as the resource arguments of a container."""

from __future__ import annotations

import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import Service
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import exact

CPU_PERIOD = 100_000  # microseconds, the kernel's default
CPU_QUOTA_MINIMUM = 1_000  # the kernel refuses less (Documentation/scheduler/sched-bwc.rst)
CPU_SHARES = 1024  # of one CPU
CPU_SHARES_MINIMUM = 2


def container_resources(
    service: Service, uid: t.Optional[int] = None, gid: t.Optional[int] = None
) -> t.Dict[str, t.Any]:
    """Arguments of community.docker.docker_container for one service; what the budget leaves open is left out.

    memory_swap equals memory, or Docker would allow the same amount of swap on top. The CPU limit is quota and period,
    since docker_container has no way to update cpus and would recreate the container. The CPU reservation is a weight:
    only Swarm reserves CPUs. uid and gid own the tmpfs mounts (root where they are None; mode 1777 either way).
    Raises ValueError for a service without a limit.
    """
    if service.limit is None:
        raise ValueError("the service has no memory limit")
    owner = "".join(f",{key}={value}" for key, value in (("uid", uid), ("gid", gid)) if value is not None)
    arguments = {
        "memory": exact(service.limit),
        "memory_swap": exact(service.limit),
        "memory_reservation": service.reservation and exact(service.reservation),
        "cpu_period": service.cpus and CPU_PERIOD,
        "cpu_quota": service.cpus and max(CPU_QUOTA_MINIMUM, round(service.cpus * CPU_PERIOD)),
        "cpu_shares": service.cpus_reservation
        and max(CPU_SHARES_MINIMUM, round(service.cpus_reservation * CPU_SHARES)),
        "pids_limit": service.pids_limit,
        "oom_score_adj": service.oom_score_adj,
        "shm_size": service.shm_size and exact(service.shm_size),
        "tmpfs": [
            f"{path}:size={exact(size).lower()},mode=1777,noexec,nosuid,nodev{owner}"
            for path, size in sorted(service.tmpfs.items())
        ]
        or None,
    }
    return {name: value for name, value in arguments.items() if value is not None}
