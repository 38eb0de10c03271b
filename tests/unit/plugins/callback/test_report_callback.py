# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback in a real play: standard output is what the play displays, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- hosts: {hosts}
  gather_facts: false
  tasks:
    - ansible.builtin.raw: echo not for a program
    - ansible.builtin.assert: {{that: false, fail_msg: tolerated}}
      ignore_errors: true
    - ansible.builtin.assert: {{that: "{that}", fail_msg: it is too much, quiet: true}}
"""


@pytest.fixture
def play(tmp_path):
    """Runs the play; the host "gone" cannot be reached."""
    gone = tmp_path / "ssh"
    gone.write_text("#!/bin/sh\necho no route >&2\nexit 255\n")
    gone.chmod(0o755)
    hosts = {
        "here": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "gone": {"ansible_connection": "ssh", "ansible_ssh_executable": str(gone)},
    }
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))

    def run(that="true", hosts="here"):
        (tmp_path / "play.yml").write_text(PLAY.format(that=that, hosts=hosts))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
        environment = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "sixty_sales.memory_optimized.report",
        }
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )

    return run


def test_success_is_silent(play):
    ended = play()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_failure_is_its_message_on_standard_error(play):
    ended = play("false")
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "here: it is too much\n")


def test_an_unreachable_host_says_why(play):
    ended = play(hosts="gone")
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "gone: " in ended.stderr and "no route" in ended.stderr


def test_no_host(play):
    ended = play(hosts="nobody")
    assert ended.stdout == "" and "No hosts match" in ended.stderr
