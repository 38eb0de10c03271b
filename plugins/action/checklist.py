# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes through the deployment checklist; its options are documented at the module."""

from __future__ import annotations

import pathlib
import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display
from ansible_collections.sixty_sales.memory_optimized.plugins.action.stack_report import ActionModule as StackReport
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import checklist, stack_report

display = Display()

OPTIONS = {
    "phase": {"type": "str", "choices": list(checklist.CHOICES), "default": "all"},
    "stack": {"type": "str", "required": True},
    "budget": {"type": "dict", "required": True},
    "budget_errors": {"type": "int", "required": True},
    "optional": {"type": "list", "elements": "str", "default": []},
    "monitor": {"type": "str", "default": "http://127.0.0.1:8080"},
    "prometheus": {"type": "str", "default": "http://127.0.0.1:9090"},
    "alertmanager": {"type": "str", "default": "http://127.0.0.1:9093"},
    "requests": {"type": "list", "elements": "dict", "default": []},
    "releases": {"type": "list", "elements": "dict"},
    "image": {"type": "str", "default": ""},
    "reports": {"type": "dict", "default": {}},
    "max_age": {"type": "int", "default": 86400},
    "answers": {"type": "str", "default": ""},
    "output": {"type": "str", "choices": ["table", "json"], "default": "table"},
}


class ActionModule(StackReport):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        # Not the report's own run, which shows something else.
        super(StackReport, self).run(tmp, variables)
        _result, args = self.validate_argument_spec(OPTIONS)
        try:
            answers = checklist.read_answers(args["answers"])
        except ValueError as error:
            raise AnsibleActionFail(f"{error} Nothing was looked at.") from None
        engine = self._engine(args, variables)
        if engine.get("failed"):
            return engine
        facts = self._facts(args, engine)
        if args["output"] == "table":
            answers.update(self._answers(checklist.evaluate(facts, answers, args["phase"])))
        items = checklist.evaluate(facts, answers, args["phase"])
        found = {"kind": "checklist", "phase": args["phase"], "release": facts["release"], "items": items}
        document = self._named({**found, "counts": checklist.counts(items)}, args, variables)
        self._show(document, args)
        return {"changed": False, "document": document}

    def _facts(self, args: dict[str, Any], engine: dict[str, Any]) -> dict[str, Any]:
        status, problem = self._status(args)
        release, now = (status or {}).get("release") or {}, time.time()
        switched = release.get("switched")
        urls = checklist.query_urls(args["prometheus"], args["stack"], switched, now)
        about = [args["alertmanager"] + "/api/v2/alerts", args["alertmanager"] + "/api/v2/status"]
        pages = [request["url"] for request in args["requests"] if request["name"] == "page"]
        alerts, state, *answers = self._ask([*about, *urls.values(), *pages])
        return {
            "health": self._health(args, engine),
            "resources": stack_report.resources(
                engine["containers"], engine["parent"], args["budget"], status, problem
            ),
            "budget_errors": args["budget_errors"],
            "release": release.get("release") or "",
            "releases": args["releases"],
            "image": args["image"],
            "page": checklist.page_digest(answers[-1]) if pages else "",
            "switched": switched,
            "window": checklist.window(switched, now),
            "queries": {name: checklist.samples(answer) for name, answer in zip(urls, answers)},
            "watchdog": checklist.has_watchdog(alerts),
            "receivers": checklist.receivers(state),
            "reports": {name: self._report(name, pathlib.Path(path), now) for name, path in args["reports"].items()},
            "max_age": args["max_age"],
        }

    def _report(self, name: str, path: pathlib.Path, now: float) -> dict[str, Any] | None:
        try:
            return checklist.read_report(name, path.read_text(), path.stat().st_mtime, now)
        except FileNotFoundError:
            return None

    def _answers(self, rows: list[dict[str, Any]]) -> dict[str, bool]:
        """What a person in front of the terminal knows; nothing where there is none, or they know nothing."""
        found = {}
        for row in rows:
            if row["verdict"] != checklist.ASK:
                continue
            try:
                said = display.prompt_until(
                    f"{row['title']}: {row['evidence']}\n  ({row['command']}) [yes/no/Enter: later]"
                )
            except (AnsiblePromptInterrupt, AnsiblePromptNoninteractive):
                break
            word = said.decode(errors="replace").strip().lower()
            if word in ("y", "yes", "n", "no"):
                found[row["name"]] = word.startswith("y")
        return found

    def _lines(self, document: dict[str, Any], width: int) -> list[str]:
        title = f"{document['stack']} on {document['host']}, {time.strftime('%H:%M:%S')}"
        served = f", release {document['release']}" if document["release"] else ""
        return [title + served, "", *checklist.lines(document["items"], self._paint)]
