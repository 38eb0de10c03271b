# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not the release's doing flips nothing back: each neighbour suffers in the middle of a watch."""

from __future__ import annotations

import concurrent.futures
import json
import uuid
from collections.abc import Callable

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.modules.container_memory_info import kernel_view
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    ROOT,
    UNLIMITED,
    ask,
    container,
    deploy,
    docker,
    eventually,
    info,
    inspect,
    play,
)

pytestmark = pytest.mark.usefixtures("restored")
WATCH = {"release_watch_seconds": 30, "release_watch_period": 1, "release_watch_memory_seconds": 5}
LOGIN = ("redis-cli", "--no-auth-warning", "--user", "admin", "--pass")


def fill_redis() -> None:
    """To its cap and beyond, with what it then evicts."""
    secret = (ROOT / f".dev/secrets/{NAME}/redis_admin_password").read_text().strip()
    script = "for i = 1, 1000 do redis.call('SET', 'fill:' .. ARGV[1] .. i, string.rep('x', 4096)) end"
    for turn in range(20):
        # With the documented numbers a full cache may be killed for its memory, which is no release's doing either.
        docker("exec", container("redis"), *LOGIN, secret, "EVAL", script, "0", f"{turn}:", check=False)


def restart_redis() -> None:
    docker("restart", container("redis"))


def restart_postgresql() -> None:
    """Both releases lose their database at once, which is no difference between them."""
    docker("restart", container("postgres"))


def restart_nginx() -> None:
    docker("restart", container("nginx"))


def fill_the_page_cache() -> None:
    """More file pages than the release's own limit, read twice, so that they are active: the working set is full."""
    file = "/var/log/sixty/page-cache"
    name = container("api")
    try:
        docker("exec", name, "dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=420", "status=none")
        for _turn in range(3):
            docker("exec", name, "sh", "-c", f"head -c 340000000 {file} > /dev/null")
        figures = kernel_view(inspect(name)["State"]["Pid"], int(info().get("CgroupVersion") or 1))
        assert figures["usage"] > 0.9 * figures["limit"], figures
        assert figures["unreclaimable"] < 0.5 * figures["limit"], figures
    finally:
        docker("exec", name, "rm", "-f", file)


NEIGHBOURS = (fill_redis, restart_redis, restart_postgresql, restart_nginx, fill_the_page_cache)


@pytest.mark.parametrize("suffer", NEIGHBOURS, ids=lambda suffer: suffer.__name__)
def test_no_flip_back(suffer: Callable[[], None]) -> None:
    name = f"innocent-{uuid.uuid4().hex[:6]}"

    def phase() -> str:
        return json.loads((HOME / "state.json").read_text()).get("deploy", {}).get("phase", "")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        deploying = pool.submit(play, release_id=name, **UNLIMITED, **WATCH)
        eventually(lambda: deploying.done() or phase() == "switched", "the release is watched", 120)
        suffer()
        ended = deploying.result()
    assert ended.code == 0, ended.tail
    assert f"{name} promoted" in ended.said
    assert eventually(lambda: ask("/api/release").release == name, "the release is served")
    last = [json.loads(line) for line in (HOME / "journal.jsonl").read_text().splitlines()][-1]
    assert (last["event"], last["release"]) == ("promoted", name)
    deploy(playbook="playbooks/check_health.yml")
