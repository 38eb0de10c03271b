# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of alerts share."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.alerts.chain import Chain, remove
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import docker


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quick: runs with every change; the others take half an hour")
    config.addinivalue_line("markers", "slow: with the intervals of the role's defaults")


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory):
    """The stack, deployed; nothing of it is left afterwards."""
    if docker("ps", "--all", "--quiet", "--filter", "label=sixty.stack=alr"):
        remove()
    made = Chain(tmp_path_factory.mktemp("receivers"))
    try:
        made.apply()
        yield made
    finally:
        made.close()
        remove()
