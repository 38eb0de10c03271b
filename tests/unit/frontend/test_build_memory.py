# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build's memory limit: real processes in real control groups, where this machine lets one make them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = ROOT / "roles/release/files"
MIB = 1024**2
HOG = "import sys; data = b'x' * (int(sys.argv[1]) << 20); print(len(data))"


def limited(*command: str, limit: int | str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **environment}
    given.pop("BUILD_MEMORY_LIMIT_BYTES", None)
    if limit is not None:
        given["BUILD_MEMORY_LIMIT_BYTES"] = str(limit)
    return subprocess.run(
        (sys.executable, str(FILES / "run_limited.py"), *command), env=given, capture_output=True, text=True, timeout=60
    )


def no_group() -> bool:
    return "no control group" in limited("true").stderr


grouped = pytest.mark.skipif(no_group(), reason="no control group with a memory limit is to be had here")


def peak(stderr: str) -> int:
    found = re.search(r"Build memory: ([\d,]+) MB at most", stderr)
    assert found, stderr
    return int(found[1].replace(",", ""))


def test_what_a_command_takes_is_measured_and_reported(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text('{"total_bytes": 1, "peak_memory_bytes": null}')
    done = limited("--report", str(report), sys.executable, "-c", HOG, "150", limit=512 * MIB)
    assert (done.returncode, done.stdout) == (0, f"{150 * MIB}\n")
    assert 150 <= peak(done.stderr) < 300 and "of 512 MB" in done.stderr
    written = json.loads(report.read_text())
    assert written["total_bytes"] == 1 and written["peak_memory_bytes"] // MIB in range(150, 300)


@grouped
def test_what_needs_more_is_killed_and_told_with_the_numbers() -> None:
    started = time.monotonic()
    done = limited("sh", "-c", f'"{sys.executable}" -c "$0" 300', HOG, limit=100 * MIB)
    assert done.returncode == 137 and time.monotonic() - started < 30
    assert f"the kernel killed 1 of its processes at 100 MB ({100 * MIB} bytes)" in done.stderr
    assert "Nothing was deployed" in done.stderr and "BUILD_MEMORY_LIMIT_BYTES" in done.stderr


@grouped
def test_a_kill_that_the_command_hides_is_a_failure_too() -> None:
    done = limited("sh", "-c", f'"{sys.executable}" -c "$0" 300; true', HOG, limit=100 * MIB)
    assert done.returncode == 137 and "the kernel killed 1 of its processes" in done.stderr


@grouped
def test_all_processes_count_together_and_none_is_left() -> None:
    """Two of 90 MB beside each other are within a limit for one, not for both; what runs on is ended."""
    hog = f'"{sys.executable}" -c "import time; data = bytes(90 << 20).replace(bytes(1), bytes([1])); time.sleep({{}})"'
    done = limited("sh", "-c", f"{hog.format(1)} & {hog.format(1)} & wait", limit=128 * MIB)
    assert done.returncode == 137, done.stderr
    done = limited("sh", "-c", "sleep 3600 & echo $!")
    assert done.returncode == 0
    left = Path(f"/proc/{int(done.stdout)}/stat")
    # Nobody may have collected it yet.
    assert not left.exists() or left.read_text().rpartition(") ")[2].startswith("Z")


def test_node_has_a_limit_of_its_own() -> None:
    shown = limited("sh", "-c", "echo $NODE_OPTIONS", limit=400 * MIB, NODE_OPTIONS="--trace-warnings")
    assert shown.stdout == "--trace-warnings --max-old-space-size=300\n"
    shown = limited("sh", "-c", "echo $NODE_OPTIONS", NODE_OPTIONS="")
    assert shown.stdout == "--max-old-space-size=1536\n"
    shown = limited("sh", "-c", "echo $NODE_OPTIONS", NODE_OPTIONS="--max-old-space-size=64")
    assert shown.stdout == "--max-old-space-size=64\n"


def test_a_full_heap_is_told_as_one() -> None:
    done = limited("sh", "-c", "kill -ABRT $$", limit=256 * MIB)
    assert done.returncode == 134
    assert "as Node does when its heap is full" in done.stderr and "256 MB" in done.stderr


def test_any_other_end_is_passed_on() -> None:
    assert limited("sh", "-c", "exit 3").returncode == 3
    killed = limited("sh", "-c", "kill -KILL $$")
    assert killed.returncode == 137 and "but not for its own limit" in killed.stderr


def test_sigterm_ends_the_command() -> None:
    command = (sys.executable, str(FILES / "run_limited.py"), "sh", "-c", "echo started; exec sleep 3600")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout and running.stdout.readline() == "started\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 128 + signal.SIGTERM


@pytest.mark.parametrize("text", ["2G", "1000", "-1", "2e9"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    done = limited("echo", "built", limit=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"BUILD_MEMORY_LIMIT_BYTES={text} is not a number of bytes" in done.stderr


def test_both_versions_of_the_kernels_files_are_read(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("run_limited", FILES / "run_limited.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    two, one = tmp_path / "two", tmp_path / "one"
    for path, files in (
        (two, {"memory.max": "max", "memory.swap.max": "max", "memory.peak": "7",
               "memory.events": "oom 1\noom_kill 2"}),
        (one, {"memory.limit_in_bytes": "9223372036854771712", "memory.memsw.limit_in_bytes": "9223372036854771712",
               "memory.max_usage_in_bytes": "7", "memory.oom_control": "under_oom 0\noom_kill 2"}),
    ):  # fmt: skip
        path.mkdir()
        for name, text in files.items():
            (path / name).write_text(f"{text}\n")
        group = module.Group(path, v2=path == two)
        assert (group.holds(100), group.peak(), group.kills()) == (False, 7, 2)
        group.set_limit(100)
        assert group.holds(100)
    assert (two / "memory.swap.max").read_text() == "0"
    assert (one / "memory.memsw.limit_in_bytes").read_text() == "100"
    # Linux before 5.19 keeps no peak on version 2.
    (two / "memory.peak").unlink()
    assert module.Group(two, v2=True).peak() is None


def test_without_a_group_it_says_so(tmp_path: Path) -> None:
    """As for a user on a machine without systemd: here nothing can be written, since the tree is not there."""
    script = (FILES / "run_limited.py").read_text().replace('"/proc/self/cgroup"', f'"{tmp_path}/none"')
    assert str(tmp_path) in script
    (tmp_path / "none").touch()
    (tmp_path / "run.py").write_text(script.replace('"/run/systemd/system"', f'"{tmp_path}/systemd"'))
    done = subprocess.run(
        (sys.executable, str(tmp_path / "run.py"), sys.executable, "-c", HOG, "150"),
        env={**os.environ, "BUILD_MEMORY_LIMIT_BYTES": str(64 * MIB)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert (
        "There is no control group with a memory limit to be had here, so only Node's own limit of 48 MB" in done.stderr
    )
    assert "of the largest process" in done.stderr and peak(done.stderr) >= 150


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A frontend whose build takes as many MB as HOG_MB says."""
    source = tmp_path / "source"
    source.mkdir()
    build = "const data = Buffer.alloc(Number(process.env.HOG_MB) << 20, 1); fs.mkdirSync('dist');"
    (source / "build.mjs").write_text(
        "import fs from 'node:fs';\n" + build + "\n"
        "fs.writeFileSync('dist/index.html', String(data.length));\n"
        "fs.writeFileSync('bundle-report.json', '{\"peak_memory_bytes\": null}');\n"
    )
    (source / "package.json").write_text(
        json.dumps({"name": "x", "version": "1.0.0", "scripts": {"build": "node build.mjs"}})
    )
    lock = {"name": "x", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "x", "version": "1.0.0"}}}
    (source / "package-lock.json").write_text(json.dumps(lock))
    return source


def build(project: Path, target: Path, megabytes: int, limit: int) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ("sh", str(FILES / "build_frontend.sh"), str(project), str(target)),
        env={**os.environ, "PATH": path, "HOG_MB": str(megabytes), "BUILD_MEMORY_LIMIT_BYTES": str(limit)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_build_within_its_limit_is_moved_into_place(project: Path, tmp_path: Path) -> None:
    target = tmp_path / "www"
    done = build(project, target, 100, 512 * MIB)
    assert done.returncode == 0, done.stderr
    assert (target / "index.html").read_text() == str(100 * MIB)
    assert json.loads((tmp_path / "www.report.json").read_text())["peak_memory_bytes"] > 100 * MIB
    assert not (tmp_path / "www.work").exists()


@grouped
def test_a_build_over_its_limit_leaves_nothing(project: Path, tmp_path: Path) -> None:
    target = tmp_path / "www"
    done = build(project, target, 600, 256 * MIB)
    assert done.returncode != 0
    assert "npm run build needs more than its memory limit" in done.stderr
    assert "at 256 MB (268435456 bytes). Nothing was deployed" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
