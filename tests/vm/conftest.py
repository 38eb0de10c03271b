# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine with 2,048 MB; SIXTY_VM_SUITE is bookworm or trixie.

Everything takes many minutes without KVM, so a run goes on where the last one stopped: each test that passed leaves a
stamp beside the disk. When all have passed, or FRESH=1, the next run begins with a bare machine again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import ROOT
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import Host, Operator, eventually, run

SUITE = os.environ.get("SIXTY_VM_SUITE", "bookworm")
DIRECTORY = ROOT / ".dev/vm" / SUITE
STAMPS = DIRECTORY / "stamps"
REPORTS = ROOT / "build/reports/vm" / SUITE
SSH, HTTPS = {"bookworm": (18322, 18343), "trixie": (18422, 18443)}[SUITE]
MEMORY = 2048
# How much longer things may take than on a machine of metal.
SLOWNESS = {"kvm": 1, "tcg": 6}


class Machine:
    """The machine: its disk stays, its process does not outlive the run."""

    def __init__(self) -> None:
        self.disk, self.console = DIRECTORY / "machine.ext4", REPORTS / "console.log"
        self.accelerator = os.environ.get("SIXTY_VM_ACCEL", "") or self._accelerator()

    def _accelerator(self) -> str:
        """kvm, where a kernel says something under it; in a virtual machine it may be there and hang."""
        remembered = DIRECTORY / "accelerator"
        if not remembered.exists():
            said = DIRECTORY / "probe"
            remembered.write_text("tcg")
            with contextlib.suppress(subprocess.TimeoutExpired, subprocess.CalledProcessError, PermissionError):
                Path("/dev/kvm").open("rb").close()
                subprocess.run(
                    self._command("kvm", said, "-snapshot"), timeout=15, check=True, stderr=subprocess.DEVNULL
                )
            if said.exists() and "Linux version" in said.read_text(errors="replace"):
                remembered.write_text("kvm")
        return remembered.read_text()

    def _command(self, accelerator: str, console: Path, *more: str) -> list[str]:
        disk = self.disk if self.disk.exists() else DIRECTORY / "disk.ext4"
        forwards = f"hostfwd=tcp:127.0.0.1:{SSH}-:22,hostfwd=tcp:127.0.0.1:{HTTPS}-:443"
        return [
            *("qemu-system-x86_64", "-smp", "2", "-m", str(MEMORY), "-cpu", "max"),
            *("-accel", "kvm" if accelerator == "kvm" else "tcg,thread=multi"),
            *("-kernel", str(DIRECTORY / "vmlinuz"), "-initrd", str(DIRECTORY / "initrd")),
            *("-append", "root=/dev/vda rw console=ttyS0"),
            *(
                "-drive",
                f"file={disk},format=raw,if=virtio,cache=unsafe",
            ),
            *("-netdev", f"user,id=net,{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-display", "none", "-monitor", "none", "-serial", f"file:{console}", *more),
        ]

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command(self.accelerator, self.console), stdin=subprocess.DEVNULL, start_new_session=True
        )

    def stop(self, operator: Operator) -> None:
        """As an administrator would; otherwise as a power cut."""
        with contextlib.suppress(AssertionError, OSError, subprocess.TimeoutExpired):
            operator.ssh("systemctl poweroff")
            self.process.wait(60)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def stamp(item: pytest.Item) -> Path:
    return STAMPS / item.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    if os.environ.get("FRESH") == "1" or all(stamp(item).exists() for item in ours):
        shutil.rmtree(STAMPS, ignore_errors=True)
    for item in ours:
        if stamp(item).exists():
            item.add_marker(pytest.mark.skip(reason="passed in an earlier run"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.passed:
        STAMPS.mkdir(parents=True, exist_ok=True)
        stamp(item).write_text(f"{report.duration:.0f} s\n")
    return report


@pytest.fixture(scope="session")
def operator() -> Iterator[Operator]:
    run("bash", ROOT / "tests/vm/image.sh", SUITE, DIRECTORY, timeout=900)
    host = Host(SSH, HTTPS, DIRECTORY / "key", DIRECTORY / "host_key")
    fresh = not STAMPS.exists()
    if fresh:
        (DIRECTORY / "machine.ext4").unlink(missing_ok=True)
        shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True, exist_ok=True)
    machine = Machine()
    made = Operator(DIRECTORY / "operator", host, REPORTS, SLOWNESS[machine.accelerator])
    if fresh:
        run("cp", "--sparse=always", DIRECTORY / "disk.ext4", machine.disk)
        # The default watch, and more time for a first answer where every instruction is emulated.
        made.prepare(release_ready_timeout=60 * made.slowness, release_watch_seconds=30)
    started = time.monotonic()
    machine.start()
    try:
        eventually(lambda: made.try_ssh("true").returncode == 0, "the machine boots", 120 * made.slowness)
        # An engine that is still starting its containers does not answer, and a deploy would find their ports taken.
        made.try_ssh("systemctl is-system-running --wait", timeout=120)
        made.note(accelerator=machine.accelerator, boot_seconds=round(time.monotonic() - started, 1))
        yield made
    finally:
        made.cut_connections()
        machine.stop(made)
