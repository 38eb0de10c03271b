# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases with a fault, of the image that is there."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("faults.mjs")


def variables(fault: str = "none", **environment: str) -> dict[str, Any]:
    """Variables of a deploy whose release has the fault; faults.mjs lists them.

    The script is in the release's command itself, so that the release keeps its fault whatever happens to files. Linux
    takes arguments of up to 128 KiB (execve(2), MAX_ARG_STRLEN).
    """
    script = base64.b64encode(SCRIPT.read_bytes()).decode()
    return {
        "api_node_flags": ["--import", f"data:text/javascript;base64,{script}"],
        "api_environment": {"FAULT": fault, **environment},
    }
