# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docker-compose.memory-optimized.yml says what the roles and the budget say, and a real Compose accepts it."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import BUDGET, ROOT, deploy, docker

TRACKED = ROOT / "docker-compose.memory-optimized.yml"
SERVICES = yaml.safe_load(TRACKED.read_text())["services"]
DOCKERFILE = """
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends docker-compose && rm -rf /var/lib/apt/lists/*
"""


@pytest.fixture(scope="module")
def resolved() -> dict:
    """The file as Debian's Compose understands it; it fails for what the specification does not know."""
    image = "sixty/test-compose:1"
    base = f"BASE={os.environ['SIXTY_BASE_IMAGE']}"
    docker("build", "--quiet", "--tag", image, "--build-arg", base, "-", text=DOCKERFILE)
    given = ("--env", "API_IMAGE_TAG=tried", "--env", "RELEASE_ID=r1", "--network=none")
    command = ("docker-compose", "--file", "-", "config", "--format", "json")
    return json.loads(docker("run", "--rm", "--interactive", *given, image, *command, text=TRACKED.read_text()))


def test_it_is_up_to_date(tmp_path):
    made = tmp_path / "compose.yml"
    # The file is the default stack's, whichever one is under test.
    default = {"stack_name": "sixty", "stack_subnet_prefix": "10.60", "nginx_http_port": 80}
    default.update(memory_monitor_port=8080, prometheus_port=9090, alertmanager_port=9093)
    deploy(playbook="playbooks/compose.yml", compose_file=str(made), **default)
    assert made.read_text() == TRACKED.read_text(), "run: make compose"


def test_a_real_compose_accepts_it(resolved):
    assert resolved["services"].keys() == SERVICES.keys() == BUDGET["services"].keys()
    assert resolved["services"]["api"]["image"].endswith("/api:tried")
    assert resolved["services"]["api"]["environment"]["RELEASE_ID"] == "r1"
    assert {name for name, network in resolved["networks"].items() if network.get("internal")} == {
        *("app", "cache", "db", "metrics", "status")
    }


@pytest.mark.parametrize("service", SERVICES)
def test_its_resources_are_the_budget(resolved, service):
    """Once as the file has them, in the budget's own words, and once as Compose reads them, in bytes."""
    budget, entry, read = BUDGET["services"][service], SERVICES[service], resolved["services"][service]
    assert entry["deploy"]["resources"] == {
        "limits": {"cpus": f"{budget['cpus']:g}", "memory": budget["limit"], "pids": budget["pids_limit"]},
        "reservations": {"cpus": f"{budget['cpus_reservation']:g}", "memory": budget["reservation"]},
    }
    limit, reservation = (int(budget[name].removesuffix("M")) << 20 for name in ("limit", "reservation"))
    assert int(read["deploy"]["resources"]["limits"]["memory"]) == int(read["memswap_limit"]) == limit
    assert int(read["deploy"]["resources"]["reservations"]["memory"]) == reservation
    assert read.get("oom_score_adj", 0) == budget["oom_score_adj"]
    assert (read["read_only"], read["cap_drop"]) == (True, ["ALL"])
    # The images of Loki and Fluent Bit have no program to ask with.
    assert read["healthcheck"]["test"][0] == ("NONE" if service in ("loki", "fluent_bit") else "CMD")
    assert "$$" not in " ".join(read.get("command") or [])
