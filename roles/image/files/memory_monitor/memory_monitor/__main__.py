# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python3 -m memory_monitor [--check]: serve on port 8080, or only read the configuration."""

from __future__ import annotations

import gc
import signal
import sys

from memory_monitor.sampler import MOUNTS, Sampler
from memory_monitor.settings import load

ADDRESS = ("", 8080)


def say(text):
    print(text, file=sys.stderr, flush=True)


def main(arguments):
    try:
        if arguments == ["--check"]:
            load(f"{MOUNTS['config']}/monitor.json")
            return 0
        if arguments:
            say(__doc__)
            return 2
        sampler = Sampler(say=say)
    except ValueError as error:
        say(str(error))
        return 1
    from memory_monitor.pages import Pages
    from memory_monitor.server import Server

    server = Server(ADDRESS, Pages(sampler))
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    signal.signal(signal.SIGINT, lambda *_: server.stop())
    signal.signal(signal.SIGHUP, lambda *_: sampler.reload())
    # What was imported stays; the collector need not look at it again.
    gc.freeze()
    sampler.start()
    say(f"The Memory Monitor of {sampler.settings.stack} serves on port {ADDRESS[1]}.")
    server.run()
    sampler.stop()
    return 0


sys.exit(main(sys.argv[1:]))
