# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what a stack does, once or until somebody ends it; its options are documented at the module."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.color import stringc
from ansible.utils.display import Display
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import (
    budget_schema,
    report_text,
    resources,
    stack_report,
)

display = Display()

INFO = "sixty_sales.memory_optimized.container_memory_info"
COLOURS = {"ok": "green", "warning": "yellow", "alert": "bright red", "critical": "red"}
# To the upper left; the rest of a line; the rest of the screen. A frame overwrites the one before, without a flicker.
HOME, LINE_END, SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"
OPTIONS = {
    "kind": {"type": "str", "required": True, "choices": ["resources", "health"]},
    "stack": {"type": "str", "required": True},
    "budget": {"type": "dict", "required": True},
    "optional": {"type": "list", "elements": "str", "default": []},
    "monitor": {"type": "str", "default": "http://127.0.0.1:8080"},
    "prometheus": {"type": "str", "default": "http://127.0.0.1:9090"},
    "requests": {"type": "list", "elements": "dict", "default": []},
    "output": {"type": "str", "choices": ["table", "json"], "default": "table"},
    "follow": {"type": "bool", "default": False},
    "period": {"type": "float", "default": 2.0},
}
# Runs on the host, where the stack's ports are, with nothing but Python's own library. A module would cost half a
# second and 40 MB of the host for each look.
ASK = """
import json, ssl, sys, time, urllib.error, urllib.request
answers = []
for url in sys.argv[2:]:
    answer, begun = {"status": 0, "release": "", "error": "", "body": ""}, time.monotonic()
    try:
        # Whether it answers is asked here, and not whose certificate it has.
        handler = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
        # The ports are this host's, which no proxy reaches.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
        try:
            response = opener.open(url, timeout=float(sys.argv[1]))
        except urllib.error.HTTPError as error:
            response = error
        with response:
            answer["status"], answer["release"] = response.status, response.headers.get("X-Release") or ""
            answer["body"] = response.read(1 << 20).decode("utf-8", "replace")
    except Exception as error:
        reason = getattr(error, "reason", error)
        answer["error"] = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    answer["seconds"] = round(time.monotonic() - begun, 4)
    answers.append(answer)
print(json.dumps(answers))
"""
TIMEOUT = 5


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        super().run(tmp, variables)
        _result, args = self.validate_argument_spec(OPTIONS)
        if args["follow"]:
            return self._follow(args, variables)
        engine = self._engine(args, variables)
        if engine.get("failed"):
            return engine
        found = self._health(args, engine) if args["kind"] == "health" else self._resources(args, engine)
        document = self._named(found, args, variables)
        self._show(document, args)
        return {"changed": False, "document": document}

    # -- what is looked at

    def _engine(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """By the engine and the kernel: the module's result."""
        services = args["budget"]["services"].items()
        expected = {name: resources.container_resources(budget_schema.read_service(entry)) for name, entry in services}
        given = {"stack": args["stack"], "expected": expected}
        return self._execute_module(module_name=INFO, module_args=given, task_vars=variables)

    def _ask(self, urls: list[str]) -> list[dict[str, Any]]:
        """Answers to requests that are made on the host, all in one command."""
        if not urls:
            return []
        words = ["python3", "-c", ASK, str(TIMEOUT), *urls]
        told = self._low_level_execute_command(" ".join(map(shlex.quote, words)))
        for line in reversed(told["stdout"].splitlines()):
            if line.startswith("["):
                return json.loads(line)
        said = (told.get("stderr") or told["stdout"]).strip().splitlines() or ["no output"]
        answer = {"status": 0, "release": "", "error": f"python3 on the host: {said[-1]}", "body": "", "seconds": 0.0}
        return [answer for _url in urls]

    def _status(self, args: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The Memory Monitor's status, or why there is none."""
        [answer] = self._ask([args["monitor"] + "/api/v1/status"])
        try:
            return stack_report.parse_status(answer), ""
        except ValueError as error:
            return None, str(error)

    def _resources(self, args: dict[str, Any], engine: dict[str, Any]) -> dict[str, Any]:
        status, problem = self._status(args)
        return stack_report.resources(engine["containers"], engine["parent"], args["budget"], status, problem)

    def _health(self, args: dict[str, Any], engine: dict[str, Any]) -> dict[str, Any]:
        requests = stack_report.wanted_requests(args["requests"], engine["containers"])
        *answers, alerts = self._ask([*(request["url"] for request in requests), args["prometheus"] + "/api/v1/alerts"])
        services, fires = args["budget"]["services"], stack_report.firing(alerts)
        return stack_report.health(
            engine["containers"], services, args["optional"], requests, answers, fires, time.time()
        )

    def _named(self, found: dict[str, Any], args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        name = str(variables.get("inventory_hostname", ""))
        return {"host": name, "stack": args["stack"], "time": round(time.time(), 1), **found}

    # -- what is shown

    def _paint(self, text: str, level: str) -> str:
        """In Ansible's colours, which are none where NO_COLOR is set or the output is no terminal."""
        return stringc(text, COLOURS[level]) if level in COLOURS else text

    def _lines(self, document: dict[str, Any], width: int) -> list[str]:
        title = f"{document['stack']} on {document['host']}, {time.strftime('%H:%M:%S')}"
        if document.get("phase"):
            title += f", phase {document['phase']}"
        write = report_text.health if document["kind"] == "health" else report_text.resources
        return [title, "", *write(document, width, self._paint)]

    def _show(self, document: dict[str, Any], args: dict[str, Any]) -> None:
        # A file or a pipe has room for all columns.
        lines = (
            [json.dumps(document)]
            if args["output"] == "json"
            else [*self._lines(document, max(display.columns, 110)), ""]
        )
        display.display("\n".join(lines))

    def _follow(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Until the play is interrupted.

        Workers have no terminal, but what one displays arrives there whole: a frame is one message that begins in the
        upper left corner. Several hosts would overwrite each other's, so each of them tells a line a period.
        """
        alone = len(variables.get("ansible_play_hosts", [])) <= 1
        if alone and args["output"] == "table":
            display.display(HOME + SCREEN_END)
        while True:
            due = time.monotonic() + args["period"]
            try:
                document = self._sample(args, variables)
            except AnsibleConnectionFailure as error:
                display.display(
                    f"{variables.get('inventory_hostname')}: the connection is lost ({error}); trying again"
                )
                document = None
            if document and args["output"] == "json":
                display.display(json.dumps(document))
            elif document and alone:
                lines = [*self._lines(document, display.columns), "", f"Every {args['period']:g} s; end with Ctrl-C."]
                display.display(HOME + "\n".join(line + LINE_END for line in lines) + SCREEN_END)
            elif document:
                line = report_text.resources_line(document, self._paint)
                display.display(f"{time.strftime('%H:%M:%S')} {document['host']}  {line}")
            time.sleep(max(0.0, due - time.monotonic()))

    def _sample(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any] | None:
        """By the Memory Monitor, which is cheap; by the engine where it does not answer."""
        status, problem = self._status(args)
        if status is not None:
            return self._named(stack_report.watched_resources(status, args["budget"]), args, variables)
        engine = self._engine(args, variables)
        if engine.get("failed"):
            display.display(f"{variables.get('inventory_hostname')}: {engine.get('msg')} Trying again.")
            return None
        found = stack_report.resources(engine["containers"], engine["parent"], args["budget"], None, problem)
        return self._named(found, args, variables)
