# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_bytes
short_description: A memory size in bytes
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Reads sizes as the memory budget writes them. All units are powers of 1024.
options:
  _input:
    description:
      - A size such as V(512M), V(1.34G), V(64mb) or V(512MiB), or a whole number of bytes.
      - A mapping or a list of such sizes gives a mapping or a list of bytes; entries that are null are left out.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: 402653184
  ansible.builtin.debug:
    msg: "{{ '384M' | sixty_sales.memory_optimized.to_bytes }}"
"""

RETURN = r"""
_value:
  description: Bytes, or a mapping or list of bytes.
  type: raw
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import SizeError, parse_size


def to_bytes(value):
    """Bytes of one size, or of each size in a mapping or list. Raises AnsibleFilterError."""
    if isinstance(value, Mapping):
        return {name: to_bytes(item) for name, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [to_bytes(item) for item in value if item is not None]
    try:
        return parse_size(value)
    except SizeError as error:
        raise AnsibleFilterError(f"to_bytes: {error}") from error


class FilterModule:
    """The filter to_bytes."""

    def filters(self):
        return {"to_bytes": to_bytes}
