# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_unit
short_description: A memory size as a program reads it
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Writes a size of the memory budget in the unit that a program's configuration wants.
  - Fails when the size is no whole number of that unit; rounding would silently move a cap.
options:
  _input:
    description: A size such as V(96M), or a whole number of bytes.
    type: raw
    required: true
  unit:
    description:
      - The unit, written as the program wants it, such as V(MB) for PostgreSQL, V(mb) for Redis, V(MiB) for GOMEMLIMIT.
      - Every unit is a power of 1024. Redis reads V(m) as 1,000,000 bytes, so write V(mb).
    type: str
    required: true
  suffix:
    description: What to write after the number instead of the unit; an empty string gives the bare number.
    type: str
"""

EXAMPLES = r"""
- name: 96MB, and --max-old-space-size=384
  ansible.builtin.debug:
    msg:
      - "{{ '96M' | sixty_sales.memory_optimized.to_unit('MB') }}"
      - "--max-old-space-size={{ '384M' | sixty_sales.memory_optimized.to_unit('M', '') }}"
"""

RETURN = r"""
_value:
  description: A whole number and its unit.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import SizeError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import to_unit as write


def to_unit(value, unit, suffix=None):
    """A size as number and unit. Raises AnsibleFilterError."""
    try:
        return write(value, unit, suffix)
    except SizeError as error:
        raise AnsibleFilterError(f"to_unit: {error}") from error


class FilterModule:
    """The filter to_unit."""

    def filters(self):
        return {"to_unit": to_unit}
