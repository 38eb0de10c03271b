# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timer runs: the functions of the module backup, without Ansible.

run: a backup with the settings beside this directory; 1 and a reason where one failed.
ended: tells monitoring when systemd has ended the run before it could (ExecStopPost, systemd.service(5)).
"""

import json
import os
import sys
import time
from pathlib import Path

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import backup, postgres_dump_host
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.postgres_dump import DumpError


def complain(text):
    print(text, file=sys.stderr)


def run(task):
    result = backup.run(task)
    told = ", ".join(
        f"{result[name]} {name}" if name in ("bytes", "tables", "rows") else name
        for name in ("bytes", "tables", "rows", "verified", "copied")
        if result[name]
    )
    print(f"{result['path']}: {told}; {len(result['removed'])} older ones removed; {result['seconds']} s")


def ended(task):
    # A run that ended by itself has told.
    if os.environ.get("EXIT_CODE") != "exited":
        outcome = os.environ.get("SERVICE_RESULT", "unknown")
        # To systemd, what it was asked to stop is a success.
        why = "it was stopped" if outcome == "success" else outcome
        news = {"failed": int(time.time()), "error": f"systemd ended the backup: {why}"}
        postgres_dump_host.publish(task, news)
        backup.throw_away(task)


def main():
    settings = json.loads((Path(__file__).resolve().parent.parent / "settings.json").read_text(encoding="utf-8"))
    task = backup.Task(settings, complain)
    try:
        {"run": run, "ended": ended}[sys.argv[1]](task)
    except (DumpError, OSError) as failure:
        complain(failure)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
