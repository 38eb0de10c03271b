# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host is lost: a bare one serves the same rows again, made from the repository, the Vault and the last copy.

Three machines with systemd: a host, one that takes its copies over SSH, and the bare one. On the first, systemd's own
timer makes the backups, and makes up for one that it missed while the machine was off. ``make test-drill``; the figures
go to build/reports/drill. SIXTY_TEST_SETTINGS adds variables of the inventory, as in tests/integration.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import ROOT, SETTINGS, Play, eventually

SUITE = os.environ.get("SIXTY_DRILL_SUITE", "bookworm")
FIRST, SECOND, COPIES = "sixty-drill-first", "sixty-drill-second", "sixty-drill-copies"
NETWORK = "sixty-drill"
# Two engines share this kernel's cgroup tree, so this stack needs a name of its own.
STACK = "drill"
SECRETS = (
    "postgres",
    "postgres_app",
    "postgres_exporter",
    "redis_api",
    "redis_admin",
    "redis_exporter",
    "grafana_admin",
)
UNIT = f"{STACK}-backup"


def run(*command, check=True, text=None, timeout=900):
    ended = subprocess.run(
        [str(part) for part in command], input=text, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
    return (ended.stdout + ended.stderr).strip()


def on(machine, *command, **options):
    return run("docker", "exec", "--interactive", machine, *command, **options)


def query(machine, statement):
    command = (
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--dbname=sixty",
        "--command",
        statement,
    )
    return on(machine, "docker", "exec", f"{STACK}-postgres", *command)


def rows(machine):
    """Rows and a checksum of every table; not by what the backup itself uses."""
    names = query(machine, "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'")
    return {
        name: query(machine, f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {name} t").split(
            "|"
        )
        for name in names.split()
    }


def deals(machine):
    """What a visitor gets: the newest deals through nginx."""
    return json.loads(on(machine, "python3", "-c", ASK))


ASK = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1/api/deals?page_size=20", timeout=10).read().decode())
"""


def status(machine):
    text = on(machine, "cat", f"/srv/{STACK}/status/backup.json", check=False)
    return json.loads(text) if text.startswith("{") else {}


def clock(machine):
    seconds = int(on(machine, "date", "+%s"))
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def made_since(machine, moment):
    """A backup was made, verified and copied after a moment, and its unit has ended."""
    told = status(machine)
    ended = on(machine, "systemctl", "show", f"{UNIT}.service", "--property=ActiveState", check=False)
    since = moment.timestamp()
    return min(told.get(name, 0) for name in ("finished", "verified", "copied")) >= since and ended.endswith(
        "=inactive"
    )


class Operator:
    """The repository, an inventory, and a Vault with its password. Nothing of it is on a host."""

    def __init__(self, directory):
        self.directory = directory
        self.inventory, self.password = directory / "inventory", directory / "vault-password"
        self.group = self.inventory / "group_vars/stack"
        self.group.mkdir(parents=True)
        self.password.write_text(secrets.token_hex(24))

    def write(self, machine, **variables):
        host = {"ansible_connection": "community.docker.docker", "ansible_host": machine}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"stack": {"hosts": {"drill": host}}}))
        given = {
            "stack_name": STACK,
            "image_source": "archive",
            "image_optional": ["grafana", "loki", "fluent_bit"],
            "release_app_source": str(ROOT / "app"),
            "release_build_dir": str(ROOT / ".dev/build"),
            "image_archive_dir": str(ROOT / ".dev/build/images"),
            "release_watch_seconds": 3,
            "stack_secrets": {
                **{f"{name}_password": f"{{{{ vault_{name}_password }}}}" for name in SECRETS},
                "backup_ssh_key": "{{ vault_backup_ssh_key }}",
            },
            "backup_identity": "{{ vault_backup_identity }}",
            "backup_random_delay": "0",
            **SETTINGS,
            **variables,
        }
        (self.group / "main.yml").write_text(yaml.safe_dump(given))

    def seal(self, **values):
        """The Vault."""
        path = self.group / "vault.yml"
        path.write_text(yaml.safe_dump({f"vault_{name}": value for name, value in values.items()}))
        run(ROOT / ".dev/venv/bin/ansible-vault", "encrypt", f"--vault-password-file={self.password}", path)

    def play(self, playbook, *arguments, **variables):
        command = [ROOT / ".dev/venv/bin/ansible-playbook", "--inventory", self.inventory, playbook, *arguments]
        ended = subprocess.run(
            [*map(str, command), f"--vault-password-file={self.password}", "--extra-vars", json.dumps(variables)],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        return Play(ended.returncode, ended.stdout)

    def done(self, *arguments, **variables):
        ended = self.play(*arguments, **variables)
        assert ended.code == 0, ended.tail
        return ended


class Report:
    """What was done, with the time it took."""

    def __init__(self):
        self.lines = []

    @contextlib.contextmanager
    def step(self, text):
        print(f"--> {text}", flush=True)
        began = time.monotonic()
        yield
        self.say(f"{time.monotonic() - began:7.1f} s  {text}")

    def say(self, line):
        print(f"    {line}", flush=True)
        self.lines.append(line)

    def keep(self):
        directory = ROOT / "build/reports/drill"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "report.txt").write_text("\n".join(self.lines) + "\n")


def remove():
    for machine in (FIRST, SECOND, COPIES):
        run("docker", "rm", "--force", "--volumes", machine, check=False)
    run("docker", "network", "rm", NETWORK, check=False)
    # Cgroups that a nested engine made outlive it on cgroup v1.
    for group in Path("/sys/fs/cgroup").glob(f"*/{STACK}"):
        run("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";", check=False)


@pytest.fixture
def machines():
    """The image of a machine, and the host that takes the copies."""
    remove()
    run("bash", ROOT / "tests/machine/image.sh", SUITE)
    build = ("docker", "build", "--quiet", "--build-arg", f"BASE=sixty/machine:{SUITE}")
    run(*build, "--tag", f"sixty/machine-copies:{SUITE}", ROOT / "tests/drill")
    run("docker", "network", "create", NETWORK)
    start(COPIES, f"sixty/machine-copies:{SUITE}")
    yield
    if not os.environ.get("KEEP"):
        remove()


def start(machine, image=f"sixty/machine:{SUITE}"):
    run("bash", ROOT / "tests/machine/start.sh", machine, image, "--network", NETWORK)


def key_pair(directory):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "backup", "-f", directory / "ssh_key")
    return (directory / "ssh_key").read_text(), (directory / "ssh_key.pub").read_text().strip()


def age_pair(directory):
    run("age-keygen", "--output", directory / "identity")
    secret = next(line for line in (directory / "identity").read_text().splitlines() if line.startswith("AGE-"))
    public = run("age-keygen", "-y", directory / "identity")
    (directory / "identity").unlink()
    return secret, public


def restrict(public):
    """The key may put files there and do nothing else: it reads none and removes none."""
    line = f'command="/usr/bin/rrsync -wo -no-del /home/backup-copies/copies",restrict {public}\n'
    path = "/home/backup-copies/.ssh/authorized_keys"
    on(COPIES, *("install", "-o", "backup-copies", "-m", "0600", "/dev/stdin", path), text=line)
    return " ".join([COPIES, *on(COPIES, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2]])


def copies():
    return sorted(on(COPIES, "ls", "/home/backup-copies/copies").split())


def test_a_bare_host_takes_over(tmp_path, machines):
    report, operator = Report(), Operator(tmp_path)
    ssh_secret, ssh_public = key_pair(tmp_path)
    age_secret, age_public = age_pair(tmp_path)
    passwords = {f"{name}_password": secrets.token_hex(24) for name in SECRETS}
    operator.seal(**passwords, backup_ssh_key=ssh_secret, backup_identity=age_secret)
    settings = {
        "backup_copy_recipients": [age_public],
        "backup_copy_to": f"backup-copies@{COPIES}:",
        "backup_copy_host_key": restrict(ssh_public),
        "release_seed_rows": 3000,
    }
    start(FIRST)
    began = clock(FIRST)

    with report.step("deploy to the first host, from a bare Debian"):
        operator.write(FIRST, backup_schedule="*-*-* *:*:00", **settings)
        operator.done("deploy.yml")
    with report.step("systemd's timer backs up, verifies and copies"):
        eventually(lambda: made_since(FIRST, began), "the timer has fired", seconds=120)
    told = status(FIRST)
    assert "failed" not in told and told["verified_path"] == told["path"] and told["path"].endswith("-scheduled.dump")
    assert copies() and all(name.endswith("-scheduled.tar.age") for name in copies())
    journal = on(FIRST, "journalctl", "--unit", UNIT, "--output=cat")
    assert "rows, verified, copied" in journal, journal

    with report.step("the machine is off when a backup is due, and makes up for it"):
        due = clock(FIRST) + datetime.timedelta(seconds=75)
        operator.write(FIRST, backup_schedule=due.strftime("*-*-* %H:%M:%S UTC"), **settings)
        operator.done("deploy.yml", "--tags=backup")
        assert not made_since(FIRST, due)
        now = clock(FIRST)
        assert now < due, "too slow to be off at that time"
        run("docker", "stop", "--time=60", FIRST)
        time.sleep(max(0, (due - now).total_seconds()) + 5)
        run("docker", "start", FIRST)
        eventually(lambda: made_since(FIRST, due), "the missed backup is made", seconds=240)
    upcoming = " ".join(on(FIRST, "systemctl", "list-timers", "--no-legend", f"{UNIT}.timer").split()[:4])
    report.say(f"           made up for {due:%H:%M:%S}; next: {upcoming}")
    assert "failed" not in status(FIRST)

    # Rows that only the last backup has, and one that no backup has.
    query(
        FIRST, "UPDATE deals SET amount_cents = amount_cents + 1 WHERE id % 3 = 0; DELETE FROM deals WHERE id % 7 = 0"
    )
    with report.step("a backup now, by playbooks/backup.yml"):
        made = operator.done("playbooks/backup.yml", backup_name="last")
    assert "restored elsewhere and compared, and copied encrypted" in made.said, made.tail
    wanted, page = rows(FIRST), deals(FIRST)
    query(FIRST, "UPDATE deals SET name = 'after the last backup' WHERE id = (SELECT max(id) FROM deals)")
    finished = status(FIRST)["finished"]

    run("docker", "rm", "--force", "--volumes", FIRST)
    report.say(f"           the host is lost, {time.time() - finished:.1f} s after its last backup")
    lost = time.monotonic()
    with report.step("the newest copy is fetched from the other host"):
        [name] = [name for name in copies() if name.endswith("-last.tar.age")]
        run("docker", "cp", f"{COPIES}:/home/backup-copies/copies/{name}", tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(b"age-encryption.org/v1")
    with report.step("a bare machine is started"):
        start(SECOND)
    with report.step("deploy to it, by the same inventory"):
        operator.write(SECOND, **settings)
        operator.done("deploy.yml")
    refused = operator.play("playbooks/restore.yml", restore_file=str(tmp_path / name))
    assert refused.code != 0 and "nobody confirmed that" in refused.said, refused.tail
    assert rows(SECOND) != wanted
    with report.step("restore"):
        restored = operator.done("playbooks/restore.yml", restore_file=str(tmp_path / name), restore_confirm=STACK)
    took = time.monotonic() - lost
    assert "are those that were dumped" in restored.said, restored.tail
    assert rows(SECOND) == wanted
    assert deals(SECOND) == page
    report.say(f"{took:7.1f} s  from the loss until the same rows were served, {len(wanted)} tables:")
    for table, (count, checksum) in sorted(wanted.items()):
        report.say(f"           {table:28} {count:>8} rows  {checksum}")
    # An inventory without a schedule ends it.
    assert UNIT in on(SECOND, "systemctl", "list-unit-files", f"{UNIT}.*")
    operator.done("deploy.yml", "--tags=backup", backup_schedule="")
    assert UNIT not in on(SECOND, "systemctl", "list-unit-files", f"{UNIT}.*", check=False)
    on(SECOND, "test", "!", "-e", f"/srv/{STACK}/config/backup")
    assert operator.done("deploy.yml", "--tags=backup", backup_schedule="").recap["changed"] == 0
    assert on(SECOND, "grep", "-rlsF", age_secret, "/srv", "/root", "/etc", "/var/log", "/tmp", check=False) == ""
    report.keep()
