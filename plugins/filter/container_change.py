# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: container_change
short_description: The least that makes a container what it is wanted to be
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Compares arguments made by P(sixty_sales.memory_optimized.container_arguments#filter) with what
    M(sixty_sales.memory_optimized.container_memory_info) has read, so that a play says beforehand what it does.
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
- name: Refuse a limit below what is in use
  ansible.builtin.assert:
    that: not change.tight
    fail_msg: "{{ change.tight }}"
  vars:
    change: "{{ arguments | sixty_sales.memory_optimized.container_change(observed.containers) }}"
"""

RETURN = r"""
_value:
  description:
    - Dictionary with C(action) (V(none), V(create), V(start), V(update), V(recreate)), C(said), a sentence for a
      person, and C(tight), why a lower limit would get the running program killed, or empty.
  type: dict
"""

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.container import container_change


class FilterModule:
    """The filter container_change."""

    def filters(self):
        return {"container_change": lambda arguments, observed: container_change(arguments, observed)._asdict()}
