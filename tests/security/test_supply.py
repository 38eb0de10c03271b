# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stack is made from is named exactly, and nothing takes the check of its origin away."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import ROOT

LOCKS = sorted(path for folder in ("app", "tests") for path in (ROOT / folder).glob("*/package-lock.json"))
# Ways around signatures and certificates.
BYPASSES = r"trusted=yes|allow-unauthenticated|--no-check-certificate|curl[^|\n]* (-k|--insecure)\b|\| *(ba)?sh\b"


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_python_packages_have_one_version(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "-r "))]
    assert lines and [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_npm_packages_have_a_hash(path):
    packages = {name: entry for name, entry in json.loads(path.read_text())["packages"].items() if name}
    assert packages and [name for name, entry in packages.items() if "integrity" not in entry] == []


def test_published_images_have_one_version():
    images = yaml.safe_load((ROOT / "roles/stack/defaults/main.yml").read_text())["stack_registry_images"]
    assert images and all(re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", image) for image in images.values()), images


def test_actions_have_one_commit():
    used = [
        name
        for path in (ROOT / ".github").rglob("*.yml")
        for name in re.findall(r"uses: *(\S+)", path.read_text())
        if not name.startswith("./")
    ]
    assert used and [name for name in used if not re.search("@[0-9a-f]{40}$", name)] == []


def test_no_signature_is_left_unchecked():
    recipes = [path for path in (ROOT / "roles/image").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    recipes += [ROOT / "app/api/Dockerfile", *(ROOT / "roles/docker_host/tasks").glob("*.yml")]
    assert len(recipes) > 15
    assert [path for path in recipes if path.exists() and re.search(BYPASSES, path.read_text(errors="replace"))] == []
