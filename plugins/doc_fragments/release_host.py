# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that switch have to know of a stack's host."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  stack:
    description: Name of the stack.
    type: str
    required: true
  root:
    description: The stack's directory, which holds C(route), C(releases), C(state.json) and C(journal.jsonl).
    type: path
    required: true
  release:
    description: Id of the release.
    type: str
  manifest:
    description:
      - Digest of all that the release is made of. A second release of the same id and another manifest is refused.
    type: str
  network:
    description: The network in which the slots have their addresses.
    type: str
    required: true
  slots:
    description: Address of each slot.
    type: dict
    required: true
  port:
    description: Port of the application in its container.
    type: int
    default: 3000
  health_path:
    description: Path that answers 200 and the header X-Release when the release is ready.
    type: str
    default: /health/ready
  url:
    description: Where nginx answers on this host. Certificates are not verified, since the name is not theirs.
    type: str
    default: http://127.0.0.1
  paths:
    description:
      - Paths that are read back through nginx; each has to answer with status 2xx and the wanted X-Release. The last
        one tells which release is served, so it has to be one that the application itself answers.
    type: list
    elements: str
    default: [/, /api/release]
  successes:
    description: Answers in a row that count as ready, and as read back.
    type: int
    default: 3
  ready_timeout:
    description: Seconds within which the release has to become ready.
    type: int
    default: 60
  read_back_timeout:
    description: Seconds within which nginx has to answer with the release.
    type: int
    default: 10
  drain_timeout:
    description: Seconds that the old release has to finish its requests after SIGTERM.
    type: int
    default: 30
  keep:
    description:
      - Releases that are kept beside the served one, those served last first. What belongs to others is
        removed after a switch; a release that failed and was never served counts as the oldest.
    type: int
    default: 3
  disk_budget:
    description:
      - Bytes that the bundles of all kept releases may take; 0 is no limit. The served release and the one before it
        stay in any case.
    type: int
    default: 2147483648
  asset_budget:
    description: Bytes of hashed assets of releases that are gone, kept for browsers that still have an old page.
    type: int
    default: 67108864
  lock_timeout:
    description: Seconds to wait for another switch of the stack that is under way.
    type: int
    default: 0
  allow_downtime:
    description:
      - Whether the served release may be stopped before the new one is started, where the memory in use now has no room
        for both. That costs every request in between.
    type: bool
    default: false
  container_overhead:
    description: Bytes that a container costs outside of its limit.
    type: int
    default: 11534336
  limit:
    description: Bytes of the release's memory limit, for a plan before its container exists.
    type: int
    default: 0
  warm_up:
    description:
      - Requests that the standby gets before it is routed, within 5 seconds at most; not before a rollback.
      - One that answers one of O(warm_up_paths) with nothing but a status of 500 or more is not routed, unless the
        served release does so too.
    type: int
    default: 200
  warm_up_paths:
    description: Paths of these requests.
    type: list
    elements: str
    default: [/health/ready]
attributes:
  check_mode:
    description: Says what is due and changes nothing.
    support: full
  diff_mode:
    description: The served release before and after.
    support: full
requirements:
  - docker (Python SDK) on the host
author: Sixty Sales DevOps Team (@sixty-sales)
"""
