# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: compose_service
short_description: Arguments of docker_container as a service of a Compose file
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Writes a container as a service of the Compose specification, with its limits and reservations under
    C(deploy.resources).
options:
  _input:
    description: Arguments made by P(sixty_sales.memory_optimized.container_arguments#filter).
    type: dict
    required: true
  service:
    description: Name of the service.
    type: str
    required: true
  stack:
    description: Name of the stack.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the Compose service
  ansible.builtin.debug:
    msg: "{{ arguments | sixty_sales.memory_optimized.compose_service('redis', 'sixty') }}"
"""

RETURN = r"""
_value:
  description: The service.
  type: dict
"""

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.container import compose_service


class FilterModule:
    """The filter compose_service."""

    def filters(self):
        return {"compose_service": compose_service}
