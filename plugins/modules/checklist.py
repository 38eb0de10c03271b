#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: checklist
short_description: Go through the deployment checklist
version_added: "0.2.0"
description:
  - Judges each item of the checklist by what containers, Memory Monitor, Prometheus, Alertmanager, the releases and the
    reports of the tests say, and shows verdict, evidence and command.
  - What cannot be told is V(not known), with the reason, and never V(pass). What only a person can know is V(ask); in a
    terminal it is asked, unless O(answers) has it.
  - It never fails for what it found. It returns the document that it shows, and the play decides.
notes:
  - This is an action plugin; on the host it needs what M(sixty_sales.memory_optimized.stack_report) needs.
options:
  phase:
    description: Which items; V(post) are those after the deploy and the success metrics.
    type: str
    choices: [pre, during, post, all]
    default: all
  stack:
    description: Name of the stack.
    type: str
    required: true
  budget:
    description: The memory budget, C(memory_budget_data).
    type: dict
    required: true
  budget_errors:
    description: Number of errors that M(sixty_sales.memory_optimized.memory_budget) found in it.
    type: int
    required: true
  optional:
    description: Services of the budget that may be absent.
    type: list
    elements: str
    default: []
  monitor:
    description: Where the Memory Monitor is on the host.
    type: str
    default: http://127.0.0.1:8080
  prometheus:
    description: Where Prometheus is on the host.
    type: str
    default: http://127.0.0.1:9090
  alertmanager:
    description: Where Alertmanager is on the host.
    type: str
    default: http://127.0.0.1:9093
  requests:
    description: As for M(sixty_sales.memory_optimized.stack_report); V(page) is the page.
    type: list
    elements: dict
    default: []
  releases:
    description: As M(sixty_sales.memory_optimized.blue_green) lists them; without it nobody knows.
    type: list
    elements: dict
  image:
    description: Image of the API that is served; with the page, it is what tests with a stack of their own have tested.
    type: str
    default: ""
  reports:
    description:
      - Files on the controller, by name. V(bundle) is the size of the frontend, V(performance) and V(memory) are the
        summaries of the tests, which say what they tested, C(release) or C(image) and C(page) (SHA-256 of the page's
        text), and whether it was C(ok).
    type: dict
    default: {}
  max_age:
    description: Seconds after which a test's report tells nothing about today.
    type: int
    default: 86400
  answers:
    description: What a person knows, such as V(on-call=yes page-received=no).
    type: str
    default: ""
  output:
    description: A table for a person, or one JSON document in a line. Nobody is asked with V(json).
    type: str
    choices: [table, json]
    default: table
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Go through what has to hold before a deploy
  sixty_sales.memory_optimized.checklist:
    phase: pre
    stack: sixty
    budget: "{{ memory_budget_data }}"
    budget_errors: 0
    answers: on-call=yes
  register: checklist

- name: Stop where an item fails
  ansible.builtin.assert:
    that: checklist.document.counts.fail == 0
"""

RETURN = r"""
document:
  description: What was shown.
  returned: success
  type: dict
  contains:
    host: {description: Name of the host in the inventory., type: str}
    stack: {description: Name of the stack., type: str}
    time: {description: When it was looked at., type: float}
    kind: {description: V(checklist)., type: str}
    phase: {description: As O(phase)., type: str}
    release: {description: The release that is served; empty where the Memory Monitor does not say., type: str}
    items:
      description:
        - One each with C(name), C(phases), C(title), C(verdict) (V(pass), V(fail), V(not known), V(ask)), C(evidence)
          and C(command).
      type: list
      elements: dict
    counts: {description: Number of items by verdict., type: dict}
"""
