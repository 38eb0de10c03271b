# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's configuration for any variables, by ansible-core's own templar and in milliseconds; no host is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).resolve().parents[2] / "roles"
# In the order of their precedence, as a play has them.
FILES = (
    *(ROLES / role / "defaults/main.yml" for role in ("stack", "memory_budget", "alertmanager")),
    *sorted((ROLES / "memory_budget/vars/main").glob("*.yml")),
    ROLES / "alertmanager/vars/main.yml",
)
TEMPLATES = ROLES / "alertmanager/templates"


class Rendering:
    """What the role makes of variables."""

    def __init__(self, **variables: Any) -> None:
        self._loader = DataLoader()
        merged: dict[str, Any] = {"inventory_hostname": "localhost", "ansible_managed": "Ansible managed"}
        for path in FILES:
            merged.update(self._loader.load_from_file(str(path), trusted_as_template=True))
        self._templar = Templar(loader=self._loader, variables={**merged, **variables})

    def value(self, name: str) -> Any:
        """The value of a variable."""
        return self._templar.template(trust_as_template(f"{{{{ {name} }}}}"))

    def files(self) -> dict[str, str]:
        """Name in the configuration tree -> text, secrets left out."""
        rendered = {}
        for path in TEMPLATES.rglob("*.*"):
            name, text = str(path.relative_to(TEMPLATES)), path.read_text()
            if path.suffix == ".j2":
                options = {"trim_blocks": True, "newline_sequence": "\n"}
                name, text = name[:-3], self._templar.template(trust_as_template(text), overrides=options)
            rendered[name] = text
        return rendered
