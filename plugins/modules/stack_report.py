#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: stack_report
short_description: Show a stack's memory or health as a table, as JSON, or live
version_added: "0.1.0"
description:
  - Looks at the containers with M(sixty_sales.memory_optimized.container_memory_info), asks the Memory Monitor,
    Prometheus and the application on the host itself, where their ports are, and shows what it found.
  - It never fails for what it found. It returns the document that it shows, and the play decides what is too much.
  - Colours are Ansible's own, so E(NO_COLOR) and E(ANSIBLE_FORCE_COLOR) hold, and there are none in a pipe.
  - With the callback P(sixty_sales.memory_optimized.report#callback) nothing else is printed.
notes:
  - This is an action plugin; on the host it needs what container_memory_info needs, and C(python3) in the path.
options:
  kind:
    description: Memory of each container against the budget, or whether all services run and answer.
    type: str
    choices: [resources, health]
    required: true
  stack:
    description: Name of the stack.
    type: str
    required: true
  budget:
    description: The memory budget, C(memory_budget_data).
    type: dict
    required: true
  optional:
    description: Services of the budget that may be absent.
    type: list
    elements: str
    default: []
  monitor:
    description: Where the Memory Monitor is on the host. Without an answer the report has the engine's figures alone.
    type: str
    default: http://127.0.0.1:8080
  prometheus:
    description: Where Prometheus is on the host, which says what alerts fire.
    type: str
    default: http://127.0.0.1:9090
  requests:
    description:
      - Requests made on the host that have to be answered with 200, each with C(name), C(url) and, where it is of use
        only while a service has a container, C(service).
      - Redirects are followed, and certificates are not verified.
    type: list
    elements: dict
    default: []
  output:
    description: A table for a person, or one JSON document in a line.
    type: str
    choices: [table, json]
    default: table
  follow:
    description:
      - Show the memory again each O(period), until the play is interrupted.
      - A table of one host is redrawn in place; several hosts tell a line each.
    type: bool
    default: false
  period:
    description: Seconds between two looks.
    type: float
    default: 2.0
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
- name: Show the memory
  sixty_sales.memory_optimized.stack_report:
    kind: resources
    stack: sixty
    budget: "{{ memory_budget_data }}"
  register: report

- name: Fail over 90 percent of a limit
  ansible.builtin.assert:
    that: report.document | community.general.json_query('containers[?percent >= `90`].name') | length == 0
"""

RETURN = r"""
document:
  description: What was shown; sizes are bytes, times unix seconds.
  returned: success
  type: dict
  contains:
    host: {description: Name of the host in the inventory., type: str}
    stack: {description: Name of the stack., type: str}
    time: {description: When it was looked at., type: float}
    kind: {description: V(resources) or V(health)., type: str}
    containers:
      description:
        - With V(resources), a container each with C(name), C(service), C(release), C(running), C(usage),
          C(working_set), C(unreclaimable), C(limit), C(peak), C(usage_target), C(alert), C(percent), C(level)
          (V(ok), V(warning), V(alert), V(critical)), C(restarts), C(oom_kills), C(differences), and, null without the
          Memory Monitor, C(growth_bytes_per_hour), C(growth_confidence), C(leak), C(exhaustion_seconds).
      type: list
    total:
      description: With V(resources), the same figures of all together.
      type: dict
    monitor:
      description: With V(resources), whether the Memory Monitor C(answers), and the C(problem) if not.
      type: dict
    services:
      description:
        - With V(health), a container each with C(name), C(service), C(release), C(state) (V(running), V(stopped),
          V(kept), V(absent), V(left out)), C(health), C(probe), C(seconds) since its start, C(restarts),
          C(oom_kills) and C(ok).
      type: list
    requests:
      description: With V(health), each request with C(status), C(release), C(seconds), C(error) and C(ok).
      type: list
    alerts: {description: "With V(health), the alerts that fire; null where Prometheus does not say.", type: list}
    healthy: {description: "With V(health), whether all services and requests are C(ok).", type: bool}
"""
