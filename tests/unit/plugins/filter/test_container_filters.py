# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters that make containers, with the real budget."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.sixty_sales.memory_optimized.plugins.filter import (
    compose_service,
    container_arguments,
    container_change,
    container_settled,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.limits import ENGINE_FIELDS
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.budget_profiles import DOCUMENTED

arguments_filter = container_arguments.FilterModule().filters()["container_arguments"]
settled = container_settled.FilterModule().filters()["container_settled"]
change = container_change.FilterModule().filters()["container_change"]
compose = compose_service.FilterModule().filters()["compose_service"]

DEFINITION = {
    "image": "sixty/redis:1",
    "user": "redis",
    "command": ["redis-server", "/etc/sixty/current/redis.conf"],
    "environment": {"PASSWORD_FILE": "/etc/sixty/current/secrets/password"},
    "networks": ["cache", "metrics"],
    "volumes": ["sixty-redis:/data"],
    "ports": ["127.0.0.1:6379:6379"],
    "healthcheck": {"test": ["CMD", "redis-cli", "ping"], "interval": "30s"},
}
BUDGET = DOCUMENTED["services"]["redis"]


def make(state="started", budget=None, driver="systemd", stack="sixty", name="sixty-redis", **changes):
    definition = {key: value for key, value in {**DEFINITION, **changes}.items() if value is not None}
    entry = {**BUDGET, **(budget or {})}
    return arguments_filter(definition, "redis", name, entry, {"uid": 999, "gid": 998}, stack, driver, state)


def digest(**changes):
    return make(**changes)["labels"]["sixty.definition"]


@pytest.mark.parametrize("service", sorted(DOCUMENTED["services"]))
@pytest.mark.parametrize("state", ["started", "present", "once"])
def test_every_container_is_hardened_and_limited(service, state):
    entry = DOCUMENTED["services"][service]
    made = arguments_filter(DEFINITION, service, "n", entry, {"uid": 5, "gid": 6}, "sixty", "systemd", state)
    hardened = {
        "user": "5:6",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opts": ["no-new-privileges"],
        "init": True,
        "pull": "never",
        "cgroup_parent": f"sixty-{service}.slice",
    }
    assert {name: made[name] for name in hardened} == hardened
    assert made["log_options"]["max-size"]
    assert made["memory"] == made["memory_swap"] == entry["limit"]
    assert made["memory_reservation"] == entry["reservation"]
    assert made["cpu_quota"] == entry["cpus"] * made["cpu_period"]
    assert made["cpu_shares"] == round(entry["cpus_reservation"] * 1024)
    assert made["pids_limit"] == entry["pids_limit"]
    assert made["oom_score_adj"] == entry["oom_score_adj"]
    for path, size in entry.get("tmpfs", {}).items():
        options = next(mount for mount in made["tmpfs"] if mount.startswith(f"{path}:"))
        assert f"size={size.lower()}" in options
        assert {"noexec", "nosuid", "nodev", "uid=5", "gid=6"} <= set(options.split(":")[1].split(","))
    assert made["restart_policy"] == ("no" if state == "once" else "unless-stopped")


def test_what_a_definition_says_is_passed_on_unchanged():
    before = copy.deepcopy(DEFINITION)
    made = make(aliases=["cache"], stop_signal="SIGINT", stop_timeout=60, config_digest="abc", labels={"a": "b"})
    assert before == DEFINITION
    assert made["env"] == DEFINITION["environment"]
    assert made["networks"] == [
        {"name": "sixty-cache", "aliases": ["redis", "cache"]},
        {"name": "sixty-metrics", "aliases": ["redis", "cache"]},
    ]
    assert (made["stop_signal"], made["stop_timeout"]) == ("SIGINT", 60)
    assert {**made["labels"], "sixty.definition": ""} == {
        "a": "b",
        "sixty.stack": "sixty",
        "sixty.service": "redis",
        "sixty.config": "abc",
        "sixty.definition": "",
    }
    assert "command" not in make(command=None)


def test_a_label_of_ours_cannot_be_taken():
    assert make(labels={"sixty.service": "other"})["labels"]["sixty.service"] == "redis"


def test_a_one_off_is_waited_for_and_leaves_nothing():
    made = make(state="once")
    assert (made["detach"], made["cleanup"], made["labels"]["sixty.service"]) == (False, True, "once")


def test_a_release_is_only_made():
    made = make(state="present")
    assert (made["state"], made["comparisons"]["networks"]) == ("present", "allow_more_present")
    assert (make()["state"], make()["comparisons"]["networks"]) == ("started", "strict")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": None}, "misses image"),
        ({"user": None, "networks": None}, "misses networks, user"),
        ({"memory": "1G", "privileged": True}, "unknown keys: memory, privileged"),
        ({"command": "redis-server --port 1"}, "a text where a list belongs: command"),
        ({"volumes": "a:/a", "networks": "db"}, "a text where a list belongs: networks, volumes"),
        ({"state": "stopped"}, "'stopped' is no state of a container"),
        ({"budget": {"limit": None}}, "no memory limit"),
    ],
)
def test_refused(changes, says):
    with pytest.raises(AnsibleFilterError, match=f"container_arguments: .*{says}"):
        make(**changes)


CHANGEABLE = {
    "limit": "65M",
    "reservation": "31M",
    "cpus": 0.4,
    "cpus_reservation": 0.1,
    "pids_limit": 65,
    "oom_score_adj": 5,
}


@pytest.mark.parametrize("key", sorted(CHANGEABLE))
def test_the_digest_leaves_limits_out(key):
    changed = make(budget={key: CHANGEABLE[key]})
    assert any(changed[name] != make()[name] for name in ENGINE_FIELDS)
    assert changed["labels"] == make()["labels"]


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "sixty/redis:2"},
        {"command": ["redis-server"]},
        {"command": None},
        {"environment": {"PASSWORD_FILE": "/elsewhere"}},
        {"networks": ["cache"]},
        {"aliases": ["r"]},
        {"volumes": []},
        {"ports": ["6379:6379"]},
        {"healthcheck": {"test": ["CMD", "true"]}},
        {"stop_signal": "SIGINT"},
        {"stop_timeout": 11},
        {"config_digest": "x"},
        {"labels": {"a": "b"}},
        {"budget": {"tmpfs": {"/tmp": "1M"}}},
        {"budget": {"shm_size": "1M"}},
        {"driver": "cgroupfs"},
        {"stack": "other"},
        {"name": "other"},
        {"state": "present"},
    ],
)
def test_the_digest_follows_everything_else(changes):
    assert digest(**changes) != digest()
    assert re.fullmatch("[0-9a-f]{16}", digest(**changes))


def observed(made, **changes):
    return {
        "name": made["name"],
        "service": "redis",
        "running": True,
        "image": made["image"],
        "image_current": True,
        "definition": made["labels"]["sixty.definition"],
        "networks": sorted(network["name"] for network in made["networks"]),
        "restart_policy": "unless-stopped",
        "differences": [],
        "kernel": {"limit": 64 * MIB, "unreclaimable": 40 * MIB},
        **changes,
    }


def gap(setting, found, wanted, by="engine"):
    return {"setting": setting, "found": found, "wanted": wanted, "by": by}


def limits(found, wanted):
    """A limit of memory as it is found out: engine and kernel, and swap with it."""
    return [gap("memory", found * MIB, wanted * MIB, by) for by in ("engine", "kernel")] + [
        gap("memory_swap", found * MIB, wanted * MIB)
    ]


CHANGES = {
    "as wanted": ({}, {}, "none", ""),
    "stopped": ({}, {"running": False}, "start", "sixty-redis is started."),
    "more memory": (
        {},
        {"differences": limits(32, 64)},
        "update",
        "sixty-redis is changed in place: memory 32 MB -> 64 MB.",
    ),
    "other limits": (
        {},
        {"differences": [gap("memory_reservation", 0, 32 * MIB), gap("pids_limit", None, 64)]},
        "update",
        "sixty-redis is changed in place: memory_reservation none -> 32 MB, pids_limit none -> 64.",
    ),
    "network": ({}, {"networks": ["sixty-cache"]}, "update", "sixty-redis is changed in place: networks."),
    "restart policy": (
        {},
        {"restart_policy": "no"},
        "update",
        "sixty-redis is changed in place: restart policy no -> unless-stopped.",
    ),
    "another image": (
        {},
        {"image": "sixty/redis:0", "definition": "0" * 16},
        "recreate",
        "sixty-redis is stopped and made anew: image sixty/redis:0 -> sixty/redis:1.",
    ),
    "built again": (
        {},
        {"image_current": False},
        "recreate",
        "sixty-redis is stopped and made anew: sixty/redis:1 is another build now.",
    ),
    "another port": (
        {},
        {"definition": "0" * 16, "differences": limits(32, 64)},
        "recreate",
        "sixty-redis is stopped and made anew: its definition; --diff shows it.",
    ),
    "a release in its slot": (
        {"state": "present"},
        {"networks": ["sixty-app", "sixty-cache", "sixty-metrics"]},
        "none",
        "",
    ),
    "a release that waits": ({"state": "present"}, {"running": False}, "none", ""),
}


@pytest.mark.parametrize("case", CHANGES)
def test_the_least_change(case):
    wishes, found, action, said = CHANGES[case]
    made = make(**wishes)
    result = change(made, [observed(made, name="sixty-other"), observed(made, **found)])
    assert result == {"action": action, "said": said, "tight": ""}


def test_what_is_not_there_is_made():
    assert change(make(), []) == {"action": "create", "said": "sixty-redis is made and started.", "tight": ""}


@pytest.mark.parametrize(
    ("limit", "used", "wanted", "enough"),
    [
        (128, 100, "64M", 112),
        (128, 58, "64M", 65),
        # Nine tenths and less are room enough.
        (128, 57, "64M", None),
        # It is not this change that makes it tight.
        (64, 63, "64M", None),
        (32, 31, "64M", None),
    ],
)
def test_a_limit_is_never_lowered_below_what_is_in_use(limit, used, wanted, enough):
    made = make(budget={"limit": wanted})
    kernel = {"limit": limit * MIB, "unreclaimable": used * MIB}
    found = {"differences": limits(limit, 64) if limit != 64 else [gap("pids_limit", 1, 2)], "kernel": kernel}
    tight = change(made, [observed(made, **found)])["tight"]
    if enough is None:
        assert tight == ""
    else:
        for part in (f"uses {used} MB", "a limit of 64 MB", f"goes on with {limit} MB", f"Give it {enough} MB"):
            assert part in tight
        assert "SERVICES=redis" in tight
    # One that does not run has nothing in use.
    assert change(made, [observed(made, **{**found, "kernel": None})])["tight"] == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"name": "sixty-nginx"}, False),
        ({"running": False}, False),
        ({"image_current": False}, False),
        ({"definition": "0" * 16}, False),
        ({"definition": ""}, False),
        ({"networks": ["sixty-cache"]}, False),
        ({"networks": ["bridge", "sixty-cache", "sixty-metrics"]}, False),
        ({"restart_policy": "no"}, False),
        ({"differences": [gap("memory", 1, 2)]}, False),
    ],
)
def test_settled(changes, expected):
    made = make()
    other = observed(made, name="sixty-other")
    assert settled(made, [other, observed(made, **changes)]) is expected
    assert settled(made, []) is False


def test_compose():
    made = make(healthcheck={"test": ["CMD", "sh", "-c", "echo $HOME"]}, command=["sh", "-c", "echo $$ ${A}"])
    service = compose(made, "redis", "sixty")
    assert service["deploy"]["resources"] == {
        "limits": {"cpus": f"{BUDGET['cpus']:g}", "memory": BUDGET["limit"], "pids": BUDGET["pids_limit"]},
        "reservations": {"cpus": f"{BUDGET['cpus_reservation']:g}", "memory": BUDGET["reservation"]},
    }
    assert service["memswap_limit"] == BUDGET["limit"]
    assert (service["read_only"], service["init"], service["cap_drop"]) == (True, True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges"]
    assert service["networks"] == {"cache": {"aliases": ["redis"]}, "metrics": {"aliases": ["redis"]}}
    assert service["healthcheck"]["test"][-1] == "echo $$HOME"
    assert service["command"][-1] == "echo $$$$ $${A}"
    assert service["stop_grace_period"] == "10s"
    assert service["environment"] == DEFINITION["environment"]


def test_compose_takes_a_health_check_that_is_one_text():
    service = compose(make(healthcheck={"test": "test -e /tmp/$A"}), "redis", "sixty")
    assert service["healthcheck"]["test"] == "test -e /tmp/$$A"


def test_compose_leaves_out_what_nobody_set():
    open_budget = dict.fromkeys(["reservation", "cpus", "cpus_reservation", "pids_limit", "oom_score_adj", "tmpfs"])
    service = compose(
        make(budget=open_budget, command=None, volumes=None, ports=None, environment=None), "redis", "sixty"
    )
    assert service["deploy"] == {"resources": {"limits": {"memory": BUDGET["limit"]}, "reservations": {}}}
    absent = {"command", "volumes", "ports", "environment", "tmpfs", "shm_size", "cpu_shares", "oom_score_adj"}
    assert not absent & set(service)


def test_no_definition_puts_a_secret_into_the_environment():
    """An environment is seen by everybody who may ask the engine; secrets are files."""
    text = (Path(__file__).parents[4] / "docker-compose.memory-optimized.yml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    names = {name for service in services.values() for name in service.get("environment", {})}
    secret = re.compile("PASSWORD|PASSWD|SECRET|TOKEN|KEY|CREDENTIAL")
    assert any(secret.search(name) for name in names)
    assert [name for name in names if secret.search(name) and not name.endswith("_FILE")] == []
