# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: container_resources
short_description: A budget entry as arguments of docker_container
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Turns one service of C(memory_budget_data) into the resource arguments of
    M(community.docker.docker_container).
  - RV(_value) has C(memory), C(memory_swap) (equal, so that there is no swap), C(memory_reservation), C(cpu_period) and
    C(cpu_quota) (the limit), C(cpu_shares) (the CPU reservation, 1024 a CPU), C(pids_limit), C(oom_score_adj),
    C(shm_size) and C(tmpfs), each only where the budget says something.
options:
  _input:
    description: A service's entry in the budget.
    type: dict
    required: true
  uid:
    description: Owner of the tmpfs mounts; root where it is not given. Their mode is 1777 either way.
    type: int
  gid:
    description: Group of the tmpfs mounts.
    type: int
"""

EXAMPLES = r"""
- name: Run Redis within its budget
  community.docker.docker_container: "{{ definition | combine(resources) }}"
  vars:
    definition: {name: sixty-redis, image: redis:8}
    resources: "{{ memory_budget_data.services.redis | sixty_sales.memory_optimized.container_resources }}"
"""

RETURN = r"""
_value:
  description: Arguments of docker_container.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import resources
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import read_service


def container_resources(entry, uid=None, gid=None):
    """Resource arguments of docker_container. Raises AnsibleFilterError."""
    try:
        return resources.container_resources(read_service(entry), uid, gid)
    except ValueError as error:
        raise AnsibleFilterError(f"container_resources: {error}") from error


class FilterModule:
    """The filter container_resources."""

    def filters(self):
        return {"container_resources": container_resources}
