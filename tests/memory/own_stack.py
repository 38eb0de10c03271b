# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack for the memory tests alone, gone again in the end whatever happens."""

from __future__ import annotations

import base64
import contextlib
import functools
import signal
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.sixty_sales.memory_optimized.plugins.modules.container_memory_info import kernel_view
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    NAME,
    UNLIMITED,
    container,
    docker,
    info,
    inspect,
    play,
)
from ansible_collections.sixty_sales.memory_optimized.tests.memory.decisions import Refused

HERE = Path(__file__).resolve().parent


@functools.cache
def cgroup_version() -> int:
    return int(info().get("CgroupVersion") or 1)


def preloaded(*modules: str) -> dict[str, list[str]]:
    """Variables of a deploy whose API loads these files of ours first, without a change to its image or its code."""
    encoded = [base64.b64encode((HERE / module).read_bytes()).decode() for module in modules]
    return {"api_node_flags": [f"--import=data:text/javascript;base64,{text}" for text in encoded]}


PROBED = preloaded("probe.mjs")


def deploy(**variables: object) -> None:
    """The API has the probe, and nginx takes all requests of the load."""
    ended = play(**{**UNLIMITED, **PROBED, **variables})
    if ended.code:
        raise Refused(f"The stack '{NAME}' was not deployed:{ended.tail}\nNothing was measured.")


def remove() -> None:
    # A second Ctrl-C would leave half a stack behind; the plays that run meanwhile inherit this.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended = play(playbook="playbooks/destroy.yml", docker_host_purge=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ended.code:
        raise Refused(
            f"The stack '{NAME}' was not removed:{ended.tail}\n"
            f"Its containers: docker ps --all --filter label=sixty.stack={NAME}. The next run tries again."
        )


@contextlib.contextmanager
def own_stack() -> Iterator[None]:
    if NAME == "sixty":
        raise Refused("These tests lower limits and plant leaks: not on the stack 'sixty'. Call them with make.")
    if docker("ps", "--all", "--quiet", "--filter", f"label=sixty.stack={NAME}"):
        remove()
    try:
        deploy()
        yield
    finally:
        print(f"--> Removing the stack '{NAME}'", flush=True)
        remove()


def memory(service: str) -> dict[str, int]:
    """The kernel's figures; a container that is being restarted has none."""
    figures = kernel_view(inspect(container(service))["State"]["Pid"], cgroup_version())
    if figures is None:
        raise Refused(f"{container(service)} has no memory figures: it is not running.")
    return figures


def main_process(service: str) -> int:
    """What the container is for, below its init: its id on the host."""
    init = inspect(container(service))["State"]["Pid"]
    return int(Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])
