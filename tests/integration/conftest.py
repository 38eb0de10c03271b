# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the running stack share."""

from __future__ import annotations

import os

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import UNLIMITED, Load, deploy

# It stops the machine's container engine for a moment: only where that is asked for.
collect_ignore = [] if os.environ.get("SIXTY_TEST_ENGINE_RESTART") == "1" else ["test_engine_restart.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: kills, full disks, large dumps, many deploys; make test-release only")


@pytest.fixture(scope="session")
def stack() -> None:
    """The stack runs, as the inventory has it."""
    deploy()


@pytest.fixture(scope="module")
def unlimited(stack):
    """The stack takes as many requests as the load sends."""
    deploy(**UNLIMITED)
    yield
    deploy()
    Load.clear()
