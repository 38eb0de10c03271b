"""Grafana's dashboards, as code.

`python scripts/dashboards/build.py` writes roles/grafana/templates/dashboards/<uid>.json, the same bytes from the same
code. `--check` writes nothing and ends with 1 where a file is out of date, missing, or made by nobody.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "roles/grafana/templates/dashboards"
sys.path.insert(0, str(ROOT))

from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: E402

from scripts.dashboards import api, logs, memory, nginx, postgres, redis, release  # noqa: E402
from scripts.dashboards.panels import Board  # noqa: E402

BOARDS = [module.BOARD for module in (memory, release, api, postgres, redis, nginx, logs)]


def plain(board: Board) -> dict[str, Any]:
    """A dashboard as JSON's types, without what the SDK adds by itself.

    Some of it is unknown to the types of Grafana 12.4, and what stands in the controls menu is not seen.
    """
    made = json.loads(json.dumps(board.made.build(), cls=JSONEncoder))
    variables = made.get("templating", {}).get("list", [])
    options = [panel.get("options", {}) for panel in made["panels"]]
    for part in [*variables, *options, *made["links"], *made["annotations"]["list"]]:
        for key in ("auto", "auto_count", "auto_min", "footer", "placement"):
            part.pop(key, None)
    return made


def texts() -> dict[pathlib.Path, str]:
    """Each file and what belongs into it."""
    return {FOLDER / f"{board.uid}.json": json.dumps(plain(board), indent=1, sort_keys=True) + "\n" for board in BOARDS}


def main() -> int:
    """Write or compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    check = parser.parse_args().check
    wanted = texts()
    there = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    stale = sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
    for path in stale:
        if not check and path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        elif not check:
            path.unlink()
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written' if path in wanted else 'removed'}")
    if check and stale:
        print("Write them with: python scripts/dashboards/build.py")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
