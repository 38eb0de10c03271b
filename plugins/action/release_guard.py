# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the guard on the host, detached, and follows it; what it does there is documented at the module."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release as core

display = Display()

MODULE = "sixty_sales.memory_optimized.release_guard"
MARK = "--- lines of the guard ---"
# How often it is asked, in seconds, and for how long a connection that is lost is tried again.
POLL, PATIENCE = 1.0, 120.0
# Seconds without a word after which it is asked whether its process is still there.
SILENCE = 20.0
GONE = (
    "The guard ended without a word, most likely killed. What it left is served and nobody watches it: deploy again to "
    "go on from there, or roll back (make rollback-emergency)."
)


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Starts, follows, and ends with the guard's own result."""
        variables = task_vars or {}
        super().run(tmp, variables)
        args = dict(self._task.args)
        until, job = args.pop("until", "promoted"), args.pop("job", None)
        if args.get("action") == "follow":
            return self._follow_another(args, variables)
        if self._task.check_mode:
            return self._execute_module(module_name=MODULE, module_args=args, task_vars=variables)
        return self._follow(job or self._start(args, variables), until)

    def _start(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        try:
            self._task.async_val = core.longest(args)
        except (TypeError, ValueError) as error:
            raise AnsibleActionFail(f"release_guard: {error}; nothing was changed") from None
        # The file may hold an earlier deploy of this release until the guard begins its own.
        token = secrets.token_hex(6)
        args["token"] = token
        try:
            begun = self._execute_module(module_name=MODULE, module_args=args, task_vars=variables, wrap_async=True)
        finally:
            # The executor would poll for it, and know nothing of its lines.
            self._task.async_val = 0
        if "results_file" not in begun:
            raise AnsibleActionFail(f"release_guard was not started: {begun.get('msg', begun)}")
        path = f"{args['root']}/watch/{args['release']}.jsonl"
        return {"results_file": begun["results_file"], "path": path, "offset": 0, "since": time.time(), "token": token}

    def _ask(self, job: dict[str, Any]) -> tuple[str, str]:
        """(result so far, new lines). One short command, since a module costs half a second."""
        results, path = shlex.quote(job["results_file"]), shlex.quote(job["path"])
        command = (
            f"cat {results}; echo; echo {shlex.quote(MARK)}; tail -c +{job['offset'] + 1} {path} 2>/dev/null; true"
        )
        # Over SSH a command has a terminal, which ends its lines in its own way and mixes errors in.
        told = self._low_level_execute_command(command)["stdout"].replace("\r\n", "\n")
        result, _mark, lines = told.partition(MARK + "\n")
        return next((line for line in reversed(result.splitlines()) if line.startswith("{")), ""), lines

    def _follow(self, job: dict[str, Any], until: str) -> dict[str, Any]:
        lost: float | None = None
        heard, gone = time.monotonic(), False
        while True:
            try:
                was_gone, gone = gone, time.monotonic() - heard > SILENCE and self._is_gone(job)
                text, lines = self._ask(job)
                lost = None
            except AnsibleConnectionFailure as error:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > PATIENCE:
                    raise AnsibleConnectionFailure(
                        f"The connection is lost ({error}). The guard goes on by itself on the host, and goes back if "
                        "the release misbehaves; make monitor-deployment follows it when the host answers again."
                    ) from error
                display.display("  the connection is lost; the guard goes on by itself; trying again")
                time.sleep(POLL)
                continue
            switched = False
            for line in self._whole(job, lines):
                heard = time.monotonic()
                self._show(line)
                switched = switched or line.get("kind") == "switched"
            finished = self._finished(text)
            if finished is not None:
                with contextlib.suppress(AnsibleConnectionFailure):
                    self._low_level_execute_command(f"rm -f {shlex.quote(job['results_file'])}")
                return finished
            if switched and until == "switched":
                return {"changed": True, "phase": "switched", "path": job["path"], "job": job}
            if gone and was_gone:
                # Asked twice, since its wrapper writes the result when its process is gone.
                return {"failed": True, "phase": "unknown", "path": job["path"], "msg": GONE}
            time.sleep(POLL)

    def _whole(self, job: dict[str, Any], text: str) -> list[dict[str, Any]]:
        """The lines that are whole; the offset moves behind them."""
        found, offset = [], job["offset"]
        for text_line in text.splitlines(keepends=True):
            if not text_line.endswith("\n"):
                break
            offset += len(text_line.encode())
            try:
                line = json.loads(text_line)
            except ValueError:
                # Cut short by a full disk.
                continue
            if line.get("kind") == "begun":
                if job["token"] not in ("", line.get("token")):
                    return []
                job["pid"] = line.get("pid")
            found.append(line)
        if job["token"] and "pid" not in job:
            return []
        job["offset"] = offset
        return found

    def _show(self, line: dict[str, Any]) -> None:
        if line.get("kind") != "end":
            display.display(f"  {line.get('time', '')[11:19]} {line.get('text', '')}")

    def _finished(self, text: str) -> dict[str, Any] | None:
        """The module's result, once it is there."""
        try:
            result = json.loads(text)
        except ValueError:
            # Empty or half written.
            return None
        if "cmd" in result:
            # The wrapper tells so of a module that printed no result.
            return {"failed": True, "phase": "unknown", "msg": GONE}
        if "msg" not in result and "phase" not in result:
            return None
        # Warnings were among the lines, and are in the engine's own form here.
        for name in ("ansible_job_id", "started", "finished", "results_file", "warnings", "deprecations", "invocation"):
            result.pop(name, None)
        result.setdefault("failed", False)
        return result

    def _is_gone(self, job: dict[str, Any]) -> bool:
        pid = job.get("pid")
        if not pid:
            return time.time() - job["since"] > 3 * SILENCE
        return bool(self._low_level_execute_command(f"[ -d /proc/{int(pid)} ]")["rc"])

    def _follow_another(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """A deploy that somebody else started."""
        found = self._execute_module(module_name=MODULE, module_args=args, task_vars=variables)
        if found.get("failed") or found.get("phase") == "none":
            return found
        holder = found["holder"]
        job = {"results_file": "/dev/null", "path": found["path"], "offset": 0, "token": "", "pid": holder["pid"]}
        job["since"] = time.time()
        display.display(f"  release {holder['release']}, deployed by {holder['owner']} since {holder['taken'][:19]}")
        while True:
            # Asked first: its last line comes before its end.
            gone = self._is_gone(job)
            for line in self._whole(job, self._ask(job)[1]):
                self._show(line)
                if line.get("kind") == "end":
                    return {"changed": False, "phase": line["text"], "path": job["path"]}
            if gone:
                return {"changed": False, "phase": "its process is gone", "path": job["path"]}
            time.sleep(POLL)
