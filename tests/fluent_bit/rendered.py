# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates of the roles loki and fluent_bit, rendered by Ansible with the variables that a play has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = [
    "stack/defaults/main.yml",
    "memory_budget/defaults/main.yml",
    "memory_budget/vars/main/documented.yml",
    "memory_budget/vars/main/hardened.yml",
    "memory_budget/vars/main/main.yml",
    "loki/defaults/main.yml",
    "loki/vars/main.yml",
    "fluent_bit/defaults/main.yml",
    "fluent_bit/vars/main.yml",
]
TEMPLATES = ["loki/templates/loki-memory-optimized.yml.j2", "fluent_bit/templates/fluent-bit.yaml.j2"]
PLAY = """---
- name: Render the templates of the log roles
  hosts: all
  gather_facts: false
  tasks:
    - name: Read the roles' variables
      ansible.builtin.include_vars:
        file: "{{ item }}"
      loop: "{{ render_variables }}"

    - name: Render
      ansible.builtin.template:
        src: "{{ item }}"
        dest: "{{ render_to }}/{{ item | basename | splitext | first }}"
        mode: "0644"
      loop: "{{ render_templates }}"

    - name: Write the containers' definitions
      ansible.builtin.copy:
        content: "{{ {'loki': __loki_container, 'fluent_bit': __fluent_bit_container} | to_json }}"
        dest: "{{ render_to }}/containers.json"
        mode: "0644"
"""


def render(base: Path, variables: dict[str, Any]) -> dict[str, str]:
    """Name of the file -> its text; `variables` are what an inventory would say."""
    play, hosts, to = base / "render.yml", base / "hosts.yml", base / "rendered"
    to.mkdir(parents=True, exist_ok=True)
    play.write_text(PLAY)
    hosts.write_text("all: {hosts: {localhost: {}}}\n")
    extra = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "render_variables": [str(ROOT / "roles" / name) for name in VARIABLES],
        "render_templates": [str(ROOT / "roles" / name) for name in TEMPLATES],
        "render_to": str(to),
        **variables,
    }
    done = subprocess.run(
        (sys.executable, "-m", "ansible", "playbook", "-i", str(hosts), "-e", json.dumps(extra), str(play)),
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path.read_text() for path in to.iterdir()}
