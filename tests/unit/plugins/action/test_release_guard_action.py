# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The follower of a guard: its shell commands run here, on real files; the guard itself and the clock are stand-ins."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.sixty_sales.memory_optimized.plugins.action import release_guard

STARTED = {"started": 1, "finished": 0, "ansible_job_id": "j1"}
RESULT = {"changed": True, "phase": "promoted", "active": {"slot": "green", "release": "r2"}}


class Host:
    """Files of the guard and the clock; C(script) is what happens in each second that the follower sleeps."""

    def __init__(self, root, *script):
        self.root, self.script = root, list(script)
        self.lines, self.results = root / "watch" / "r2.jsonl", root / "result"
        self.lines.parent.mkdir(exist_ok=True)
        self.clock, self.slept, self.lost, self.alive = 1000.0, 0, False, True
        self.token, self.commands, self.modules = "", [], []

    def say(self, *kinds, token=None):
        with self.lines.open("a", encoding="utf-8") as handle:
            for kind in kinds:
                line = {"time": "2026-11-24T19:00:00.000+00:00", "kind": kind, "text": f"it is {kind}"}
                if kind == "begun":
                    line.update(pid=4321, token=self.token if token is None else token)
                handle.write(json.dumps(line) + "\n")

    def write(self, text):
        with self.lines.open("a", encoding="utf-8") as handle:
            handle.write(text)

    def end(self, **result):
        """What the wrapper leaves in the results file."""
        self.results.write_text(json.dumps({**RESULT, **result, "invocation": {}, "finished": 1, "warnings": ["w"]}))

    # -- the module time, as the follower sees it

    def monotonic(self):
        return self.clock

    def time(self):
        return self.clock

    def sleep(self, seconds):
        self.clock += seconds
        self.slept += 1
        assert self.slept < 1000, "it follows for ever"
        if self.script:
            self.script.pop(0)()


class Action(release_guard.ActionModule):
    def __init__(self, host, check_mode=False, **args):
        self.host = host
        task = SimpleNamespace(
            args={"root": str(host.root), "release": "r2", **args},
            action="release_guard",
            async_val=0,
            check_mode=check_mode,
        )
        super().__init__(
            *(task, SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)), SimpleNamespace()),
            loader=None,
            templar=None,
            shared_loader_obj=None,
        )
        self.answer = {"results_file": str(host.results), **STARTED}

    def _execute_module(self, module_name=None, module_args=None, task_vars=None, wrap_async=False):
        self.host.modules.append((module_args, wrap_async, self._task.async_val))
        self.host.token = module_args.get("token", "")
        return self.answer

    def _low_level_execute_command(self, cmd):
        if self.host.lost:
            raise AnsibleConnectionFailure("no route to host")
        self.host.commands.append(cmd)
        if "/proc/" in cmd:
            assert "/proc/4321 " in cmd
            return {"rc": int(not self.host.alive), "stdout": ""}
        done = subprocess.run(["sh", "-c", cmd], capture_output=True, text=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout}

    def follow(self, **args):
        self._task.args.update(args)
        return self.run(task_vars={})


@pytest.fixture
def shown(monkeypatch):
    """What a person sees."""
    lines = []
    monkeypatch.setattr(release_guard, "display", SimpleNamespace(display=lines.append))
    return lines


@pytest.fixture
def host(tmp_path, monkeypatch, shown):
    made = Host(tmp_path)
    made.results.write_text(json.dumps(STARTED))
    monkeypatch.setattr(release_guard, "time", made)
    return made


def seen(shown):
    return [line.split("it is ")[-1] for line in shown]


def test_each_line_is_shown_once(host, shown):
    host.script = [
        lambda: host.say("begun", "phase"),
        lambda: host.say("sample", "sample"),
        lambda: None,
        lambda: (host.say("end"), host.end()),
    ]
    result = Action(host).follow()
    assert seen(shown) == ["begun", "phase", "sample", "sample"]
    assert shown[0] == "  19:00:00 it is begun"
    # The wrapper's own entries are none of the task's, and warnings were among the lines.
    assert result == {**RESULT, "failed": False}
    assert not host.results.exists()


def test_a_terminal_changes_nothing(host, shown):
    """A command over SSH has one: other ends of lines, and errors among the output."""

    class OverSsh(Action):
        def _low_level_execute_command(self, cmd):
            told = super()._low_level_execute_command(cmd)
            return {**told, "stdout": "mesg: ttyname failed\r\n" + told["stdout"].replace("\n", "\r\n")}

    host.script = [
        lambda: host.say("begun", "phase"),
        lambda: host.say("sample"),
        lambda: (host.say("end"), host.end()),
    ]
    assert OverSsh(host).follow() == {**RESULT, "failed": False}
    assert seen(shown) == ["begun", "phase", "sample"]


def test_the_guard_is_started_detached(host):
    host.script = [lambda: host.say("begun"), host.end]
    action = Action(host, until="promoted", watch_seconds=600)
    action.follow()
    arguments, wrapped, seconds = host.modules[0]
    assert wrapped
    # Only for the start: the executor would poll for it otherwise.
    assert (seconds > 600 + 900, action._task.async_val) == (True, 0)
    assert (arguments["release"], len(arguments["token"])) == ("r2", 12)
    assert "until" not in arguments and "job" not in arguments


def test_a_token_is_for_one_run(host):
    tokens = set()
    for _number in range(2):
        host.results.write_text(json.dumps({**RESULT, "finished": 1}))
        Action(host).follow()
        tokens.add(host.token)
    assert len(tokens) == 2


def test_half_a_line_waits_for_its_end(host, shown):
    whole = json.dumps({"kind": "sample", "text": "it is whole", "time": ""}) + "\n"
    host.script = [
        lambda: (host.say("begun"), host.write(whole[:9])),
        lambda: None,
        lambda: host.write(whole[9:]),
        host.end,
    ]
    Action(host).follow()
    assert seen(shown) == ["begun", "whole"]


def test_a_line_that_was_cut_short_is_passed_over(host, shown):
    host.script = [
        lambda: host.say("begun"),
        lambda: (host.write('{"kind": "samp\n'), host.say("phase")),
        lambda: host.say("sample"),
        host.end,
    ]
    Action(host).follow()
    assert seen(shown) == ["begun", "phase", "sample"]


@pytest.mark.parametrize("cut", [False, True])
def test_the_lines_of_an_earlier_deploy_are_not_shown(host, shown, cut):
    """The guard begins a new file, in its own time."""
    if cut:
        host.write('{"kind": "beg\n')
    else:
        host.say("begun", token="of another day")
    host.say("switched", "trigger", "end")
    host.script = [
        lambda: None,
        lambda: (host.lines.unlink(), host.say("begun", "phase")),
        lambda: host.say("sample"),
        host.end,
    ]
    Action(host, until="switched").follow()
    assert seen(shown) == ["begun", "phase", "sample"]


def test_a_lost_connection_is_put_up_with(host, shown):
    host.script = [
        lambda: host.say("begun", "phase"),
        lambda: vars(host).update(lost=True),
        *[lambda: None] * 60,
        lambda: (vars(host).update(lost=False), host.say("sample"), host.end()),
    ]
    assert Action(host).follow()["phase"] == "promoted"
    assert [line for line in seen(shown) if "connection" not in line] == ["begun", "phase", "sample"]
    assert shown.count("  the connection is lost; the guard goes on by itself; trying again") == 61


def test_patience_ends(host):
    host.script = [lambda: host.say("begun"), lambda: vars(host).update(lost=True)]
    with pytest.raises(AnsibleConnectionFailure, match="The guard goes on by itself on the host") as caught:
        Action(host).follow()
    assert "no route to host" in str(caught.value)
    assert release_guard.PATIENCE < host.slept < release_guard.PATIENCE + 5


def test_patience_is_for_one_loss(host):
    """Each time that it comes back, patience begins anew."""
    host.script = [lambda: host.say("begun")]
    for _number in range(3):
        host.script += [lambda: vars(host).update(lost=True), *[lambda: None] * 90]
        host.script += [lambda: (vars(host).update(lost=False), host.say("sample"))]
    host.script += [host.end]
    assert Action(host).follow()["phase"] == "promoted"


def test_the_connection_is_lost_at_the_very_end(host):
    """The result is there already."""
    host.say("begun", token="")

    class Late(Action):
        def _low_level_execute_command(self, cmd):
            host.lost = cmd.startswith("rm ")
            return super()._low_level_execute_command(cmd)

    host.end()
    assert Late(host).follow()["phase"] == "promoted"


def test_the_guard_was_killed(host):
    host.script = [lambda: host.say("begun", "switched"), lambda: vars(host).update(alive=False)]
    result = Action(host).follow()
    assert (result["failed"], result["phase"]) == (True, "unknown")
    assert "most likely killed" in result["msg"] and "deploy again" in result["msg"]
    # It is not asked for at each look.
    assert release_guard.SILENCE < host.slept < release_guard.SILENCE + 6


def test_a_silent_guard_that_lives_is_waited_for(host):
    host.script = [lambda: host.say("begun"), *[lambda: None] * 90, host.end]
    assert Action(host).follow()["phase"] == "promoted"


def test_the_result_is_written_after_the_guard_s_end(host):
    """Its wrapper lives a little longer."""
    host.script = [lambda: host.say("begun"), *[lambda: None] * 25, lambda: vars(host).update(alive=False), host.end]
    assert Action(host).follow()["phase"] == "promoted"


def test_the_guard_never_began(host):
    result = Action(host).follow()
    assert (result["failed"], result["phase"]) == (True, "unknown")
    assert 3 * release_guard.SILENCE < host.slept < 3 * release_guard.SILENCE + 5


@pytest.mark.parametrize(
    ("text", "result"),
    [
        # The module refused, or a trigger fired.
        (
            {"failed": True, "msg": "Another deploy is under way", "invocation": {}},
            {"failed": True, "msg": "Another deploy is under way"},
        ),
        (
            {"failed": True, "msg": "m", "rolled_back": True, "trigger": {"name": "health"}},
            {"failed": True, "msg": "m", "rolled_back": True, "trigger": {"name": "health"}},
        ),
        # The wrapper's words for a module that printed no result.
        (
            {"failed": 1, "cmd": "python x", "msg": "Traceback", "outdata": "", "stderr": ""},
            {"failed": True, "phase": "unknown", "msg": release_guard.GONE},
        ),
    ],
)
def test_results(host, text, result):
    host.script = [lambda: host.results.write_text(json.dumps(text))]
    assert Action(host).follow() == result


@pytest.mark.parametrize("text", ["", '{"changed": tr', json.dumps(STARTED)])
def test_what_is_no_result_yet(host, text):
    host.script = [lambda: host.say("begun"), lambda: host.results.write_text(text), host.end]
    assert Action(host).follow()["phase"] == "promoted"
    assert host.slept == 3


def test_until_switched_and_then_the_rest(host, shown):
    host.script = [lambda: host.say("begun", "phase"), lambda: host.say("switched", "sample")]
    first = Action(host, until="switched").follow()
    assert (first["changed"], first["phase"]) == (True, "switched")
    assert seen(shown) == ["begun", "phase", "switched", "sample"]
    # What another task does meanwhile is not missed; the job has gone through a register.
    host.say("sample", "promoted")
    host.script = [lambda: (host.say("end"), host.end())]
    job = json.loads(json.dumps(first["job"]))
    shown.clear()
    last = Action(host, job=job).follow()
    assert (last["phase"], seen(shown), len(host.modules)) == ("promoted", ["sample", "promoted"], 1)


def test_an_end_before_the_switch(host):
    host.script = [lambda: (host.say("begun", "end"), host.end(failed=True, msg="not served"))]
    assert Action(host, until="switched").follow()["msg"] == "not served"


def test_nothing_is_started_in_check_mode(host):
    action = Action(host, check_mode=True)
    action.answer = {"changed": True, "due": ["stage"]}
    assert action.follow() == {"changed": True, "due": ["stage"]}
    assert (host.modules[0][1], host.commands) == (False, [])


def test_it_cannot_be_started(host):
    action = Action(host)
    action.answer = {"failed": True, "msg": "no space left"}
    with pytest.raises(AnsibleActionFail, match="was not started: no space left"):
        action.follow()


def test_arguments_of_which_no_time_can_be_made(host):
    with pytest.raises(AnsibleActionFail, match="nothing was changed"):
        Action(host, watch_seconds="long").follow()
    assert host.modules == []


def test_names_are_quoted(host):
    """A path with a space is one path."""
    root = host.root / "a b"
    root.mkdir()
    spaced = Host(root)
    spaced.results.write_text(json.dumps(RESULT))
    action = Action(spaced)
    assert action.follow()["phase"] == "promoted"


# -- the deploy of somebody else


HOLDER = {"pid": 4321, "release": "r2", "owner": "bob", "taken": "2026-11-24T19:00:00.000+00:00", "alive": True}


def another(host):
    action = Action(host, action="follow")
    action.answer = {"changed": False, "phase": "switched", "path": str(host.lines), "holder": HOLDER}
    return action


def test_another_one_s_deploy_is_followed_from_its_begin(host, shown):
    host.say("begun", "switched", token="theirs")
    host.script = [lambda: host.say("sample"), lambda: host.say("end")]
    result = another(host).follow()
    assert shown[0] == "  release r2, deployed by bob since 2026-11-24T19:00:00"
    assert seen(shown[1:]) == ["begun", "switched", "sample"]
    assert (result["changed"], result["phase"]) == (False, "it is end")
    # Nothing of it is touched.
    assert host.results.exists()


def test_another_one_s_guard_was_killed(host):
    host.say("begun", token="theirs")
    host.script = [lambda: vars(host).update(alive=False)]
    assert another(host).follow()["phase"] == "its process is gone"


def test_another_one_s_last_line_is_not_missed(host):
    """It ends just after its lines were read."""
    host.say("begun", token="theirs")

    class Ending(Action):
        def _ask(self, job):
            told = super()._ask(job)
            if self.host.alive:
                self.host.alive = False
                self.host.say("end")
            return told

    action = Ending(host, action="follow")
    action.answer = {"changed": False, "phase": "switched", "path": str(host.lines), "holder": HOLDER}
    assert action.follow()["phase"] == "it is end"


@pytest.mark.parametrize("answer", [{"changed": False, "phase": "none"}, {"failed": True, "msg": "broken"}])
def test_there_is_nothing_to_follow(host, answer):
    action = Action(host, action="follow")
    action.answer = answer
    assert action.follow() == answer
    assert host.commands == []


def test_the_time_that_it_may_take_covers_its_parts():
    given = {"watch_seconds": 3600, "memory_seconds": 300, "ready_timeout": 200, "drain_timeout": 100}
    assert release_guard.core.longest(given) > 3600 + 300 + 2 * 200 + 2 * 100
    assert release_guard.core.longest({name: str(value) for name, value in given.items()}) == (
        release_guard.core.longest(given)
    )
