# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A switch drops nothing: no request, no stream, no row, and no file that an older page still asks for."""

from __future__ import annotations

import json
import re
import statistics
import time
import uuid
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    ROOT,
    UNLIMITED,
    ask,
    container,
    deploy,
    inspect,
    routed,
)
from ansible_collections.sixty_sales.memory_optimized.tests.release import faults
from ansible_collections.sixty_sales.memory_optimized.tests.release.release_stack import (
    OpenLoad,
    other_bundle,
    rollback,
    switch,
)

pytestmark = pytest.mark.usefixtures("restored")


# A deploy that is only the way to a release: not watched, and no dump before it.
PLAIN = {**UNLIMITED, "release_watch_seconds": 0, "release_backup": False}


def name() -> str:
    """An id that no run had before, since an id stands for one release."""
    return f"zero-{uuid.uuid4().hex[:8]}"


def artifacts(folder: Path) -> dict[str, str]:
    """Variables of a deploy of the image that is there, with a bundle of other names."""
    return {"release_image": inspect(container("api"))["Config"]["Image"], "release_bundle": other_bundle(folder)}


@pytest.fixture
def releases(request, tmp_path):
    """Two releases with different bundles; the second one is served."""
    variables = {**PLAIN, **faults.variables("none", **request.param)}
    pair = name(), name()
    deploy(release_id=pair[0], **variables)
    deploy("--tags", "release", release_id=pair[1], **artifacts(tmp_path / "bundle"), **variables)
    return pair


def move(
    load: OpenLoad, releases: tuple[str, str], switches: int, rollbacks: int, pause: float = 2
) -> list[dict[str, float]]:
    """Go to the other release again and again; the times of each move, in seconds."""
    moves = []
    load.serving(routed())
    for turn in range(switches + rollbacks):
        target = releases[0] if routed() == releases[1] else releases[1]
        with load.switching(target) as times:
            done = switch(target) if turn < switches else rollback(target)
        assert routed() == target and done["active"]["release"] == target
        moves.append({"rename_to_read_back": done["seconds"], **times})
        # Steady state, to compare with.
        time.sleep(pause)
    return moves


def prove(load: OpenLoad, moves: list[dict[str, float]], drain_seconds: float) -> None:
    """Nothing failed, was lost, came twice or came from the wrong release; every stream left each time in time."""
    told = load.result
    assert told["failed"] == 0, json.dumps({key: told[key] for key in ("failures", "samples")}, indent=1)
    assert load.result["read_back"]["wrong"] == 0, told["read_back"]
    assert load.result["read_back"]["checked"] > 0.5 * sum(told["counts"].values())
    streams, wanted = told["streams"], load.settings["streams"]
    assert streams["drained"] == wanted * len(moves)
    assert streams["drained_max_seconds"] <= drain_seconds
    assert streams["rows_lost"] == 0 and streams["rows_told_to_all"] == len(told["acknowledged"]) > 0
    assert load.lost() == []
    for kind, setting in (("slow", "slow"), ("upload", "uploads")):
        assert told["counts"][kind] >= load.settings[setting] * len(moves), kind


QUICK_DRAIN = 3


@pytest.mark.quick
@pytest.mark.parametrize("releases", [{"DRAIN_TIMEOUT_SECONDS": str(QUICK_DRAIN)}], indirect=True, ids=["quick"])
def test_few_moves_drop_nothing(releases):
    with OpenLoad(rate=150, streams=8, slow=2, uploads=2, slow_seconds=1) as load:
        moves = move(load, releases, switches=3, rollbacks=1, pause=0.5)
    print(json.dumps(load.report(), indent=1))
    prove(load, moves, QUICK_DRAIN)


@pytest.mark.parametrize("releases", [{}], indirect=True, ids=["25 moves"])
def test_twenty_switches_and_five_rollbacks_drop_nothing(releases):
    with OpenLoad(rate=300, streams=20, slow=4, uploads=2) as load:
        moves = move(load, releases, switches=20, rollbacks=5)
    report = {
        "moves": {
            "count": len(moves),
            **{
                f"{what}_seconds": {
                    "median": round(statistics.median(one[what] for one in moves), 3),
                    "max": round(max(one[what] for one in moves), 3),
                }
                for what in ("rename_to_read_back", "switch", "drain")
            },
        },
        **load.report(),
        "rows_lost": load.lost(),
    }
    path = ROOT / ".dev/reports/zero_loss.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=1))
    prove(load, moves, 25)


def test_old_assets(tmp_path):
    """A browser that loaded the page before two further switches gets what that page refers to, byte by byte."""

    def names(text: str) -> set[str]:
        return {f"/assets/{found}" for found in re.findall(r"[\w-]+-[\w-]{8}\.(?:js|css)\b", text)}

    first = name()
    deploy(release_id=first, **PLAIN, **artifacts(tmp_path / "first"))
    kept = {f"/assets/{path.name}": path.read_bytes() for path in (tmp_path / "first/assets").iterdir()}
    # Loaded at once: what the page names. The rest is loaded when somebody opens a dialog or a chart.
    page = ask("/").body.decode()
    loaded = {path: ask(path) for path in names(page)}
    later = {path for answer in loaded.values() for path in names(answer.body.decode())} - set(loaded)
    assert len(loaded) > 2 and len(later) > 2
    for turn in ("second", "third"):
        deploy("--tags", "release", release_id=name(), **PLAIN, **artifacts(tmp_path / turn))
    served = {f"/assets/{path.name}" for path in (HOME / "route/active/www/assets").iterdir()}
    assert not served & set(kept), "the bundles share names, so nothing would be proven"
    assert not names(ask("/").body.decode()) & set(loaded)
    reached = set(loaded)
    while later:
        path = later.pop()
        answer = ask(path)
        assert (answer.status, answer.body) == (200, kept[path]), (path, answer.status)
        assert "immutable" in answer.headers["cache-control"]
        reached.add(path)
        later |= names(answer.body.decode()) - reached
    for path, before in loaded.items():
        again = ask(path)
        assert (again.status, again.body) == (200, before.body), path
    assert reached == set(kept)
