#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_budget
short_description: Judge a memory budget before a deploy
version_added: "0.1.0"
description:
  - Checks limits, usage targets, process caps, connection pools and tmpfs sizes of all services against each other,
    against the total budget and against the host, for each phase of a blue-green deploy.
  - Guaranteed memory (the sum of limits) and expected memory (the sum of usage targets) are two answers; both are
    given for each phase.
  - Changes nothing.
author: Sixty Sales DevOps Team (@sixty-sales)
attributes:
  check_mode:
    support: full
    description: Changes nothing, so check mode is no different.
  diff_mode:
    support: none
    description: There is nothing to show a difference of.
  platform:
    support: full
    platforms: linux
    description: Hosts whose memory can be read from C(/proc/meminfo).
options:
  data:
    description:
      - The merged budget, C(memory_budget_data) of the role P(sixty_sales.memory_optimized.memory_budget#role).
      - Sizes are strings with a unit; K, M and G are powers of 1024.
    type: dict
    required: true
  documented:
    description:
      - The budget whose services, keys, settings and kinds of values are the known ones.
      - O(data) itself where it is not given.
    type: dict
  overrides:
    description: What the user changed; serves to name the place to mend.
    type: dict
    default: {}
  profile:
    description: Name of the profile, for the messages.
    type: str
    default: documented
  strict:
    description: Whether warnings are errors.
    type: bool
    default: false
  host_memory:
    description:
      - Memory of the host (MemTotal), a size with a unit or bytes.
      - Read from the host that the module runs on where it is not given or empty.
    type: raw
  host_cpus:
    description: Number of the host's CPUs; read from the host where it is not given.
    type: int
  fail_on_error:
    description: Whether an error fails the task. The result is complete either way.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Stop a deploy whose budget does not hold
  sixty_sales.memory_optimized.memory_budget:
    data: "{{ memory_budget_data }}"
    overrides: "{{ memory_budget_overrides }}"

- name: See what a host with 2 GB would say
  sixty_sales.memory_optimized.memory_budget:
    data: "{{ memory_budget_data }}"
    host_memory: 1978M
    fail_on_error: false
"""

RETURN = r"""
rows:
  description: One entry per service; sizes in bytes, null where there is none.
  returned: always
  type: list
  elements: dict
  sample:
    - {service: redis, limit: 67108864, reservation: 33554432, usage_target: 58720256, alert: 56623104, cpus: 0.5,
       cpus_reservation: 0.25, colours: 1}
totals:
  description:
    - C(budget), C(limit) and C(expected) of the steady state, C(peak) and C(peak_expected) of the switch, in bytes.
    - C(containers) and C(peak_containers).
  returned: always
  type: dict
timeline:
  description:
    - One entry per phase (V(steady), V(overlap), V(drain), V(promoted)) with C(guaranteed), C(expected) and
      C(host_available) in bytes, C(containers), C(fits_budget), C(fits_host_guaranteed) and C(fits_host_expected).
  returned: always
  type: list
  elements: dict
findings:
  description: Errors first.
  returned: always
  type: list
  elements: dict
  contains:
    rule: {description: Stable id such as V(budget/peak)., type: str}
    severity: {description: V(error) or V(warning)., type: str}
    service: {description: Service; empty for the budget as a whole., type: str}
    message: {description: What is wrong., type: str}
    arithmetic: {description: The numbers behind it; may be empty., type: str}
    mend: {description: What to do., type: str}
errors:
  description: Number of errors.
  returned: always
  type: int
warnings_found:
  description: Number of warnings.
  returned: always
  type: int
parent_limit:
  description: Limit for the cgroup above all containers, in bytes; min(total, MemTotal - system reserve).
  returned: always
  type: int
host_memory:
  description: The host's memory in bytes.
  returned: always
  type: int
host_cpus:
  description: The host's CPUs.
  returned: always
  type: int
table:
  description: Services, timeline and host as text.
  returned: always
  type: str
report:
  description: RV(table) and every finding as text.
  returned: always
  type: str
failure:
  description: The message with each error; empty without errors.
  returned: always
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget import (
    Host,
    as_result,
    host_memory,
    judge,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_report import failure, report, table
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import ERROR, WARNING
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import SizeError, positive_size

MEMINFO = "/proc/meminfo"


def observe_memory(given):
    """Bytes of the host's memory: as given, else as the kernel says. Raises ValueError, OSError."""
    if given not in (None, ""):
        return positive_size(given)
    with open(MEMINFO, encoding="ascii") as meminfo:
        return host_memory(meminfo.read())


def main():
    module = AnsibleModule(
        argument_spec={
            "data": {"type": "dict", "required": True},
            "documented": {"type": "dict"},
            "overrides": {"type": "dict", "default": {}},
            "profile": {"type": "str", "default": "documented"},
            "strict": {"type": "bool", "default": False},
            "host_memory": {"type": "raw"},
            "host_cpus": {"type": "int"},
            "fail_on_error": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        host = Host(observe_memory(params["host_memory"]), params["host_cpus"] or os.cpu_count())
    except SizeError as error:
        module.fail_json(msg=f"host_memory cannot be read: {error}. Nothing was changed. Write a size such as 1978M.")
    except (OSError, ValueError) as error:
        module.fail_json(
            msg=f"The host's memory cannot be read: {error}. Nothing was changed. Give it as host_memory, like 1978M."
        )
    verdict = judge(params["data"], params["documented"], params["overrides"], host, params["strict"])
    errors = len(verdict.of(ERROR))
    message = failure(verdict, params["profile"], params["strict"]) if errors else ""
    result = {
        **as_result(verdict),
        "errors": errors,
        "warnings_found": len(verdict.of(WARNING)),
        "table": table(verdict, params["profile"]),
        "report": report(verdict, params["profile"]),
        "failure": message,
    }
    if errors and params["fail_on_error"]:
        module.fail_json(msg=message, **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
