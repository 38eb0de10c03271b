# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: source_digest
short_description: A short digest of source folders on the controller
version_added: "0.1.0"
description:
  - Gives the first 12 hexadecimal digits of a SHA-256 over the names, permissions and contents of the files
    below folders, so that an image or a release can be named after what it is made of.
  - In a git work tree the files are those that git tracks or would track; what it ignores (dependencies,
    build output) does not count. Elsewhere they are all files but those in C(node_modules), C(dist), C(__pycache__)
    and hidden folders.
options:
  _terms:
    description: Folders or files. A relative path starts at the collection's own root.
    type: list
    elements: str
    required: true
  salt:
    description: Further text that the result depends on, such as the name of a base image.
    type: str
    default: ""
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Name an image after its build context
  ansible.builtin.debug:
    msg: "sixty/redis:{{ lookup('sixty_sales.memory_optimized.source_digest', 'roles/image/files/redis') }}"
"""

RETURN = r"""
_raw:
  description: One digest over all terms together.
  type: list
  elements: str
"""

import pathlib

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.source_tree import (
    SourceError,
    digest,
    list_files,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        try:
            folders = [(term, ROOT / term) for term in terms]
            return [digest([(path, list_files(path)) for _term, path in folders], self.get_option("salt"))]
        except SourceError as error:
            raise AnsibleLookupError(str(error)) from error
        except OSError as error:
            raise AnsibleLookupError(f"The sources cannot be read: {error}. Nothing was changed.") from error
