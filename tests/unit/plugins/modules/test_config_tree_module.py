# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a real directory; only the engine is played by a stand-in."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.action.config_tree import pack
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import config_tree as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.config_tree import ConfigTreeError
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import config_tree

ME = {"owner": os.getuid(), "group": os.getgid()}
RULES = core.parse_rules(
    [
        {"pattern": "secrets/*", "mode": "0440", "secret": True, **ME},
        {"pattern": "secrets/", "mode": "0750", **ME},
        {"pattern": "*", **ME},
        {"pattern": "*/", **ME},
        {"pattern": "./", **ME},
    ]
)
VALIDATE = {
    "image": "img",
    "command": ["check", "-t"],
    "mount": "/etc/sixty/current",
    "user": None,
    "env": {},
    "tmpfs": {},
    "memory": "128M",
    "timeout": 5,
}
RELOAD = {
    "container": "web",
    "signal": "HUP",
    "command": None,
    "restart": False,
    "restart_when": None,
    "verify": None,
    "timeout": 5,
}


class Failed(Exception):
    """What fail_json raises here."""


class Module:
    """The part of AnsibleModule that is used below main()."""

    def __init__(self, tmp, path, check=False, diff=False, **params):
        self.tmpdir, self.check_mode, self._diff = str(tmp), check, diff
        self.params = {
            "name": "web",
            "path": path,
            "validate": None,
            "reload": None,
            "keep": 3,
            "_archive": None,
            **params,
        }

    def fail_json(self, msg, **_more):
        raise Failed(msg)


class EngineStandIn:
    """Answers as told, and notes what it was asked."""

    errors = (RuntimeError,)

    def __init__(self):
        self.container = None
        self.answer = (0, "")
        self.checked = []
        self.image_missing = False

    def __call__(self):
        return self

    def require_image(self, image):
        if self.image_missing:
            raise config_tree.EngineLacking(f"the image {image} is not on this host")

    def check(self, _service, _path, tree, _options):
        self.checked.append(sorted(name for name, entry in config_tree.scan(tree).items() if entry.sha256))
        return self.answer

    def find(self, _name):
        return self.container


class Host:
    """A service's directory, and plays that land in it."""

    def __init__(self, tmp_path, engine):
        self.tmp, self.engine = tmp_path, engine
        self.path = tmp_path / "config" / "web"
        self.store = config_tree.Store(str(self.path))

    def land(self, files, **options):
        """Both calls of the action plugin; returns the last result."""
        contents = {name: text.encode() for name, text in files.items()}
        manifest = core.build_manifest(contents, RULES)
        first = self.call(manifest, **options)
        if not first.get("_archive_needed"):
            return first
        archive = str(self.tmp / "tree.tar")
        pack(manifest, contents, archive)
        return self.call(manifest, _archive=archive, **options)

    def call(self, manifest, **options):
        exists = self.store.exists()
        if not exists and options.get("_archive") and not options.get("check"):
            os.makedirs(self.path)
            exists = True
        return config_tree.converge(Module(self.tmp, str(self.path), **options), self.store, manifest, exists)

    def served(self):
        return {
            str(path.relative_to(self.path / "current")): path.read_text()
            for path in (self.path / "current").rglob("*")
            if path.is_file()
        }

    def everything(self):
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*")) if self.path.exists() else None


@pytest.fixture
def engine(monkeypatch):
    stand_in = EngineStandIn()
    monkeypatch.setattr(config_tree, "Engine", stand_in)
    return stand_in


@pytest.fixture
def host(tmp_path, engine):
    return Host(tmp_path, engine)


@pytest.fixture
def reloads(monkeypatch):
    """Notes the trees that were loaded, in place of the signal."""
    seen = []
    monkeypatch.setattr(config_tree, "reload", lambda _engine, _store, tree, _container, _options: seen.append(tree))
    return seen


def running(started=0.0):
    return core.Container("web", "id-1", True, started, os.getpid())


ONE = {"web.conf": "one\n", "conf.d/a": "a\n", "secrets/p": "first-password\n"}
TWO = {"web.conf": "two\n", "conf.d/a": "a\n", "secrets/p": "second-password\n"}


# --- landing ---


def test_a_tree_lands_whole(host):
    result = host.land(ONE)
    assert result["changed"] and host.served() == ONE
    link = os.readlink(host.path / "current")
    assert link == f"trees/{result['digest']}" and result["tree"] == result["digest"]
    assert (host.path / "current/secrets/p").stat().st_mode & 0o7777 == 0o440
    assert (host.path / "current/secrets").stat().st_mode & 0o7777 == 0o750
    record = host.path / f"trees/{result['digest']}.json"
    assert record.stat().st_mode & 0o777 == 0o600


def test_the_second_run_changes_nothing_and_needs_no_files(host):
    first = host.land(ONE)
    before = {path: os.lstat(host.path / path).st_mtime_ns for path in host.everything()}
    again = host.land(ONE)
    assert not again["changed"] and again["tree"] == first["tree"] and "_archive_needed" not in again
    assert {path: os.lstat(host.path / path).st_mtime_ns for path in host.everything()} == before


def test_a_change_moves_the_link_and_keeps_equal_files_times(host):
    host.land(ONE)
    os.utime(host.path / "current/conf.d/a", ns=(1, 1))
    result = host.land(TWO, diff=True)
    assert result["files"] == {"added": [], "changed": ["secrets/p", "web.conf"], "removed": []}
    assert host.served() == TWO and not result["drift"]
    assert (host.path / "current/conf.d/a").stat().st_mtime_ns == 1
    assert result["_old"]["contents"] == {"web.conf": "one\n"} and result["_old"]["hidden"] == ["secrets/p"]
    assert "password" not in str(result)


def test_going_back_transfers_nothing(host):
    host.land(ONE)
    host.land(TWO)
    back = host.call(core.build_manifest({name: text.encode() for name, text in ONE.items()}, RULES))
    assert back["changed"] and "_archive_needed" not in back and host.served() == ONE


def test_old_trees_are_pruned_by_when_they_landed(host):
    trees = []
    for number in range(5):
        result = host.land({"a": str(number)}, keep=2)
        trees.append(result["tree"])
        record = host.path / f"trees/{result['tree']}.json"
        os.utime(record, (number + 1, number + 1))
    assert result["pruned"] == [trees[1]]
    assert set(host.store.landed()) == set(trees[2:])
    assert len(os.listdir(host.path / "trees")) == 6  # three trees, three records


def test_what_killed_runs_left_is_removed(host):
    host.land(ONE)
    trees = host.path / "trees"
    (trees / ".staging-0123/deep").mkdir(parents=True)
    (trees / ("0" * 32 + ".json")).write_text("{}")
    (trees / ("0" * 32 + ".json.new")).write_text("{")
    os.symlink("trees/nowhere", host.path / "current.new")
    tree = host.land(TWO)["tree"]
    assert [name for name in os.listdir(trees) if name.startswith((".", "0000"))] == []
    assert os.readlink(host.path / "current") == f"trees/{tree}"


def test_an_edited_tree_is_told_and_replaced(host):
    first = host.land(ONE)
    (host.path / "current/web.conf").write_text("edited\n")
    (host.path / "current/extra").write_text("left by someone\n")
    (host.path / "current/conf.d/a").chmod(0o666)
    result = host.land(ONE, diff=True)
    assert result["changed"] and result["drift"] == ["conf.d/a", "extra", "web.conf"]
    assert result["tree"] == f"{first['digest']}.1" and result["digest"] == first["digest"]
    assert host.served() == ONE and result["_old"]["contents"]["web.conf"] == "edited\n"
    assert not host.land(ONE)["changed"]


def test_an_edited_kept_tree_is_not_gone_back_to(host):
    first = host.land(ONE)["tree"]
    host.land(TWO)
    (host.path / f"trees/{first}/web.conf").write_text("edited\n")
    assert host.land(ONE)["tree"] == f"{first}.1"
    assert host.served() == ONE


@pytest.mark.parametrize("odd", ["link", "fifo"])
def test_what_is_no_file_counts_as_drift(host, odd):
    host.land(ONE)
    path = host.path / "current/web.conf"
    path.unlink()
    os.mkfifo(path) if odd == "fifo" else os.symlink("/etc/passwd", path)
    result = host.land(ONE, diff=True)
    assert result["drift"] == ["web.conf"] and "root:" not in str(result) and host.served() == ONE


# --- check mode ---


def test_check_mode_on_a_bare_host_touches_nothing(host):
    result = host.land(ONE, check=True, diff=True, reload=RELOAD)
    assert result["changed"] and result["files"]["added"][-1] == "web.conf"
    assert host.everything() is None and list(host.tmp.iterdir()) == []


def test_check_mode_tells_what_the_run_then_does(host, reloads):
    host.land(ONE)
    before = host.everything()
    host.engine.container = running()
    told = host.land(TWO, check=True, diff=True, reload=RELOAD)
    assert host.everything() == before and host.served() == ONE and reloads == []
    done = host.land(TWO, diff=True, reload=RELOAD)
    for key in ("changed", "digest", "tree", "files", "drift", "reloaded", "_old"):
        assert told[key] == done[key], key


def test_check_mode_runs_the_checker_on_a_copy(host):
    host.land(ONE)
    host.engine.answer = (1, "bad")
    with pytest.raises(Failed, match="was refused"):
        host.land(TWO, check=True, validate=VALIDATE)
    assert host.engine.checked == [sorted(TWO)] and host.served() == ONE
    assert {path.name for path in host.tmp.iterdir()} == {"config", "tree.tar"}


def test_check_mode_says_when_it_could_not_check(host):
    host.engine.image_missing = True
    result = host.land(ONE, check=True, validate=VALIDATE)
    assert result["validated"] == "skipped: the image img is not on this host" and host.everything() is None


# --- the checker ---


def test_a_refused_tree_leaves_the_old_one(host):
    host.land(ONE)
    before = host.everything()
    host.engine.answer = (1, "/etc/sixty/current/web.conf:1: unknown word second-password\n")
    with pytest.raises(Failed) as refused:
        host.land(TWO, validate=VALIDATE)
    message = str(refused.value)
    assert "check -t in img ended with 1" in message and "web.conf:1: unknown word (secret)" in message
    assert "/etc/sixty" not in message and host.everything() == before and host.served() == ONE


@pytest.mark.parametrize(
    ("code", "says"), [(None, "did not end within 5 s"), (137, "memory limit is 128M"), (2, "no output")]
)
def test_how_a_checker_ended(host, code, says):
    host.engine.answer = (code, "")
    with pytest.raises(Failed, match=says):
        host.land(ONE, validate=VALIDATE)
    assert not (host.path / "current").exists()


def test_a_kept_tree_is_checked_again(host):
    host.land(ONE)
    host.land(TWO)
    host.land(ONE, validate=VALIDATE)
    assert host.engine.checked == [sorted(ONE)]


def test_a_missing_image_stops_before_anything_changed(host):
    host.land(ONE)
    host.engine.image_missing = True
    with pytest.raises(ConfigTreeError, match="img is not on this host; nothing was changed"):
        host.land(TWO, validate=VALIDATE)
    assert host.served() == ONE


# --- the reload ---


def test_a_running_container_is_told_once(host, reloads):
    host.engine.container = running()
    first = host.land(ONE, reload=RELOAD)
    assert first["reloaded"] and reloads == [first["tree"]]
    assert json.loads((host.path / "loaded").read_text())["container"] == "id-1"
    assert not host.land(ONE, reload=RELOAD)["changed"] and len(reloads) == 1


def test_nothing_runs_so_nothing_is_due_then_or_later(host, reloads, monkeypatch):
    host.land(ONE, reload=RELOAD)
    host.engine.container = running(started=time.time() + 1)

    def refuse():
        raise AssertionError("the engine was asked, though the record says that nothing ran")

    monkeypatch.setattr(config_tree, "Engine", refuse)
    assert not host.land(ONE, reload=RELOAD)["changed"] and reloads == []


def test_a_run_that_died_after_the_swap_leaves_the_reload_due(host, reloads, monkeypatch):
    host.engine.container = running()
    host.land(ONE, reload=RELOAD)

    def die(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(config_tree, "reload", die)
        with pytest.raises(KeyboardInterrupt):
            host.land(TWO, reload=RELOAD)
    assert host.served() == TWO and len(reloads) == 1
    told = host.land(TWO, reload=RELOAD, check=True)
    assert told["changed"] and told["reloaded"] and len(reloads) == 1
    after = host.land(TWO, reload=RELOAD)
    assert after["changed"] and after["reloaded"] and reloads[1:] == [after["tree"]]
    assert not host.land(TWO, reload=RELOAD)["changed"]


def test_a_container_started_long_after_the_swap_has_read_it(host, reloads):
    host.land(ONE)
    host.engine.container = running(started=time.time() + 60)
    assert not host.land(ONE, reload=RELOAD)["changed"] and reloads == []
    assert host.store.loaded()["container"] == "id-1"


def test_another_container_is_another_question(host, reloads):
    host.engine.container = running()
    host.land(ONE, reload=RELOAD)
    assert host.land(ONE, reload={**RELOAD, "container": "other"})["reloaded"] and len(reloads) == 2


class Program:
    """A container's program, and the engine that runs commands in it. Each command has the exit codes that it gives."""

    errors = (RuntimeError,)

    def __init__(self, codes=None, comes_back=True):
        self.codes = {name: list(values) for name, values in (codes or {}).items()}
        self.comes_back = comes_back
        self.done = []
        self.container = running(started=100.0)

    def find(self, _name):
        return self.container

    def run(self, _name, command, _seconds):
        [word] = command
        self.done.append(word)
        return self.codes.get(word, [0]).pop(0), "its output"

    def restart(self, _name):
        self.done.append("restart")
        self.container = self.container._replace(started=200.0, running=self.comes_back)

    def logs(self, _name, _since):
        return "its log"


@pytest.mark.parametrize(
    ("options", "codes", "done", "restarted"),
    [
        ({"command": ["load"]}, {}, ["load"], False),
        ({"command": ["load"], "verify": ["ask"]}, {"ask": [1, 0]}, ["load", "ask", "ask"], False),
        ({"restart": True}, {}, ["restart"], True),
        ({"restart": True, "verify": ["ask"]}, {"ask": [1, 0]}, ["restart", "ask", "ask"], True),
        ({"command": ["load"], "restart_when": ["odd"]}, {"odd": [1]}, ["load", "odd"], False),
        (
            {"command": ["load"], "verify": ["ask"], "restart_when": ["odd"]},
            {"ask": [0, 0]},
            ["load", "ask", "odd", "restart", "ask"],
            True,
        ),
    ],
)
def test_the_least_that_makes_a_program_read_it(host, monkeypatch, options, codes, done, restarted):
    monkeypatch.setattr(config_tree, "check_seen", lambda *_arguments: None)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    program = Program(codes)
    options = {**RELOAD, "signal": None, **options}
    assert config_tree.reload(program, host.store, "tree", program.container, options) is restarted
    assert program.done == done


@pytest.mark.parametrize(
    ("options", "program", "says"),
    [
        ({"command": ["load"]}, Program({"load": [3]}), "load ended with 3: its output"),
        (
            {"command": ["load"], "verify": ["ask"], "timeout": -1},
            Program({"ask": [1]}),
            "after -1 s, ask ended with 1",
        ),
        # Neither yes nor no.
        ({"command": ["load"], "restart_when": ["odd"]}, Program({"odd": [124]}), "odd ended with 124"),
        ({"restart": True}, Program(comes_back=False), "it stopped or was restarted after its restart"),
    ],
)
def test_a_program_that_did_not_take_it_is_told(host, monkeypatch, options, program, says):
    monkeypatch.setattr(config_tree, "check_seen", lambda *_arguments: None)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with pytest.raises(ConfigTreeError) as error:
        config_tree.reload(program, host.store, "tree", program.container, {**RELOAD, "signal": None, **options})
    assert says in str(error.value) and "its log" in str(error.value) and "next run tries again" in str(error.value)


def test_without_a_reload_the_engine_is_not_asked(host, monkeypatch):
    monkeypatch.setattr(config_tree, "Engine", None)
    assert host.land(ONE)["changed"] and not host.land(ONE)["changed"]


def test_a_process_handles_a_signal_itself_or_behind_an_init():
    handler = "import signal,time; signal.signal(signal.SIGHUP, lambda *_: None); print(flush=True); time.sleep(60)"
    plain = "import time; print(flush=True); time.sleep(60)"
    init = (
        "import signal,subprocess,sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP]);"
        " subprocess.run([sys.executable, '-c', sys.argv[1]], preexec_fn="
        "lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP]))"
    )
    for arguments, expected in (
        ([handler], True),
        ([plain], False),
        ([init, handler], True),
        ([init, plain], False),
    ):
        process = subprocess.Popen([sys.executable, "-c", *arguments], stdout=subprocess.PIPE, start_new_session=True)
        try:
            process.stdout.readline()
            assert config_tree.handles(process.pid, signal.SIGHUP) is expected
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_time_stamps_of_the_engine():
    assert config_tree.started_seconds("2026-11-24T18:15:52.123456789Z") == pytest.approx(1795544152.1234567)
    assert config_tree.started_seconds("2026-11-24T18:15:52Z") == 1795544152
    assert config_tree.started_seconds("0001-01-01T00:00:00Z") < 0


def test_a_deadline_ends_a_block():
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"), config_tree.deadline(0.05):
        time.sleep(5)
    with config_tree.deadline(5):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


# --- what goes wrong on the host ---


def test_too_little_space_is_told_before_anything_is_sent(host, monkeypatch):
    host.land(ONE)
    before = host.everything()
    real = os.statvfs

    class Full:
        f_frsize, f_bavail, f_files, f_favail = 4096, 2, 10, 10

    monkeypatch.setattr(os, "statvfs", lambda _path: Full)
    with pytest.raises(
        ConfigTreeError, match=r"disk full: 28672 bytes needed, 8192 free below .*web; nothing was changed"
    ):
        host.land(TWO)
    Full.f_bavail, Full.f_favail = 1000, 3
    with pytest.raises(ConfigTreeError, match=r"disk full: 9 inodes needed, 3 free"):
        host.land(TWO)
    monkeypatch.setattr(os, "statvfs", real)
    assert host.everything() == before and host.served() == ONE


def test_a_disk_that_fills_up_while_staging(host, monkeypatch):
    host.land(ONE)
    before = host.everything()
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        ConfigTreeError, match=r"disk full while staging: 28672 bytes needed, \d+ free below .* untouched"
    ):
        host.land(TWO)
    monkeypatch.undo()
    assert host.everything() == before and host.served() == ONE


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda files: {**files, "web.conf": b"not what was announced"}, "web.conf did not arrive as it was sent"),
        (lambda files: {name: files[name] for name in files if name != "web.conf"}, "lacks web.conf"),
        (lambda files: {**files, "../../escaped": b"x"}, "escaped"),
    ],
)
def test_an_archive_is_believed_only_as_far_as_the_manifest_goes(host, spoil, says):
    contents = {name: text.encode() for name, text in ONE.items()}
    manifest = core.build_manifest(contents, RULES)
    archive = str(host.tmp / "tree.tar")
    wrong = spoil(contents)
    with tarfile.open(archive, "w") as tar:
        for name, content in wrong.items():
            source = host.tmp / "member"
            source.write_bytes(content)
            tar.add(source, arcname=name)
    with pytest.raises(ConfigTreeError, match=says):
        host.call(manifest, _archive=archive)
    assert host.everything() == ["trees"] and not (host.tmp / "escaped").exists()


def test_a_file_in_place_of_the_directory(tmp_path):
    (tmp_path / "file").write_text("")
    for path in ("file", "file/web"):
        with pytest.raises(ConfigTreeError, match="file is not a directory"):
            config_tree.Store(str(tmp_path / path)).exists()


def test_a_directory_in_place_of_the_link(host):
    (host.path / "current").mkdir(parents=True)
    with pytest.raises(ConfigTreeError, match="current is not a link; nothing was changed"):
        host.land(ONE)


def test_unknown_owners():
    manifest = core.build_manifest({"a": b""}, core.parse_rules([{"pattern": "a", "owner": "no-such-user"}]))
    with pytest.raises(ConfigTreeError, match="a: this host knows no owner 'no-such-user'; nothing was changed"):
        config_tree.resolve(manifest)
    manifest = core.build_manifest({"a": b""}, core.parse_rules([{"pattern": "a", "owner": "root", "group": "root"}]))
    assert config_tree.resolve(manifest)["a"].access == ("0644", 0, 0)


def test_one_run_at_a_time(host, monkeypatch):
    host.land(ONE)
    monkeypatch.setattr(config_tree, "LOCK_SECONDS", 0.3)
    other = os.open(host.path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(ConfigTreeError, match="another run has held the lock"), host.store.locked():
        pass
    os.close(other)
    with host.store.locked():
        pass


# --- main() ---


def run_main(arguments):
    """The module as Ansible runs it, with a stand-in for the system log."""
    script = (
        "import sys, syslog\n"
        "syslog.syslog = lambda *args: sys.stderr.write(f'LOGGED {args}\\n')\n"
        "from ansible.module_utils import basic\n"
        "basic.has_journal = False\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "import json\n"
        f"from {config_tree.__name__} import main\n"
        "with patch_module_args(json.loads(sys.argv[1])):\n"
        "    main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )


def test_neither_log_nor_result_holds_the_manifest(tmp_path):
    contents = {name: text.encode() for name, text in ONE.items()}
    manifest = core.build_manifest(contents, RULES)
    archive = str(tmp_path / "tree.tar")
    pack(manifest, contents, archive)
    arguments = {
        "name": "web",
        "path": str(tmp_path / "web"),
        "_manifest": core.dump_manifest(manifest),
        "_archive": archive,
    }
    ended = run_main(arguments)
    result = json.loads(ended.stdout)
    assert result["changed"] and Path(result["current"], "web.conf").read_text() == "one\n"
    assert "LOGGED" in ended.stderr and str(tmp_path / "web") in ended.stderr
    for entry in manifest.values():
        if entry.sha256:
            assert entry.sha256 not in ended.stderr + ended.stdout
    assert "password\n" not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": "relative/../x"}, "path is"),
        ({"keep": 0}, "keep is 0: at least 1"),
        ({"reload": {"container": "web", "signal": "RELOAD"}}, "no such signal"),
        ({"reload": {"container": "web"}}, "reload says no way: it takes one of signal, command and restart"),
        ({"reload": {"container": "web", "signal": "HUP", "restart": True}}, "reload has signal and restart"),
        ({"reload": {"container": "web", "signal": "HUP", "command": ["x"]}}, "mutually exclusive"),
        ({"_manifest": None}, "run it as a task"),
        ({"_manifest": "x"}, "no manifest"),
        ({"colour": "red"}, "Unsupported parameters"),
    ],
)
def test_bad_arguments_are_told_without_a_traceback(tmp_path, arguments, says):
    manifest = core.dump_manifest(core.build_manifest({"a": b""}, RULES))
    ended = run_main({"name": "web", "path": str(tmp_path / "web"), "_manifest": manifest, **arguments})
    result = json.loads(ended.stdout)
    assert result["failed"] and says in result["msg"] and "Traceback" not in ended.stdout
    assert not (tmp_path / "web").exists()
