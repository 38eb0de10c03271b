# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that ends in any way leaves no Chromium behind, and one that cannot start says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from limited_browser import Browser  # noqa: E402
from verdicts import Refused  # noqa: E402

IMAGE = os.environ.get("SIXTY_CHROMIUM_IMAGE", "")
FLAGS = json.loads(
    subprocess.check_output(
        ["node", "-p", "JSON.stringify(require('../../lighthouse.memory-config.js').chromeFlags)"], cwd=HERE, text=True
    )
)

# Starts a browser, says its name, and waits for whatever happens to it.
HOLDER = f"""
import sys, time
sys.path.insert(0, {str(HERE)!r})
from limited_browser import Browser
with Browser({IMAGE!r}, {FLAGS!r}, 1024) as browser:
    print(browser.name, flush=True)
    time.sleep(600)
"""


def processes(name: str) -> int:
    """Processes of Chromium in the container of this name; 0 when there is no such container."""
    told = subprocess.run(["docker", "top", name, "-eo", "pid,args"], capture_output=True, text=True, check=False)
    return sum("chromium" in line for line in told.stdout.splitlines())


def known(name: str) -> bool:
    return bool(subprocess.check_output(["docker", "ps", "--all", "--quiet", "--filter", f"name=^{name}$"], text=True))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_nothing_is_left_of_a_run_that_is_killed(end):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        name = holder.stdout.readline().strip()
        assert processes(name) > 1
        holder.send_signal(end)
        holder.wait(timeout=20)
        deadline = time.monotonic() + 10
        while known(name) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not known(name)
    finally:
        holder.kill()
        holder.wait()


def test_a_limit_that_is_too_small_is_told():
    with pytest.raises(Refused, match=r"Chromium did not start with a limit of 24 MB"), Browser(IMAGE, FLAGS, 24):
        pass


def test_the_limit_is_real_and_its_peak_is_known():
    with Browser(IMAGE, FLAGS, 1024) as browser:
        limit = subprocess.check_output(["docker", "inspect", "--format", "{{.HostConfig.Memory}}", browser.name])
        assert int(limit) == 1024 * 1024**2
    assert browser.kills == 0
    assert 20 * 1024**2 < browser.peak < 1024 * 1024**2
    assert not known(browser.name)
