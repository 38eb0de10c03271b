# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's main in this process."""

from __future__ import annotations

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args


class Exited(Exception):
    """exit_json or fail_json was called."""

    def __init__(self, result):
        super().__init__(result.get("msg"))
        self.result = result


def run_main(monkeypatch, main, arguments, check=False):
    """The result of C(main) with these arguments; C(failed) says whether it failed."""

    def leave(failed):
        def method(_module, **result):
            raise Exited({"failed": failed, **result})

        return method

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave(False))
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", leave(True))
    with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(Exited) as caught:
        main()
    return caught.value.result
