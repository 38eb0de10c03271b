# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy refuses: with a message that has the numbers and the mend, and with nothing changed."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    ROOT,
    ask,
    deploy,
    docker,
    refused,
    routed,
    serves,
    snapshot,
    untouched,
)

pytestmark = pytest.mark.usefixtures("stack")

# A second stack, of which nothing may come to be.
OTHER: dict[str, Any] = {"stack_name": "other", "stack_subnet_prefix": "10.98", "nginx_http_port": 18098}


def overrides(service: str, **entry: Any) -> dict[str, Any]:
    return {"memory_budget_overrides": {"services": {service: entry}}}


# Name -> variables, and what the message says: the rule, the arithmetic, the mend.
BUDGETS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "one service over the budget": (
        overrides("postgres", limit="1G"),
        (
            "budget/sum",
            "postgres 1,024 +",
            "= 2,128 MB > 2,048 MB, 80 MB too much",
            "Take 80 MB off",
            "postgres by 512 MB",
        ),
    ),
    "over the budget at the peak of the switch alone": (
        overrides("prometheus", limit="200M"),
        (
            "budget/peak",
            "api 2 x 384 +",
            "= 2,072 MB > 2,048 MB, 24 MB too much",
            "before and after they fit",
            "Take 24 MB off",
        ),
    ),
    "an unknown unit": (
        overrides("redis", limit="512Q"),
        ("size/unit", "memory_budget_overrides.services.redis.limit", "unknown unit 'Q'", "such as 64M"),
    ),
    "a negative limit": (
        overrides("redis", limit="-64M"),
        ("size/negative", "memory_budget_overrides.services.redis.limit", "'-64M' is negative", "such as 64M"),
    ),
    "a limit of zero": (
        overrides("redis", limit=0),
        ("size/zero", "memory_budget_overrides.services.redis.limit", "0 is zero", "such as 64M"),
    ),
    "no limit": (
        overrides("redis", limit=None),
        ("limit/missing", "could take the whole host", "the documented value is 64M"),
    ),
    "a cap of Redis above its limit": (
        overrides("redis", settings={"maxmemory": "65M"}),
        ("redis/maxmemory-above-limit", "65 MB > 64 MB, 1 MB too much", "maxmemory of 49M at most"),
    ),
    "a cap of Node above its limit": (
        overrides("api", settings={"max_old_space_size": "400M"}),
        ("node/old-space-above-limit", "400 MB > 384 MB, 16 MB too much", "max_old_space_size of 288M at most"),
    ),
    "a tmpfs that does not fit": (
        overrides("nginx", tmpfs={"/tmp": "64M"}),
        ("tmpfs/does-not-fit", "100 MB expected + /tmp 64 MB = 164 MB > 128 MB", "Take 36 MB off the tmpfs sizes"),
    ),
    "pools of both colours over max_connections": (
        overrides("api", settings={"pool_max": 20}),
        (
            "postgres/connections",
            "api 20 x 2 colours + 2 exporter + 1 migration + 3 reserved = 46 > max_connections 16",
            "max_connections of 46",
            "a smaller pool_max",
        ),
    ),
    "warnings of the documented profile, when strict": (
        {"memory_budget_strict": True},
        (
            "6 errors. memory_budget_strict makes warnings errors.",
            "redis/maxmemory-at-limit",
            "64 MB = 64 MB",
            "hardened",
        ),
    ),
    "an unknown service": (
        overrides("redsi", limit="64M"),
        ("override/unknown-service", "memory_budget_overrides.services.redsi is no service", "Did you mean redis?"),
    ),
    "an unknown setting": (
        overrides("redis", settings={"maxmemori": "64M"}),
        ("override/unknown-setting", "services.redis.settings.maxmemori is no setting", "Did you mean maxmemory?"),
    ),
}


@pytest.mark.parametrize("case", BUDGETS)
def test_a_budget_that_does_not_hold(case):
    variables, parts = BUDGETS[case]
    with untouched():
        ended = refused("The memory budget does not hold", "Nothing was changed", *parts, **variables)
    assert ended.recap["changed"] == 0


@pytest.mark.parametrize("address", ["unix:///nonexistent.sock", "tcp://127.0.0.1:1"])
def test_an_engine_that_does_not_answer(address):
    with untouched(NAME, "other"):
        says = (f"The container engine {address} does not answer", "Nothing was changed", "unset DOCKER_HOST")
        for variables in ({}, OTHER):
            assert refused(*says, environment={"DOCKER_HOST": address}, **variables).recap["changed"] == 0
    assert snapshot("other") == {}


def test_a_port_that_another_program_holds():
    with untouched(NAME, "other"), socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        ended = refused(
            f"Port {port} on localhost is held by another program. Nothing was changed.",
            f"ss -ltnp sport = :{port}",
            "or set another port: nginx_http_port",
            **{**OTHER, "nginx_http_port": port},
        )
    assert ended.recap["changed"] == 0 and snapshot("other") == {}


@pytest.fixture
def production(tmp_path: Path) -> Path:
    """The production inventory as it comes, on this machine."""
    inventory = tmp_path / "inventories/production"
    shutil.copytree(ROOT / "inventories/production", inventory)
    (inventory / "hosts.yml").write_text(
        "stack:\n  hosts:\n    production.test:\n      ansible_connection: local\n"
        '      ansible_python_interpreter: "{{ ansible_playbook_python }}"\n'
    )
    return inventory


def test_a_host_that_nobody_has_named_in_production(production):
    (production / "hosts.yml").write_text((production / "hosts.yml").read_text().replace(".test", ".example.com"))
    with untouched("other"):
        says = ("production.example.com", "is the placeholder of the example inventory. Nothing was changed.")
        assert refused(*says, inventory=production, **OTHER).recap["changed"] == 0


@pytest.mark.parametrize("vault", ["none", "the example"])
def test_secrets_that_nobody_has_set_in_production(production, vault):
    variables = production / "group_vars/stack"
    if vault == "the example":
        shutil.copy(variables / "vault.yml.example", variables / "vault.yml")
    with untouched("other"):
        ended = refused(
            "These secrets are missing, a placeholder or shorter than 12 characters:",
            "postgres_password, postgres_app_password, redis_api_password, redis_admin_password, "
            "redis_exporter_password, postgres_exporter_password, grafana_admin_password. Nothing was changed.",
            "ansible-vault edit",
            inventory=production,
            nginx_server_name="dashboard.test",
            **OTHER,
        )
    assert ended.recap["changed"] == 0 and "CHANGE_ME" not in ended.text and snapshot("other") == {}


def test_an_invalid_configuration_while_the_old_one_serves():
    with untouched():
        refused(
            "nginx: the new configuration was refused, the old one keeps serving",
            '"client_max_body_size" directive invalid value in conf.d/memory.conf:',
            "client_max_body_size banana;",
            "roles/nginx/templates/conf.d/memory.conf.j2",
            nginx_client_max_body_size="banana",
        )
        assert serves()


def test_a_full_disk_while_configuration_is_staged():
    """A mount of the play's own, full but for 8 KB, lies over the directory of nginx; the real one is below it."""
    full = (
        'size=$(($(du -sk "$0" | cut -f1) + 8)); mount -t tmpfs -o size="$size"k none /mnt; cp -a "$0/." /mnt;'
        ' mount --move /mnt "$0"; exec "$@"'
    )
    with untouched():
        refused(
            "nginx: disk full:",
            f"free below {HOME}/config/nginx; nothing was changed",
            prefix=("unshare", "--mount", "sh", "-euc", full, f"{HOME}/config/nginx"),
            nginx_client_max_body_size="2m",
        )
        assert serves()


# -- releases


def test_an_id_that_cannot_be_one():
    with untouched(NAME, "other"):
        for variables in ({}, OTHER):
            says = ("bad id! cannot be a release id. Nothing was changed.", "Use 1 to 48 letters")
            assert refused(*says, release_id="bad id!", **variables).recap["changed"] == 0
    assert snapshot("other") == {}


def test_an_id_that_names_something_else_already():
    with untouched():
        ended = refused(
            f"Release {routed()} exists already and is made of something else",
            "Nothing was changed; choose another release_id.",
            release_id=routed(),
            api_log_level="debug",
        )
    assert ended.recap["changed"] == 0 and serves()


def test_a_bundle_without_a_page(tmp_path):
    (tmp_path / "app.js").write_text("1")
    with untouched(NAME, "other"):
        for variables in ({}, OTHER):
            says = f"The frontend bundle {tmp_path} has no index.html. Nothing was changed"
            assert refused(says, release_bundle=str(tmp_path), **variables).recap["changed"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["app.js"] and snapshot("other") == {}


@pytest.fixture
def broken() -> Iterator[dict[str, Any]]:
    """A release whose image ends at once."""
    image, release = "sixty/test-broken:1", f"broken-{uuid.uuid4().hex[:6]}"
    dockerfile = 'ARG BASE\nFROM ${BASE}\nENTRYPOINT ["sh", "-c", "echo no such module >&2; exit 3"]\n'
    base = f"BASE={os.environ['SIXTY_BASE_IMAGE']}"
    docker("build", "--quiet", "--tag", image, "--build-arg", base, "-", text=dockerfile)
    yield {"release_image": image, "release_id": release}
    docker("rm", "--force", f"{NAME}-api-{release}")
    for path in (HOME / f"config/api-{release}", HOME / f"releases/{release}"):
        shutil.rmtree(path, ignore_errors=True)
    docker("rmi", image)


@pytest.mark.parametrize("migrates", [True, False], ids=["in its migration", "in its start"])
def test_an_image_that_ends_at_once(broken, migrates):
    """It is refused where it is run first; what was made for it is not routed."""
    served = routed()
    before = snapshot()
    said = (f"Release {broken['release_id']} is not served", f"Release {served} goes on serving.", "no such module")
    if migrates:
        refused("its migrations ended with exit code 3", *said, **broken)
    else:
        none = {"release_migrate_command": [], "release_seed_rows": 0}
        refused("ended with exit code 3", *said, **broken, **none)
    assert routed() == served and serves() and ask("/").release == ask("/api/release").release == served
    # The records and the slot that nobody is served from are what may differ; the rest is only added to.
    after, slot = snapshot(), (HOME / "route/active").readlink().parent
    standby = slot.with_name("green" if slot.name == "blue" else "blue")
    moves = tuple(f"{HOME}/{name}" for name in ("journal.jsonl", "state.json", "backups", "status", f"route/{standby}"))
    kept = {key: value for key, value in before.items() if not key.startswith(moves)}
    assert {key: after.get(key) for key in kept} == kept
    assert deploy().recap["changed"] == 0


def test_the_stack_is_not_removed_without_its_engine():
    """Its containers would be left, and start again on nothing."""
    before = snapshot()
    away = 'mount --bind /dev/null /run/docker.sock; exec "$@"'
    refused(
        "The container engine on localhost is installed, but does not answer",
        "Nothing was removed",
        playbook="playbooks/destroy.yml",
        prefix=("unshare", "--mount", "sh", "-euc", away, "sh"),
        docker_host_purge=True,
    )
    assert snapshot() == before and serves()
