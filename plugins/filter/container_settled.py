# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: container_settled
short_description: Whether a container was observed to be as wanted
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Compares arguments made by P(sixty_sales.memory_optimized.container_arguments#filter) with what
    M(sixty_sales.memory_optimized.container_memory_info) has read, so that a container which is as wanted
    costs no task of its own.
options:
  _input:
    description: Arguments of docker_container.
    type: dict
    required: true
  observed:
    description: RV(sixty_sales.memory_optimized.container_memory_info#module:containers).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Run Redis unless it runs as wanted
  community.docker.docker_container: "{{ arguments }}"
  when: not arguments | sixty_sales.memory_optimized.container_settled(observed.containers)
"""

RETURN = r"""
_value:
  description: Whether nothing is to be done.
  type: bool
"""

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.container import container_settled


class FilterModule:
    """The filter container_settled."""

    def filters(self):
        return {"container_settled": container_settled}
