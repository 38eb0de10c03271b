# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A browser session that goes round the dashboard many times: does the page keep what it should let go?"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import PORT, ROOT
from ansible_collections.sixty_sales.memory_optimized.tests.memory.decisions import MB, Refused, growth
from limited_browser import Browser

HERE = Path(__file__).resolve().parent
WARM_UP = 60
LIMIT_MB = 1024
ROUND_SECONDS = 12
# V8 counts the machine code of its compilers as heap, and they are not done after hundreds of rounds (9 KB a round were
# all theirs, measured): only what the page itself keeps is to be seen.
INTERPRETED = "--js-flags=--no-sparkplug,--no-maglev,--no-turbofan"
# Growth in a round that counts: a page has a few nodes and listeners more or less by what is on it, and caches grow a
# little. The least are those of short sessions.
NOISE = {"heap": (2048, MB // 4), "nodes": (1, 50), "listeners": (0.5, 25)}
UNIT = {"heap": (MB, " MB"), "nodes": (1, ""), "listeners": (1, "")}


def measure(rounds: int, leak: Path | None = None, say=print) -> dict[str, Any]:
    say(f"--> The dashboard in Chromium with {LIMIT_MB:,} MB: {WARM_UP} rounds of warm-up, then {rounds}")
    flags = json.loads(_node("-p", "JSON.stringify(require('./lighthouse.memory-config.js').chromeFlags)", seconds=20))
    browser = Browser(os.environ["SIXTY_CHROMIUM_IMAGE"], [*flags, INTERPRETED], LIMIT_MB)
    with browser:
        settings = {"port": browser.port, "url": f"http://127.0.0.1:{PORT}/", "warmUp": WARM_UP, "rounds": rounds}
        text = json.dumps({**settings, "leak": leak and str(leak)})
        said = _node(str(HERE / "session.mjs"), text, seconds=(WARM_UP + rounds) * ROUND_SECONDS)
    samples = [json.loads(line) for line in said.splitlines()]
    result = {
        "warm_up_rounds": WARM_UP,
        "rounds": rounds,
        "browser_limit": LIMIT_MB * MB,
        "browser_peak": browser.peak,
        "browser_kills": browser.kills,
        "samples": samples,
    }
    return {**result, **judge(samples, rounds)}


def judge(samples: list[dict[str, float]], rounds: int) -> dict[str, Any]:
    told, problems = {}, []
    for name, (in_a_round, least) in NOISE.items():
        found = growth([(sample["round"], sample[name]) for sample in samples], max(least, round(in_a_round * rounds)))
        told[name] = {**found.facts(), "per_round": found.slope}
        if found.leak:
            unit, symbol = UNIT[name]
            each = f"{found.slope / 1024:,.1f} KB" if name == "heap" else f"{found.slope:,.1f}"
            problems.append(
                f"The dashboard leaks: its {name} grew from {found.first / unit:,.1f} to {found.last / unit:,.1f}"
                f"{symbol} in {rounds} rounds ({each} a round, confidence {found.confidence:.3f}). Look for listeners,"
                " timers and subscriptions that an effect does not take back; the browser's heap snapshot, filtered"
                ' by "Detached", names the component.'
            )
    return {"growth": told, "problems": problems}


def _node(*arguments: str, seconds: int) -> str:
    try:
        done = subprocess.run(
            ["node", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"The session in the browser had not ended after {seconds} s, and was ended.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        wanted = next((line for line in lines if "Error" in line), (lines or ["without a word"])[0])
        raise Refused(f"The session in the browser ended: {wanted}")
    return done.stdout
