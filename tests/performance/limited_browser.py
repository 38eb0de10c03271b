# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chromium in a container with a memory limit, which ends with whoever started it."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from verdicts import MB, Refused

START_SECONDS = 30

# cgroup v1, then v2; both with the page cache.
READ_MEMORY = (
    "cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes /sys/fs/cgroup/memory.peak 2>/dev/null | head -n 1;"
    " cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events 2>/dev/null | sed -n 's/^oom_kill //p'"
)


class Browser:
    """`with Browser(...) as browser:` and a DevTools port at 127.0.0.1:browser.port."""

    def __init__(self, image: str, flags: list[str], memory_mb: float):
        self.image, self.flags, self.memory_mb = image, flags, memory_mb
        self.peak: int | None = None
        self.kills: int | None = None
        self.started = False

    def __enter__(self) -> Browser:
        self.port = _free_port()
        self.name = f"sixty-performance-{os.getpid()}-{self.port}"
        limit = f"{int(self.memory_mb * MB)}"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [
                *("docker", "run", "--rm", "--interactive", "--name", self.name),
                # The host's network: only on localhost do pages have a service worker without TLS.
                *("--network", "host", "--memory", limit, "--memory-swap", limit, "--pids-limit", "512"),
                *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
                *(self.image, *self.flags, f"--remote-debugging-port={self.port}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            # Ctrl-C ends it through close(), after its memory was read.
            start_new_session=True,
        )
        try:
            self._wait()
            self.started = True
        except BaseException:
            self.close()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/json/version", timeout=2).close()
                return
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.log.seek(0)
                    said = self.log.read().decode(errors="replace").strip().splitlines()[-5:]
                    raise Refused(
                        f"Chromium did not start with a limit of {self.memory_mb:g} MB. It said:\n  "
                        + "\n  ".join(said or ["nothing"])
                        + f"\nTry it by hand: docker run --rm -i --network host {self.image} {' '.join(self.flags)}"
                    ) from None
                time.sleep(0.1)

    def read_memory(self) -> None:
        """Peak of the container in bytes and processes that the kernel killed; None when it is gone already."""
        done = subprocess.run(
            ["docker", "exec", self.name, "sh", "-c", READ_MEMORY], capture_output=True, text=True, check=False
        )
        figures = done.stdout.split()
        if done.returncode == 0 and len(figures) == 2:
            self.peak, self.kills = int(figures[0]), int(figures[1])

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            subprocess.run(["docker", "rm", "--force", self.name], stdout=subprocess.DEVNULL, check=True)
            self.process.wait(timeout=15)
        self.log.close()

    def __exit__(self, *_exception) -> None:
        try:
            self.read_memory()
        finally:
            self.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
