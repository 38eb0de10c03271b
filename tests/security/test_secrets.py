# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the stack's passwords are, and that they are nowhere else: each is looked for as it is, and encoded or hashed.

A real run of config_tree and the system log: test_config_tree_play.py; the secrets of Alertmanager's channels:
test_alertmanager.py; both in tests/integration.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    ROOT,
    deploy,
    docker,
    play,
)
from ansible_collections.sixty_sales.memory_optimized.tests.integration.test_config_tree_play import (
    system_log,  # noqa: F401
)
from ansible_collections.sixty_sales.memory_optimized.tests.security.inside import places, run, secrets

# Service -> group that reads its secrets, and their names.
FILES = {
    "api": (1000, {"database_password", "redis_password"}),
    "redis": (999, {"users.acl"}),
    "postgres": (999, {"app_password", "exporter_password", "postgres_password"}),
    "nginx": (101, {"tls.crt", "tls.key"}),
    "redis_exporter": (65534, {"passwords.json"}),
    "postgres_exporter": (65534, {"password"}),
    "grafana": (472, {"admin_password", "secret_key"}),
    "alertmanager": (65534, set()),
}
# What a play writes to, and what programs write of themselves.
LEFT_BEHIND = ("/var/log", "/var/tmp", "/dev/shm", "/run", "/etc/systemd", "/etc/docker", "/etc/logrotate.d")


def shapes(values: Iterable[str]) -> list[bytes]:
    """Each secret, and what it could be found as: encoded, or as the plain hash that one could guess it by."""
    found = []
    for value in values:
        raw = value.encode()
        # Without the last characters, which depend on what follows.
        found += [raw, base64.b64encode(raw)[:-4], hashlib.sha256(raw).hexdigest().encode()]
    return found


def told(text: str | bytes, values: Iterable[str] = ()) -> list[str]:
    """Names of the secrets that a text gives away."""
    data = text.encode() if isinstance(text, str) else text
    known = {**secrets(), **{f"new {number}": value for number, value in enumerate(values)}}
    return [name for name, value in known.items() if any(shape in data for shape in shapes([value]))]


def holding(*paths: Path | str, without: str = "node_modules") -> set[str]:
    """Files below these paths that have a secret in them."""
    there = [str(path) for path in paths if os.path.exists(path)]
    if not there:
        return set()
    # Node itself, a hundred megabytes in each context of an image, is left out. 2 is a file that went away meanwhile.
    ended = subprocess.run(
        ["grep", "-rlaF", "--devices=skip", "--exclude=node", f"--exclude-dir={without}", "--file=-", *there],
        input=b"\n".join(shapes(secrets().values())),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return set(ended.stdout.decode().splitlines())


@contextlib.contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Command lines of all processes of the host and its containers while the block lasts, as anybody may read them."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_the_search_finds_what_is_there(tmp_path):
    name, value = next(iter(secrets().items()))
    for number, shape in enumerate(shapes([value])):
        (tmp_path / str(number)).write_bytes(b"before " + shape + b" after")
        assert told((tmp_path / str(number)).read_bytes()) == [name]
    assert len(holding(tmp_path)) == 3 and holding(tmp_path / "none") == set()


# -- at rest


def test_secret_files_are_roots_and_only_one_group_reads_them():
    found: dict[str, set[str]] = {}
    for path in (HOME / "config").glob("*/current/secrets/*"):
        service = path.parts[-4].partition("-")[0]
        group, names = FILES[service]
        for entry, mode in ((path, 0o440), (path.parent, 0o750)):
            status = entry.stat()
            assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, group, mode), entry
        if names:
            found.setdefault(service, set()).add(path.name)
    assert found == {service: FILES[service][1] for service in found} and found.keys() >= places().keys() & {
        service for service, (_group, names) in FILES.items() if names
    }


@pytest.mark.parametrize("group", sorted({group for group, _names in FILES.values()}))
def test_an_account_of_the_host_with_the_same_number_reads_none(group):
    """Groups are numbers: 999 may be anybody's on this host, and 65534 is nobody's."""
    for path in (HOME / "config").glob("*/current/secrets"):
        ended = subprocess.run(
            ["setpriv", f"--reuid={group}", f"--regid={group}", "--clear-groups", "ls", str(path)],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        assert ended.returncode != 0 and "Permission denied" in ended.stderr, path


def test_they_are_in_no_other_file_of_the_host():
    """State, journal, watch, routes, bundles, dumps, logs, units, and what plays leave in temporary folders."""
    assert holding(HOME, without="secrets") == set()
    assert holding(f"/var/log/{NAME}", *LEFT_BEHIND) == set()
    left = [
        path
        for folder in ("/tmp", "~/.ansible", "/root/.ansible")
        for path in Path(folder).expanduser().glob("*ansible*")
    ]
    assert holding(*left) == set()
    assert holding(ROOT / ".dev/build", ROOT / ".dev/reports", ROOT / "build") == set()


def test_the_dumps_hold_no_password():
    """pg_dump takes no roles; a compressed dump is looked at as the text that it restores."""
    backups = HOME / "backups"
    if not list(backups.glob("*.dump")):
        deploy(playbook="playbooks/backup.yml")
    newest = max(backups.glob("*.dump"), key=lambda path: path.stat().st_mtime)
    with newest.open("rb") as dump:
        ended = subprocess.run(
            ["docker", "exec", "--interactive", f"{NAME}-postgres", "pg_restore", "--file=-"],
            stdin=dump,
            capture_output=True,
            timeout=60,
            check=True,
        )
    assert (
        b"CREATE TABLE public.deals" in ended.stdout and told(ended.stdout) == [] and b"SCRAM-SHA" not in ended.stdout
    )


def test_git_knows_none():
    ended = subprocess.run(
        ["git", "-C", str(ROOT), "grep", "--cached", "-lF", *(f"-e{value}" for value in secrets().values())],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, ""), ended


# -- in the engine and in processes


def test_the_engine_knows_none():
    """Neither of containers, images and their history, volumes and networks, nor in its logs."""
    names = docker("ps", "--all", "--quiet", "--filter", f"label=sixty.stack={NAME}").split()
    inspected = docker("inspect", *names)
    assert len(json.loads(inspected)) >= 10 and told(inspected) == []
    for image in {entry["Image"] for entry in json.loads(inspected)}:
        assert told(docker("image", "inspect", image) + docker("history", "--no-trunc", image)) == []
    for kind in ("volume", "network"):
        listed = docker(kind, "ls", "--quiet", "--filter", f"name={NAME}-").split()
        assert told(docker(kind, "inspect", *listed)) == []
    for name in names:
        assert told(docker("logs", "--tail=20000", name)) == [], name


def test_no_process_has_one_in_its_command_or_environment():
    looked = 0
    for place in places().values():
        for path in place.processes:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                data = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
                looked += 1
                assert told(data) == [], (place.name, path)
    assert looked > 2 * len(places()) - 1


def test_no_watcher_tells_one():
    """Configuration and flags as Prometheus and Alertmanager show them, and the metrics of everybody."""
    ports = {"prometheus": ("/api/v1/status/config", "/api/v1/status/flags", "/metrics")}
    ports |= {"alertmanager": ("/api/v2/status", "/metrics"), "memory_monitor": ("/", "/metrics", "/api/v1/status")}
    for service, paths in ports.items():
        [[binding]] = places()[service].found["HostConfig"]["PortBindings"].values()
        for path in paths:
            with urllib.request.urlopen(f"http://127.0.0.1:{binding['HostPort']}{path}", timeout=10) as answer:
                assert told(answer.read()) == [], (service, path)
    for service, port in {"redis_exporter": 9121, "postgres_exporter": 9187, "nginx_exporter": 9113}.items():
        url = f"http://{places()[service].addresses['metrics']}:{port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read()
        assert len(text) > 1000 and told(text) == [], service


# -- in a run


def test_a_play_tells_none(tmp_path, system_log):  # noqa: F811
    """A check of a deploy that changes every password, as loud as it gets: what it prints, its diff, what its modules
    tell the system log, command lines of all processes meanwhile, and what is left in its temporary folders."""
    received, prefix = system_log
    new = {name: f"changed{number}{value[::-1]}" for number, (name, value) in enumerate(secrets().items())}
    variables = tmp_path / "secrets.json"
    variables.write_text(json.dumps({"stack_secrets": new}))
    temporary = {name: str(tmp_path / name) for name in ("ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TMP", "TMPDIR")}
    for path in temporary.values():
        Path(path).mkdir()
    with command_lines() as commands:
        ended = play(
            *("--check", "--diff", "-vvv", "--tags=postgres,redis", f"--extra-vars=@{variables}"),
            prefix=prefix,
            environment=temporary,
        )
    assert ended.code == 0, ended.tail
    variables.unlink()
    # It did look at the secrets, and would change them.
    assert ended.text.count("(secret, new content hidden)") >= 4, ended.tail
    assert told(ended.text, new.values()) == []
    time.sleep(0.5)
    log = b"".join(received)
    assert b"config_tree" in log and told(log, new.values()) == []
    assert any(b"ansible-playbook" in line for line in commands)
    assert [line for line in commands if told(line, new.values())] == []
    left = [path for folder in temporary.values() for path in Path(folder).rglob("*") if path.is_file()]
    assert [path for path in left if told(path.read_bytes(), new.values())] == []


def test_facts_hold_none():
    ansible = (sys.executable, "-m", "ansible", "adhoc", "localhost", f"--inventory={ROOT}/inventories/local")
    text = run("env", f"ANSIBLE_CONFIG={ROOT}/ansible.cfg", *ansible, "--module-name=ansible.builtin.setup")
    assert "ansible_kernel" in text and told(text) == []
    # None are cached, and no file of the host adds some.
    assert "fact_caching" not in (ROOT / "ansible.cfg").read_text() and holding("/etc/ansible") == set()
