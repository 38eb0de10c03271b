# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of production under a witness: what a fault is done to, and what is asked of it meanwhile."""

from __future__ import annotations

import contextlib
import datetime
import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.sixty_sales.memory_optimized.tests.faults.matrix import BOUNDS, Matrix
from ansible_collections.sixty_sales.memory_optimized.tests.faults.witness import Witness, outages
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import Operator, eventually, request

STACK = "flt"
HOME = f"/srv/{STACK}"
INVENTORY = "INVENTORY=inventories/production"
# A host has no curl.
ALERTS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9090/api/v1/alerts", timeout=5).read().decode())
"""


class Fault:
    """One fault while it lasts; what a test says of it goes into the matrix."""

    def __init__(self, witness: Witness) -> None:
        self.witness, self.begun, self.mended_at = witness, time.monotonic(), 0.0
        self.began = datetime.datetime.now(datetime.timezone.utc)
        self.words: dict[str, tuple[str, str]] = {}

    def mended(self) -> None:
        """The cause is gone from now on, where it does not go by itself."""
        self.mended_at = time.monotonic()

    def say(self, recovered_by: str, told_how: str, *services: str) -> None:
        for service in services or ("",):
            self.words[service] = (recovered_by, told_how)

    def failures(self, kind: str) -> list[str]:
        return [said for said in self.witness.failed if said.startswith(kind)]


class Scene:
    """The host, reached as its operator reaches it."""

    def __init__(self, operator: Operator, matrix: Matrix) -> None:
        self.operator, self.matrix = operator, matrix

    # -- the host

    def ssh(self, command: str, timeout: int = 120) -> str:
        return self.operator.ssh(command, timeout=timeout)

    def script(self, source: str, *arguments: object, timeout: int = 120) -> str:
        """Output of a Python program on the host, run as root."""
        return self.ssh(shlex.join(["python3", "-c", source, *map(str, arguments)]), timeout)

    def is_bare(self) -> bool:
        return not self.ssh(f"cat {HOME}/state.json 2>/dev/null || true")

    def container(self, service: str) -> str:
        return f"{STACK}-api-{self.operator.routed()}" if service == "api" else f"{STACK}-{service}"

    def inspect(self, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.ssh(f"docker inspect {name}"))
        return found[0]

    def started(self) -> dict[str, str]:
        """Container -> when it was started."""
        text = self.ssh("docker inspect --format '{{.Name}} {{.State.StartedAt}}' $(docker ps --quiet)")
        return dict(line.split() for line in text.splitlines())

    def log(self, name: str) -> str:
        """The end of a container's log, as a file: docker logs stops at a line that a full disk has cut."""
        return self.ssh(f"tail --lines=200 $(docker inspect --format '{{{{.LogPath}}}}' {name})")

    def runs(self, name: str) -> bool:
        state = self.inspect(name)["State"]
        return bool(state["Running"] and not state["Restarting"])

    def is_healthy(self, count: int, since: str = "") -> bool:
        """So many containers, each healthy by a probe after a moment of the host's clock (YYYY-MM-DDTHH:MM:SS)."""
        form = "{{.State.Health.Status}}{{range .State.Health.Log}} {{json .End}}{{end}}"
        found = [
            line.split() for line in self.ssh(f"docker inspect --format '{form}' $(docker ps --quiet)").splitlines()
        ]
        return len(found) == count and all(line[0] == "healthy" and line[-1].strip('"') >= since for line in found)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ssh(f"cat {HOME}/state.json"))
        return found

    def rows(self, mark: str) -> dict[int, str]:
        """Rows of a witness, by the database itself."""
        statement = f"SELECT id, name FROM deals WHERE company = '{mark}'"
        psql = f"docker exec {STACK}-postgres psql --no-psqlrc -qtA --dbname=sixty --command={shlex.quote(statement)}"
        return {int(row): name for row, _, name in (line.partition("|") for line in self.ssh(psql).splitlines())}

    def alerts(self, since: datetime.datetime, service: str = "") -> dict[str, str]:
        """Alerts of a service, or of any, that became active since a moment: name -> pending or firing."""
        answer = json.loads(self.script(ALERTS))
        return {
            one["labels"]["alertname"]: one["state"]
            for one in answer["data"]["alerts"]
            if service in ("", one["labels"].get("service"))
            and datetime.datetime.fromisoformat(f"{one['activeAt'][:19]}+00:00") >= since
        }

    def firing(self, since: datetime.datetime, service: str = "") -> list[str]:
        return sorted(name for name, state in self.alerts(since, service).items() if state == "firing")

    def check_health(self, step: str) -> tuple[int, str]:
        ended = self.operator.make(step, f"check-health {INVENTORY}")
        return ended.code, ended.said

    # -- a fault

    @contextlib.contextmanager
    def watched(self, fault: str, *services: str, writes: float = 2) -> Iterator[Fault]:
        """Under a witness, until all is served again; then a row a service, and no acknowledged write is gone."""
        with Witness(self.operator.client, request, writes=writes) as witness:
            start = time.monotonic()
            eventually(lambda: witness.is_well(start), "the site is served before the fault", 60)
            done = Fault(witness)
            yield done
            ended, mended = time.monotonic(), done.mended_at or done.begun
            limit = max(mended + BOUNDS[fault], ended) + 30 - ended
            eventually(lambda: witness.is_well(ended), f"the site is served again; {witness.failed}", limit)
        found = outages(one for one in witness.answers if one.ended >= done.begun)
        gone = sum((one.end or 0) - one.start for one in found)
        back = max((one.end or 0 for one in found), default=mended) - mended
        lost = witness.lost(self.rows(witness.mark))
        figures = {
            "outage_s": round(gone, 1),
            "back_s": round(max(0.0, back), 1),
            "held_s": round(mended - done.begun, 1),
            "bound_s": BOUNDS[fault],
            "requests": len(witness.answers),
            "failed": dict(witness.failed),
            "outages": [
                {"start": round(one.start - done.begun, 1), "end": round((one.end or 0) - done.begun, 1)}
                for one in found
            ],
            "acknowledged": len(witness.acknowledged),
            "lost_acknowledged": len(lost),
        }
        print(json.dumps({"fault": fault, "services": services, **figures}, indent=1), flush=True)
        for service in services:
            recovered_by, told_how = done.words.get(service) or done.words[""]
            words = {"recovered_by": recovered_by, "told_how": told_how}
            self.matrix.add({"fault": fault, "service": service, **figures, **words})
        assert witness.acknowledged and not lost, f"acknowledged and lost: {lost}"
        assert figures["back_s"] <= BOUNDS[fault], figures
