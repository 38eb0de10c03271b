# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: container_arguments
short_description: A service's definition and budget as arguments of docker_container
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Turns the definition of a service and its entry in the memory budget into the arguments of
    M(community.docker.docker_container), with the same hardening for every container.
options:
  _input:
    description: The definition; see the argument specification of the role container.
    type: dict
    required: true
  service:
    description: Name of the service.
    type: str
    required: true
  name:
    description: Name of the container.
    type: str
    required: true
  budget:
    description: The service's entry in the memory budget.
    type: dict
    required: true
  user:
    description: Numbers C(uid) and C(gid).
    type: dict
    required: true
  stack:
    description: Name of the stack.
    type: str
    required: true
  driver:
    description: The engine's cgroup driver.
    type: str
    choices: [cgroupfs, systemd]
    required: true
  state:
    description: What becomes of the container.
    type: str
    choices: [started, present, once]
    default: started
"""

EXAMPLES = r"""
- name: Run Redis
  community.docker.docker_container: >-
    {{ definition | sixty_sales.memory_optimized.container_arguments('redis', 'sixty-redis',
       memory_budget_data.services.redis, {'uid': 999, 'gid': 999}, 'sixty', 'systemd') }}
"""

RETURN = r"""
_value:
  description: Arguments of docker_container.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import container, resources
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import read_service


def container_arguments(definition, service, name, budget, user, stack, driver, state="started"):
    """Arguments of docker_container. Raises AnsibleFilterError."""
    try:
        limits = resources.container_resources(read_service(budget), user["uid"], user["gid"])
        return container.container_arguments(definition, service, name, limits, user, stack, driver, state)
    except ValueError as error:
        raise AnsibleFilterError(f"container_arguments: {error}") from error


class FilterModule:
    """The filter container_arguments."""

    def filters(self):
        return {"container_arguments": container_arguments}
