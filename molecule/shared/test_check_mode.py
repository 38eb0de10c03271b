# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of every scenario, before its own tests."""


def test_check_mode_of_a_converged_host_announces_nothing(play):
    recap = play("--check", "--diff")
    assert recap.changed == 0, recap.output
