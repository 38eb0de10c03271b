# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of releases share."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import deploy
from ansible_collections.sixty_sales.memory_optimized.tests.release.release_stack import OpenLoad


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quick: runs with every change; the others take minutes")


@pytest.fixture(scope="session")
def restored():
    """Afterwards the stack is as the inventory has it."""
    yield
    deploy(release_watch_seconds=0)
    OpenLoad.clear()
