# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action with ansible-core's own loader and templar; the connection is played by a stand-in."""

from __future__ import annotations

import os
import tarfile
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.template import Templar
from ansible_collections.sixty_sales.memory_optimized.plugins.action import config_tree
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import config_tree as core


class Shell:
    tmpdir = None

    def join_path(self, *parts):
        return os.path.join(*parts)


class Action(config_tree.ActionModule):
    """Answers module calls from a list, and notes them with what was sent."""

    def __init__(self, args, variables, answers=()):
        self.loader = DataLoader()
        task = SimpleNamespace(
            args=args,
            action="config_tree",
            async_val=0,
            check_mode=False,
            get_search_path=lambda: variables.get("search", []),
        )
        super().__init__(
            task=task,
            connection=SimpleNamespace(_shell=Shell()),
            play_context=SimpleNamespace(),
            loader=self.loader,
            templar=Templar(loader=self.loader, variables=variables),
            shared_loader_obj=None,
        )
        self.variables = variables
        self.answers = list(answers)
        self.calls, self.sent, self.removed = [], {}, []

    def _execute_module(self, module_name=None, module_args=None, **_more):
        self.calls.append(module_args)
        return self.answers.pop(0)

    def _make_tmp_path(self, remote_user=None):
        self._connection._shell.tmpdir = "/remote/tmp"
        return "/remote/tmp"

    def _transfer_file(self, local_path, remote_path):
        with tarfile.open(local_path) as tar:
            self.sent[remote_path] = {member.name: tar.extractfile(member).read() for member in tar}
        self.local = (local_path, os.stat(local_path).st_mode & 0o777)

    def _fixup_perms2(self, remote_paths, remote_user=None, execute=True):
        self.fixed = remote_paths

    def _remove_tmp_path(self, tmp_path, force=False):
        self.removed.append(tmp_path)

    def land(self):
        return self.run(task_vars=self.variables)

    def tree(self):
        return self._collect(self._task.args, self.variables)


@pytest.fixture
def templates(tmp_path):
    top = tmp_path / "role" / "templates"
    (top / "conf.d").mkdir(parents=True)
    (top / "web.conf.j2").write_text("# {{ ansible_managed }}\n{% if true %}\nport {{ port }}\n{% endif %}\nend\n")
    (top / "conf.d" / "plain.conf").write_text("{{ not rendered }}\n")
    return top


def action(templates, answers=(), variables=None, **args):
    known = {"port": 80, "role_path": str(templates.parent), **(variables or {})}
    return Action({"name": "web", "path": "/srv/web", **args}, known, answers)


# --- what is rendered ---


def test_the_role_s_templates_are_the_default(templates):
    tree = action(templates).tree()
    assert tree.files == {
        "web.conf": b"# Ansible managed\nport 80\nend\n",
        "conf.d/plain.conf": b"{{ not rendered }}\n",
    }
    assert tree.origins["web.conf"] == str(templates / "web.conf.j2") and not tree.secret


def test_src_may_be_relative_or_absolute(templates, tmp_path):
    (templates / "only").mkdir()
    (templates / "only" / "a.j2").write_text("{{ port }}")
    found = action(templates, src="only", variables={"search": [str(templates.parent)]}).tree()
    assert found.files == {"a": b"80"} == action(templates, src=str(templates / "only")).tree().files


def test_without_rendering_files_are_copied_as_they_are(templates):
    (templates / "logo.png").write_bytes(b"\x89PNG\0\xff")
    files = action(templates, render=False).tree().files
    assert files["web.conf.j2"].startswith(b"# {{ ansible_managed") and files["logo.png"] == b"\x89PNG\0\xff"


def test_includes_are_found_beside_the_template(templates):
    (templates / "conf.d" / "_part.j2").write_text("part {{ port }}")
    (templates / "conf.d" / "whole.j2").write_text("{% include '_part.j2' %}!")
    tree = action(templates, exclude=["*/_*"]).tree()
    assert tree.files["conf.d/whole"] == b"part 80!" and "conf.d/_part" not in tree.files


def test_a_user_s_ansible_managed_wins_and_the_target_is_known(templates):
    (templates / "web.conf.j2").write_text(
        "{{ ansible_managed }} {{ template_destpath }} {{ template_path | basename }}"
    )
    files = action(templates, variables={"ansible_managed": "ours"}).tree().files
    assert files["web.conf"] == b"ours /srv/web/current/web.conf web.conf.j2"


@pytest.mark.parametrize(
    ("text", "says", "cause"),
    [
        ("one\ntwo {{ port }}\nthree {{ missing }}\n", r" \(line 3: three {{ missing }}\)", "'missing' is undefined"),
        ("{{ port }}\n{{ about.colour }}\n", r" \(line 2: {{ about.colour }}\)", "no attribute 'colour'"),
        ("one\n{{ port | nofilter }}\n", r" \(line 2: {{ port \| nofilter }}\)", "nofilter"),
        ("one\n{% if port %}\n", r" \(line 2: {% if port %}\)", "endif"),
    ],
)
def test_a_template_that_fails_is_named_with_its_line(templates, text, says, cause):
    (templates / "web.conf.j2").write_text(text)
    with pytest.raises(
        AnsibleActionFail, match=rf"web.conf.j2 could not be rendered{says}; nothing was changed"
    ) as failed:
        action(templates, variables={"about": {}}).tree()
    assert cause in str(failed.value)


def test_hidden_files_are_taken_leftovers_are_not(templates):
    for name in (".htpasswd", "web.conf.j2~", ".web.conf.swp", "#web.conf#", ".DS_Store"):
        (templates / name).write_text("x")
    os.symlink("gone", templates / ".#web.conf")
    (templates / "empty").mkdir()
    tree = action(templates).tree()
    assert set(tree.files) == {"web.conf", "conf.d/plain.conf", ".htpasswd"}
    assert tree.directories == ["conf.d", "empty"]


def test_vaulted_files_are_decrypted_and_secret(templates):
    secrets = [("default", VaultSecret(b"vault password"))]
    encrypt = VaultLib(secrets).encrypt
    (templates / "key.pem").write_bytes(encrypt(b"private key"))
    (templates / "users.acl.j2").write_bytes(encrypt(b"password {{ port }}"))
    made = action(templates)
    made.loader.set_vault_secrets(secrets)
    tree = made.tree()
    assert tree.files["key.pem"] == b"private key" and tree.files["users.acl"] == b"password 80"
    assert tree.secret == {"key.pem", "users.acl"}


def test_extra_files_are_secret_unless_they_say_otherwise(templates):
    extra = {"secrets/p": {"content": "hunter2"}, "notes": {"content": "n", "secret": False}}
    tree = action(templates, extra_files=extra).tree()
    assert tree.files["secrets/p"] == b"hunter2" and tree.secret == {"secrets/p"}


def test_without_a_templates_directory_extra_files_are_the_tree(tmp_path):
    made = Action(
        {"name": "web", "path": "/srv/web", "extra_files": {"a": {"content": "x"}}}, {"role_path": str(tmp_path)}
    )
    assert made.tree().files == {"a": b"x"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"src": "/no/such/place"}, "is not on the controller"),
        ({"src": "../elsewhere"}, "without '..'"),
        ({"src": "/etc/hostname"}, "is not a directory"),
        ({"render": "perhaps"}, "render"),
        ({"extra_files": ["a"]}, "must be a dictionary"),
        ({"extra_files": {"a": "content"}}, "a must be a dictionary"),
        ({"extra_files": {"a": {"content": 5}}}, "the content of a is int"),
        ({"extra_files": {"../a": {"content": ""}}}, "no name for a file"),
        ({"extra_files": {"web.conf": {"content": ""}}}, "web.conf comes from both"),
        ({"permissions": [{"pattern": "*", "mode": 420}]}, "quote it"),
    ],
)
def test_what_cannot_be_landed_is_refused_before_the_host_is_asked(templates, args, says):
    made = action(templates, **args)
    with pytest.raises(AnsibleActionFail, match=f"web: .*{says}.*nothing was changed"):
        made.land()
    assert made.calls == []


@pytest.mark.parametrize("odd", ["link", "fifo", "clash", "suffix", "nothing"])
def test_odd_files_are_refused(templates, odd):
    if odd == "link":
        os.symlink("/etc/passwd", templates / "outside.conf")
    elif odd == "fifo":
        os.mkfifo(templates / "pipe")
    elif odd == "clash":
        (templates / "web.conf").write_text("")
    elif odd == "suffix":
        (templates / ".j2").write_text("")
    else:
        (templates / "web.conf.j2").unlink()
        (templates / "conf.d" / "plain.conf").unlink()
    says = {
        "link": "outside.conf is a symbolic link",
        "fifo": "pipe is not a regular file",
        "clash": "web.conf comes from both",
        "suffix": "no name without its suffix",
        "nothing": "there are no files",
    }
    with pytest.raises(core.ConfigTreeError, match=says[odd]):
        action(templates).tree()


# --- what is sent ---


def test_no_change_is_one_call_that_sends_nothing(templates):
    made = action(templates, [{"changed": False}], extra_files={"secrets/p": {"content": "hunter2"}}, keep=2)
    assert made.land() == {"changed": False}
    assert made.sent == {} and made._connection._shell.tmpdir is None
    (call,) = made.calls
    assert set(call) == {"name", "path", "keep", "_manifest"} and "hunter2" not in str(call)
    assert core.load_manifest(call["_manifest"])["secrets/p"].secret


def test_a_change_sends_the_files_once_and_removes_them(templates):
    made = action(
        templates,
        [{"_archive_needed": True, "changed": True}, {"changed": True}],
        extra_files={"p": {"content": "hunter2"}},
    )
    assert made.land() == {"changed": True}
    assert made.calls[1] == {**made.calls[0], "_archive": "/remote/tmp/tree.tar"}
    assert made.sent["/remote/tmp/tree.tar"]["p"] == b"hunter2" and set(made.sent) == {"/remote/tmp/tree.tar"}
    assert made.local[1] == 0o600 and not os.path.exists(made.local[0])
    assert made.fixed == ("/remote/tmp", "/remote/tmp/tree.tar") and made.removed == ["/remote/tmp"]


def test_equal_trees_are_equal_archives(tmp_path):
    files = {"b": b"2", "a": b"1", "d/c": b"3"}
    manifest = core.build_manifest(files, [])
    config_tree.pack(manifest, files, str(tmp_path / "one.tar"))
    config_tree.pack(manifest, dict(sorted(files.items())), str(tmp_path / "two.tar"))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


# --- what comes back ---


def test_the_diff_is_made_from_what_the_host_had(templates):
    old = core.build_manifest({"web.conf": b"old", "secrets/p": b"before"}, [], secret=["secrets/p"])
    new = core.build_manifest(
        {"web.conf": b"# Ansible managed\nport 80\nend\n", "secrets/p": b"hunter2"}, [], secret=["secrets/p"]
    )
    answer = {
        "changed": True,
        "current": "/srv/web/current",
        "_old": {
            "before": core.to_data(old),
            "after": core.to_data(new),
            "contents": {"web.conf": "old"},
            "hidden": ["secrets/p"],
        },
    }
    result = action(templates, [answer], extra_files={"secrets/p": {"content": "hunter2"}}).land()
    assert [(entry["after_header"], entry["before"], entry["after"]) for entry in result["diff"]] == [
        ("/srv/web/current/secrets/p", core.HIDDEN, core.HIDDEN_NEW),
        ("/srv/web/current/web.conf", "old", "# Ansible managed\nport 80\nend\n"),
    ]
    assert "_old" not in result and "hunter2" not in str(result)


def test_a_refusal_quotes_the_line_and_its_template_but_no_secret(templates):
    answer = {"failed": True, "msg": "refused", "_checker_output": "web.conf:2 bad; secrets/p:1 bad"}
    result = action(templates, [answer], extra_files={"secrets/p": {"content": "hunter2"}}).land()
    assert result == {"failed": True, "msg": f"refused\nweb.conf:2 (from {templates / 'web.conf.j2'}): port 80"}
