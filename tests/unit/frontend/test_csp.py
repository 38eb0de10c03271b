# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Content-Security-Policy of nginx and that of the page: together they say everything, and nothing inline."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
POLICIES: dict[str, dict[str, str]] = json.loads((ROOT / "app/frontend/csp.json").read_text())
# Every directive that decides what a page may load or do, and does not fall back to another one that is set.
NEEDED = {
    "default-src", "script-src", "style-src", "img-src", "font-src", "connect-src", "worker-src", "manifest-src",
    "media-src", "frame-src", "object-src", "base-uri", "form-action", "frame-ancestors",
}  # fmt: skip


def parsed(policy: str) -> dict[str, str]:
    directives = [directive.strip().split(" ", 1) for directive in policy.split(";")]
    assert len({name for name, _sources in directives}) == len(directives), f"a directive is there twice in {policy}"
    return {name: sources for name, sources in directives}


def test_nginx_sends_what_the_build_expects() -> None:
    defaults = yaml.safe_load((ROOT / "roles/nginx/defaults/main.yml").read_text())
    assert parsed(defaults["nginx_content_security_policy"]) == POLICIES["header"]


def test_together_they_say_everything() -> None:
    assert set(POLICIES["header"]) | set(POLICIES["page"]) >= NEEDED
    # Each is enforced alone: a fallback of nginx would forbid the style whose hash only the page knows.
    assert not {"default-src", "style-src", "style-src-elem"} & set(POLICIES["header"])


def test_they_do_not_contradict_each_other() -> None:
    """What both say is the same, and what only nginx allows is not forbidden by the page's default."""
    header, page = POLICIES["header"], POLICIES["page"]
    for directive, sources in header.items():
        allowed = page.get(directive, page["default-src"] if directive.endswith("-src") else sources)
        assert set(sources.split()) - {"'none'"} <= set(allowed.split()), directive


def test_nothing_inline_is_let_through() -> None:
    sources = " ".join([*POLICIES["header"].values(), *POLICIES["page"].values()])
    assert "unsafe" not in sources and "*" not in sources and "http" not in sources
    # These mean nothing in a meta element.
    assert not {"frame-ancestors", "sandbox", "report-uri"} & set(POLICIES["page"])


@pytest.mark.parametrize("half", ["header", "page"])
def test_the_one_script_that_is_inline_is_named(half: str) -> None:
    script = (ROOT / "app/frontend/src/pwa/beforePaint.js").read_bytes()
    own, *hashes = POLICIES[half]["script-src"].split()
    assert own == "'self'"
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" in hashes
