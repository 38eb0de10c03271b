# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the memory of containers through their cgroups, without the engine's socket.

One thread samples once a second (sampler, tree, tracker), another answers over HTTP from the last sample
(server, pages). Nothing here imports the collection; cgroup.py is the same file as its modules use.
"""

from __future__ import annotations

__version__ = "0.1.0"
