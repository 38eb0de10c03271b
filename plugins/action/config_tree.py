# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a tree on the controller; the module of the same name does the rest on the host (documented there)."""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.vault import is_encrypted_file
from ansible.plugins.action import ActionBase
from ansible.template import generate_ansible_template_vars, trust_as_template
from ansible.utils.display import Display
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import config_tree as core
from jinja2 import TemplateSyntaxError

display = Display()

MODULE = "sixty_sales.memory_optimized.config_tree"
HERE_ONLY = ("src", "exclude", "render", "extra_files", "permissions")
LEFTOVERS = ("*~", ".*.sw?", "#*#", ".#*", ".DS_Store")


class Tree:
    """What is to land: contents by name, where each comes from, which are secret, and the directories."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.origins: dict[str, str] = {}
        self.secret: set[str] = set()
        self.directories: list[str] = []

    def add(self, name: str, content: bytes, origin: str) -> None:
        """Takes a file; two files for one name are an error."""
        if name in self.files:
            raise core.ConfigTreeError(f"{name} comes from both {self.origins[name]} and {origin}")
        self.files[core.check_name(name)] = content
        self.origins[name] = origin


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _where(template: str, error: BaseException) -> str:
    """The line of an error in a template; ansible-core names only the file.

    A syntax error has its number; for an undefined variable it is every line that names it.
    """
    lines = template.splitlines()
    numbers: list[int] = []
    undefined = re.search(r"'(\w+)' is undefined|no attribute '(\w+)'", str(error))
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TemplateSyntaxError):
            numbers = [cause.lineno]
        cause = cause.__cause__
    if undefined:
        name = re.compile(rf"\b{undefined[1] or undefined[2]}\b")
        numbers = [number for number, line in enumerate(lines, 1) if name.search(line)]
    named = [f"line {number}: {lines[number - 1].strip()}" for number in numbers[:3] if 0 < number <= len(lines)]
    return f" ({'; '.join(named)})" if named else ""


def find_files(top: str, exclude: list[str]) -> tuple[list[str], list[str]]:
    """Files and directories below ``top``, as names relative to it, sorted."""
    files, directories = [], []

    def refuse(error: OSError) -> None:
        raise core.ConfigTreeError(f"{error.filename} cannot be read: {error.strerror}")

    for folder, inner, names in os.walk(top, onerror=refuse):
        for base in sorted(inner + names):
            path = os.path.join(folder, base)
            name = os.path.relpath(path, top)
            mode = os.lstat(path).st_mode
            if _matches(base, LEFTOVERS) or _matches(name, exclude):
                display.vv(f"config_tree: {path} is left out")
                if base in inner:
                    inner.remove(base)
            elif stat.S_ISDIR(mode):
                directories.append(name)
            elif stat.S_ISREG(mode):
                files.append(name)
            else:
                kind = "a symbolic link, which may lead out of it" if stat.S_ISLNK(mode) else "not a regular file"
                raise core.ConfigTreeError(f"{path} is {kind}; put the file itself there, or name it in exclude")
    return sorted(files), sorted(directories)


def pack(manifest: core.Manifest, files: dict[str, bytes], path: str) -> None:
    """A tar of the files, equal for equal trees; the module takes modes and owners from the manifest."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(files[name]), int(manifest[name].mode, 8), 0
            tar.addfile(member, io.BytesIO(files[name]))


class ActionModule(ActionBase):
    """No TRANSFERS_FILES: it would make a remote directory in every run, and most runs transfer nothing."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Renders, asks the module, and sends the files only when it needs them."""
        variables = task_vars or {}
        super().run(tmp, variables)
        args = dict(self._task.args)
        try:
            tree = self._collect(args, variables)
            manifest = core.build_manifest(
                tree.files, core.parse_rules(args.get("permissions") or []), tree.secret, tree.directories
            )
        except core.ConfigTreeError as error:
            raise AnsibleActionFail(f"{args.get('name', 'config_tree')}: {error}; nothing was changed") from None

        passed = {key: value for key, value in args.items() if key not in HERE_ONLY}
        passed["_manifest"] = core.dump_manifest(manifest)
        try:
            result = self._execute_module(module_name=MODULE, module_args=dict(passed), task_vars=variables)
            if result.pop("_archive_needed", False):
                passed["_archive"] = self._send(manifest, tree.files)
                result = self._execute_module(module_name=MODULE, module_args=dict(passed), task_vars=variables)
                if result.pop("_archive_needed", False):
                    raise AnsibleActionFail(f"{args.get('name')}: the module asked twice for the files")
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        self._explain(result, tree, manifest)
        return result

    # --- on the controller ---

    def _collect(self, args: dict[str, Any], variables: dict[str, Any]) -> Tree:
        tree = Tree()
        top = self._source(args.get("src"), variables)
        try:
            render = boolean(args.get("render", True))
        except TypeError as error:
            raise core.ConfigTreeError(f"render: {error}") from error
        if top is not None:
            exclude = args.get("exclude") or []
            files, tree.directories = find_files(top, [exclude] if isinstance(exclude, str) else list(exclude))
            for found in files:
                self._add_file(tree, top, found, render, str(args.get("path", "")), variables)
        extra = args.get("extra_files") or {}
        if not isinstance(extra, Mapping):
            raise core.ConfigTreeError(f"extra_files is {type(extra).__name__}: it must be a dictionary of names")
        for name, item in extra.items():
            if not isinstance(item, Mapping) or set(item) - {"content", "secret"}:
                raise core.ConfigTreeError(f"extra_files: {name} must be a dictionary of content and secret")
            if not isinstance(item.get("content"), str):
                kind = type(item.get("content")).__name__
                raise core.ConfigTreeError(f"extra_files: the content of {name} is {kind}, not text")
            tree.add(str(name), to_bytes(item["content"]), "extra_files")
            if boolean(item.get("secret", True)):
                tree.secret.add(str(name))
        if not tree.files:
            raise core.ConfigTreeError(f"there are no files in {top or 'src'}, and no extra_files")
        return tree

    def _source(self, src: Any, variables: dict[str, Any]) -> str | None:
        if src is None:
            role = variables.get("role_path")
            top = os.path.join(str(role), "templates") if role else None
            return top if top and os.path.isdir(top) else None
        if not isinstance(src, str) or not src or ".." in src.split("/"):
            raise core.ConfigTreeError(f"src is {src!r}: it must be a directory, without '..'")
        try:
            top = to_text(self._find_needle("templates", src))
        except AnsibleError:
            raise core.ConfigTreeError(f"src {src!r} is not on the controller, nor below templates/ here") from None
        if not os.path.isdir(top):
            raise core.ConfigTreeError(f"src is {top}, which is not a directory")
        return top

    def _add_file(self, tree: Tree, top: str, found: str, render: bool, path: str, variables: dict[str, Any]) -> None:
        source = os.path.join(top, found)
        with open(source, "rb") as handle:
            if is_encrypted_file(handle):
                tree.secret.add(found[:-3] if render and found.endswith(".j2") else found)
        if render and found.endswith(".j2"):
            name = found[:-3]
            if not os.path.basename(name):
                raise core.ConfigTreeError(f"{source} has no name without its suffix")
            tree.add(name, self._render(source, os.path.join(path, "current", name), variables), source)
        else:
            real = self._loader.get_real_file(source)
            try:
                with open(real, "rb") as handle:
                    tree.add(found, handle.read(), source)
            finally:
                self._loader.cleanup_tmp_file(real)

    def _render(self, source: str, target: str, variables: dict[str, Any]) -> bytes:
        """As ansible.builtin.template does in core 2.19 (plugins/action/template.py)."""
        roots = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
        searchpath = [place for root in roots for place in (os.path.join(root, "templates"), root)]
        about = generate_ansible_template_vars(path=source, fullpath=source, dest_path=target)
        if "ansible_managed" in variables:
            about.pop("ansible_managed", None)
        templar = self._templar.copy_with_new_env(searchpath=searchpath, available_variables={**variables, **about})
        template = trust_as_template(self._loader.get_text_file_contents(source))
        try:
            text = templar.template(
                template,
                escape_backslashes=False,
                overrides={"trim_blocks": True, "newline_sequence": "\n"},
            )
        except AnsibleError as error:
            where = _where(template, error)
            raise AnsibleActionFail(f"{source} could not be rendered{where}; nothing was changed") from error
        return to_bytes("" if text is None else text, errors="surrogate_or_strict")

    # --- to the host and back ---

    def _send(self, manifest: core.Manifest, files: dict[str, bytes]) -> str:
        """Transfers the files into the task's remote directory, which is removed at the end of the task."""
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        handle, local = tempfile.mkstemp(prefix="config_tree-", dir=C.DEFAULT_LOCAL_TMP)
        os.close(handle)
        try:
            pack(manifest, files, local)
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "tree.tar")
            self._transfer_file(local, remote)
        finally:
            os.unlink(local)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return remote

    def _explain(self, result: dict[str, Any], tree: Tree, manifest: core.Manifest) -> None:
        old = result.pop("_old", None)
        if old is not None:
            result["diff"] = core.diff_entries(
                result.get("current", ""),
                core.from_data(old["before"]),
                core.from_data(old["after"]),
                old["contents"],
                tree.files,
                old["hidden"],
            )
        shown = {name: content for name, content in tree.files.items() if not manifest[name].secret}
        lines = core.quoted_lines(result.pop("_checker_output", ""), shown, tree.origins)
        if lines:
            result["msg"] = "\n".join([result["msg"], *lines])
