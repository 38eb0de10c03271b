# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config_tree through ansible-playbook, with a real engine, a real checker and a real nginx that serves.

The image is SIXTY_NGINX_IMAGE (default ``sixty/nginx``); it needs nginx and a shell. Run as root.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from ansible_collections.sixty_sales.memory_optimized.plugins.action.config_tree import pack
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import config_tree as core
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import config_tree

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("SIXTY_NGINX_IMAGE", "sixty/nginx")
USER = "101:101"
SECRET = "correct-horse-battery-staple"
RELOADED = "signal 1 (SIGHUP) received"
MARK = "CONFIG_TREE_TEST_RUN"

NGINX_CONF = """# {{ ansible_managed }}
worker_processes {{ workers }};
pid /tmp/nginx.pid;
error_log stderr notice;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  include conf.d/*.conf;
}
"""
SITE_CONF = """server {
  listen 8080;
  location = /answer { return 200 "{{ answer }}"; }
}
"""


def docker(*arguments: str, stderr: bool = False) -> str:
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return (ended.stderr if stderr else ended.stdout).strip()


class Run(NamedTuple):
    """A play that ended: its exit code, what it wrote, and the task's result."""

    code: int
    text: str
    result: dict

    @property
    def changed(self) -> bool:
        assert self.code == 0, self.text
        return self.result["changed"]


class Service:
    """A service's templates, its directory on the host, its plays and its containers."""

    def __init__(self, tmp: Path) -> None:
        self.tmp, self.id = tmp, uuid.uuid4().hex[:8]
        self.container = f"t-config-tree-{self.id}"
        self.path = tmp / "config" / "web"
        self.templates = tmp / "templates"
        (self.templates / "conf.d").mkdir(parents=True)
        (self.templates / "nginx.conf.j2").write_text(NGINX_CONF)
        (self.templates / "conf.d" / "site.conf.j2").write_text(SITE_CONF)
        self.started: list[str] = []
        self.args = {
            "name": "web",
            "path": str(self.path),
            "src": str(self.templates),
            "extra_files": {"secrets/password": {"content": "{{ password }}"}},
            "permissions": [{"pattern": "secrets/*", "group": 101, "mode": "0440", "secret": True}],
            "validate": {
                "image": IMAGE,
                "command": ["nginx", "-t", "-c", "/etc/sixty/current/nginx.conf"],
                "user": USER,
                "tmpfs": {"/tmp": "8M"},
            },
            "reload": {"container": self.container, "signal": "HUP"},
        }

    def start_play(
        self, *flags: str, args: dict | None = None, prefix: tuple[str, ...] = (), **variables: object
    ) -> subprocess.Popen:
        number = uuid.uuid4().hex[:8]
        result, play = self.tmp / f"result-{number}", self.tmp / f"play-{number}.yml"
        tasks = [
            {
                "name": "Land",
                "sixty_sales.memory_optimized.config_tree": {**self.args, **(args or {})},
                "register": "landed",
            },
            {
                "name": "Note",
                "ansible.builtin.copy": {"content": "{{ landed | to_json }}", "dest": str(result), "mode": "0600"},
                "check_mode": False,
                "diff": False,
                "no_log": True,
            },
        ]
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        play.write_text(
            yaml.safe_dump(
                [{"name": "Land", "hosts": "localhost", "gather_facts": False, "vars": host, "tasks": tasks}]
            )
        )
        values = {"workers": 1, "answer": "one", "password": SECRET, **variables}
        process = subprocess.Popen(
            [
                *prefix,
                str(Path(sys.executable).with_name("ansible-playbook")),
                str(play),
                "-e",
                json.dumps(values),
                *flags,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "ANSIBLE_REMOTE_TEMP": str(self.tmp / "remote"),
                "ANSIBLE_NOCOLOR": "1",
                MARK: self.id,
            },
        )
        process.result = result  # type: ignore[attr-defined]
        return process

    def end_play(self, process: subprocess.Popen) -> Run:
        text, _none = process.communicate(timeout=120)
        result = process.result  # type: ignore[attr-defined]
        return Run(process.returncode, text, json.loads(result.read_text()) if result.exists() else {})

    def land(self, *flags: str, **more: object) -> Run:
        return self.end_play(self.start_play(*flags, **more))

    def run(self, *command: str, name: str | None = None, mount: Path | None = None) -> str:
        name = name or self.container
        docker(
            *(
                "run",
                "--detach",
                "--name",
                name,
                "--user",
                USER,
                "--read-only",
                "--tmpfs",
                "/tmp",
                "--publish",
                "127.0.0.1::8080",
            ),
            *("--volume", f"{mount or self.path}:/etc/sixty:ro", "--entrypoint", command[0], IMAGE, *command[1:]),
        )
        self.started.append(name)
        return name

    def serve(self) -> None:
        self.run("nginx", "-c", "/etc/sixty/current/nginx.conf", "-g", "daemon off;")
        assert self.answer() == "one"

    def answer(self) -> str:
        address = docker("port", self.container, "8080/tcp").splitlines()[0]
        for turn in range(50):
            try:
                with urllib.request.urlopen(f"http://{address}/answer", timeout=5) as response:
                    return response.read().decode()
            except OSError:
                if turn == 49:
                    raise
                time.sleep(0.1)
        raise AssertionError

    def becomes(self, answer: str) -> bool:
        """New workers answer a moment after the signal; old ones may take a last connection."""
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            if self.answer() == answer:
                return True
            time.sleep(0.05)
        return False

    def log(self) -> str:
        return docker("logs", self.container, stderr=True)

    def current(self) -> str:
        return os.readlink(self.path / "current")

    def everything(self) -> dict[str, int]:
        """Files and links with their times; a directory's own time moves when something was staged in it."""
        return {
            str(path): 0 if path.is_dir() and not path.is_symlink() else path.lstat().st_mtime_ns
            for path in self.path.rglob("*")
        }

    def kill_plays(self) -> None:
        """Until none is left: one that was just starting another is not missed, and all are gone afterwards."""
        ends = time.monotonic() + 10
        while found := self.processes():
            assert time.monotonic() < ends, found
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)

    def processes(self) -> list[int]:
        """The processes of this test's plays, by the mark in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.id}".encode() in (entry / "environ").read_bytes().split(
                    b"\0"
                ):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended while we looked, or is nobody's that we started
        return found


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path)
    yield made
    for name in made.started:
        docker("rm", "--force", "--volumes", name)
    assert docker("ps", "--all", "--quiet", "--filter", f"label={config_tree.LABEL}={made.path}") == "", (
        "a checker was left"
    )
    remote = tmp_path / "remote"
    assert not remote.exists() or list(remote.iterdir()) == [], "a transferred file was left"


def test_check_mode_on_a_bare_host_then_the_same_for_real_then_nothing(service):
    told = service.land("--check", "--diff")
    assert told.changed and told.result["validated"] == "passed" and not (service.tmp / "config").exists()
    assert '+  location = /answer { return 200 "one"; }' in told.text
    done = service.land("--diff")
    for key in ("changed", "digest", "tree", "files", "diff", "validated", "reloaded"):
        assert told.result[key] == done.result[key], key

    before = service.everything()
    for flags in ([], ["--check", "--diff"], ["--diff"]):
        assert not service.land(*flags).changed
    assert service.everything() == before

    tree = service.path / "current"
    modes = {name: (tree / name).stat() for name in ("nginx.conf", "secrets", "secrets/password")}
    assert {name: (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) for name, info in modes.items()} == {
        "nginx.conf": (0o644, 0, 0),
        "secrets": (0o750, 0, 101),
        "secrets/password": (0o440, 0, 101),
    }


def test_a_change_is_seen_in_the_running_container_without_a_restart(service):
    service.land()
    service.serve()
    began = docker("inspect", "--format", "{{.State.StartedAt}}", service.container)
    assert docker("exec", service.container, "cat", "/etc/sixty/current/secrets/password") == SECRET

    told = service.land("--check", "--diff", answer="two")
    assert told.changed and told.result["reloaded"] and service.answer() == "one"
    done = service.land("--diff", answer="two")
    assert done.changed and done.result["reloaded"] and done.result["files"]["changed"] == ["conf.d/site.conf"]
    assert service.becomes("two") and service.log().count(RELOADED) == 1
    assert 'return 200 "two"' in docker("exec", service.container, "cat", "/etc/sixty/current/conf.d/site.conf")
    assert docker("inspect", "--format", "{{.State.StartedAt}}", service.container) == began
    assert not service.land(answer="two").changed

    # Back to the kept tree.
    assert service.land().result["reloaded"] and service.becomes("one")


@pytest.mark.parametrize("flags", [[], ["--check"]])
def test_an_invalid_configuration_is_refused_and_the_old_one_serves(service, flags):
    service.land()
    service.serve()
    before = service.everything()
    refused = service.land(*flags, workers="many")
    assert refused.code != 0 and "the old one keeps serving" in refused.text
    assert "in nginx.conf:2" in refused.text and "/etc/sixty/current/nginx.conf:" not in refused.text
    assert f"nginx.conf:2 (from {service.templates}/nginx.conf.j2): worker_processes many;" in refused.text
    assert service.everything() == before and service.answer() == "one"
    assert RELOADED not in service.log()


def test_a_checker_that_hangs_is_killed(service):
    service.args["validate"] = {"image": IMAGE, "command": ["sh", "-c", "echo waiting; sleep 60"], "timeout": 1}
    refused = service.land()
    assert refused.code != 0 and "did not end within 1 s and was killed" in refused.text and "waiting" in refused.text


def test_an_undefined_variable_names_file_and_line(service):
    (service.templates / "nginx.conf.j2").write_text("one\ntwo {{ missing_one }}\n")
    failed = service.land()
    assert failed.code != 0 and "'missing_one' is undefined" in failed.text
    assert f"{service.templates}/nginx.conf.j2 could not be rendered (line 2: two {{{{ missing_one }}}})" in failed.text
    assert not service.path.exists()


def test_a_play_killed_between_swap_and_reload_is_made_good(service):
    service.land()
    service.serve()
    old = service.current()
    hanging = {"reload": {"container": service.container, "command": ["sh", "-c", "sleep 60"], "timeout": 60}}
    process = service.start_play(args=hanging, answer="two")
    ends = time.monotonic() + 60
    while service.current() == old:
        assert time.monotonic() < ends and process.poll() is None
        time.sleep(0.02)
    service.kill_plays()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    assert service.answer() == "one"  # swapped, but not loaded

    told = service.land("--check", answer="two")
    assert told.changed and told.result["reloaded"] and service.answer() == "one"
    done = service.land(answer="two")
    assert done.changed and done.result["reloaded"] and service.becomes("two")
    assert not service.land(answer="two").changed
    # A killed play cannot remove what it had transferred; nobody else may do it either.
    subprocess.run(["rm", "-rf", str(service.tmp / "remote")], check=True)


def test_an_edit_by_hand_is_told_and_replaced(service):
    service.land()
    service.serve()
    site = service.path / "current/conf.d/site.conf"
    site.write_text(site.read_text().replace("one", "by hand"))
    told = service.land("--check", "--diff")
    assert (
        told.changed
        and '-  location = /answer { return 200 "by hand"; }' in told.text
        and "by hand" in site.read_text()
    )
    done = service.land("--diff")
    assert "web: changed by hand on the host, and replaced: conf.d/site.conf" in done.text
    assert done.result["drift"] == ["conf.d/site.conf"] and done.result["tree"] == f"{done.result['digest']}.1"
    assert done.result["reloaded"] and service.becomes("one") and not service.land().changed


@pytest.mark.parametrize("case", ["no handler", "wrong mount", "stops", "verify"])
def test_a_reload_that_cannot_be_believed_fails_and_stays_due(service, case):
    service.land()
    shell = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    reload = {"container": service.container, "signal": "HUP", "timeout": 2}
    says = "does not handle HUP"
    if case == "wrong mount":
        service.run(*shell, mount=service.path / "current")
        says = f"it does not mount {service.path}"
    else:
        service.run(*shell)
    if case == "stops":
        reload = {"container": service.container, "command": ["sh", "-c", "kill -TERM 1"]}
        says = "it stopped or was restarted while reloading"
    elif case == "verify":
        reload = {
            "container": service.container,
            "command": ["true"],
            "verify": ["sh", "-c", "echo not yet; exit 3"],
            "timeout": 2,
        }
        says = "after 2 s, sh -c echo not yet; exit 3 ended with 3: not yet"

    failed = service.land(answer="two", args={"reload": reload})
    text = " ".join(failed.text.split())
    assert failed.code != 0 and says in text and f"the container {service.container} has not loaded it" in text
    if case == "stops":
        docker("start", service.container)
    again = service.land(answer="two", args={"reload": reload})
    assert again.code != 0 or case == "stops"
    if case == "verify":
        reload["verify"] = ["test", "-e", "/etc/sixty/current/nginx.conf"]
        good = service.land(answer="two", args={"reload": reload})
        assert good.changed and good.result["reloaded"]
        assert not service.land(answer="two", args={"reload": reload}).changed


def test_a_container_that_does_not_run_needs_no_reload(service):
    first = service.land()
    assert first.changed and not first.result["reloaded"]
    service.serve()
    assert not service.land().changed
    docker("stop", "--time", "5", service.container)
    second = service.land(answer="two")
    assert second.changed and not second.result["reloaded"]
    docker("start", service.container)
    assert service.becomes("two") and not service.land(answer="two").changed


def test_a_small_disk_refuses_with_numbers_and_keeps_the_old_tree(service):
    disk = service.tmp / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=True)
    try:
        service.path = disk / "web"
        service.args.update(path=str(service.path), validate=None, reload=None)
        assert service.land().changed
        before = service.everything()
        (service.templates / "big").write_bytes(b"x" * 400_000)
        for flags in ([], ["--check"]):
            failed = service.land(*flags)
            assert failed.code != 0 and f"free below {service.path}; nothing was changed" in " ".join(
                failed.text.split()
            )
            numbers = [int(word) for word in failed.text.split("disk full: ")[1].split() if word.isdigit()][:2]
            assert numbers[0] > 400_000 and 0 < numbers[1] < 256 * 1024
        assert service.everything() == before

        # The same past the first look, as when something else fills the disk at that moment.
        contents = {"a": b"a", "big": b"x" * 400_000}
        manifest = core.build_manifest(contents, [])
        pack(manifest, contents, str(service.tmp / "tree.tar"))
        store = config_tree.Store(str(service.path))
        with pytest.raises(core.ConfigTreeError, match=r"disk full while staging: 4\d{5} bytes needed, \d+ free"):
            store.stage(str(service.tmp / "tree.tar"), manifest, core.digest_of(manifest), None, {})
        assert set(service.everything()) == set(before)
        assert os.statvfs(disk).f_bavail > 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_plays_at_once_land_one_tree(service):
    runs = [service.end_play(process) for process in [service.start_play(), service.start_play()]]
    assert sorted(run.changed for run in runs) == [False, True]
    assert len(list((service.path / "trees").iterdir())) == 2


def test_errors_are_told_without_a_traceback(service):
    cases = [
        ({"permissions": [{"pattern": "*", "owner": "no-such-user"}]}, "this host knows no owner 'no-such-user'"),
        ({"permissions": [{"pattern": "*", "mode": 420}]}, "quote it"),
        ({"path": "/etc/hostname/web"}, "/etc/hostname is not a directory"),
        ({"validate": {"image": f"{service.container}:none", "command": ["true"]}}, "is not on this host"),
        ({"validate": {"image": IMAGE, "command": ["no-such-program"]}}, "the checker cannot be run"),
    ]
    for args, says in cases:
        failed = service.land(args=args)
        assert failed.code != 0 and says in " ".join(failed.text.split()) and "Traceback" not in failed.text
        assert not (service.path / "current").exists()


@pytest.fixture
def system_log(tmp_path):
    """A system log for one play: what is sent to /dev/log, and how to start the play so that it is sent here."""
    own = not os.path.lexists("/dev/log")
    path = "/dev/log" if own else str(tmp_path / "log")
    received: list[bytes] = []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(path)
    server.settimeout(0.2)
    done = threading.Event()

    def collect() -> None:
        while not done.is_set():
            try:
                received.append(server.recv(1 << 20))
            except TimeoutError:
                continue

    thread = threading.Thread(target=collect)
    thread.start()
    inside = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /dev/log && exec "$@"', path)
    yield received, (() if own else inside)
    done.set()
    thread.join()
    server.close()
    os.unlink(path)


def test_secrets_reach_neither_output_nor_system_log(service, system_log):
    received, prefix = system_log
    texts = [service.land("-vvvv", "--diff", prefix=prefix).text]
    (service.templates / "users.acl.j2").write_text("user app on >{{ password }} ~*\n")
    service.args["permissions"].append({"pattern": "users.acl", "mode": "0400", "secret": True})
    later = service.land("-vvvv", "--diff", prefix=prefix, password="a-second-" + SECRET)
    texts.append(later.text)
    assert "(secret, content hidden)" in later.text and "(secret, new content hidden)" in later.text
    assert later.result["files"] == {"added": ["users.acl"], "changed": ["secrets/password"], "removed": []}
    refused = service.land(
        "-vvv",
        args={"validate": {"image": IMAGE, "user": "0:0", "command": ["cat", "/etc/sixty/current/users.acl", "/none"]}},
        prefix=prefix,
    )
    texts.append(refused.text)
    assert refused.code != 0 and "was refused" in refused.text and "(secret)" in refused.text

    time.sleep(0.5)
    log = b"".join(received).decode("utf-8", "replace")
    assert str(service.path) in log, "the module's arguments are expected there"
    # Extra variables are shown by -vvvv itself, so only what follows the play's start counts.
    for text in (*(text.split("TASK [Land]", 1)[1] for text in texts), log):
        assert SECRET not in text
        for name in ("secrets/password", "users.acl"):
            content = (service.path / "current" / name).read_bytes()
            assert core.build_manifest({name: content}, [])[name].sha256 not in text


def test_a_bundle_lands_as_it_is(service):
    bundle = service.tmp / "bundle"
    (bundle / "assets").mkdir(parents=True)
    (bundle / "index.html").write_text("{{ not a template }}")
    (bundle / "assets/app.js.j2").write_text("{% never rendered %}")
    service.args.update(src=str(bundle), render=False, extra_files={}, validate=None, reload=None)
    service.land()
    old = (service.path / "current/index.html").stat().st_mtime_ns
    (bundle / "assets/new.js").write_text("new")
    assert service.land().result["files"] == {"added": ["assets/new.js"], "changed": [], "removed": []}
    assert (service.path / "current/index.html").read_text() == "{{ not a template }}"
    assert (service.path / "current/index.html").stat().st_mtime_ns == old
