# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: report
type: stdout
short_description: Nothing but what a play displays itself, and what fails
version_added: "0.1.0"
description:
  - Prints no plays, tasks and recap, so that what M(sixty_sales.memory_optimized.stack_report) shows is all that is on
    standard output, and a program can read it.
  - Failures and unreachable hosts go to standard error, as the message alone.
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
# ANSIBLE_STDOUT_CALLBACK=sixty_sales.memory_optimized.report \
#   ansible-playbook sixty_sales.memory_optimized.check_resources -e output=json | jq .total.percent
"""

import json
from typing import Any

from ansible import constants as C
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "sixty_sales.memory_optimized.report"

    def _tell(self, result: Any, colour: str) -> None:
        told = result.result
        if self._display.verbosity:
            self._handle_warnings_and_exception(result)
        # Something without a message says all that it has.
        text = told.get("msg") or json.dumps(told, default=str)
        self._display.display(f"{result.host.get_name()}: {text}", color=colour, stderr=True)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._tell(result, C.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._tell(result, C.COLOR_UNREACHABLE)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._display.display("No hosts match; nothing was looked at.", color=C.COLOR_ERROR, stderr=True)
