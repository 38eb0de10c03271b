# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a source folder consists of, in real folders and real git work trees."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import source_tree


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.hooksPath=/dev/null"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def write(folder, *names):
    """Files with their own name as text."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


@pytest.fixture
def tree(tmp_path):
    """A folder app in a git work tree: two tracked files, an untracked one, and what is ignored."""
    root = tmp_path / "clone"
    write(root, "app/src/server.js", "app/package.json", "beside.txt")
    (root / ".gitignore").write_text("build/\n*.log\n", encoding="utf-8")
    git(root.parent, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    write(root, "app/new.js", "app/build/out.js", "app/debug.log")
    return root / "app"


def digest(root):
    return source_tree.digest([(root, source_tree.list_files(root))])


def test_git_decides(tree):
    assert source_tree.list_files(tree) == ["new.js", "package.json", "src/server.js"]
    # Whether a file is committed makes no difference.
    before = digest(tree)
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "second")
    assert digest(tree) == before


def test_a_tracked_file_that_was_deleted_does_not_count(tree):
    (tree / "package.json").unlink()
    assert source_tree.list_files(tree) == ["new.js", "src/server.js"]


def test_a_folder_that_git_ignores_as_a_whole_is_walked(tree):
    assert source_tree.list_files(tree / "build") == ["out.js"]


def test_a_clone_of_somebody_else_is_listed_alike(tree, monkeypatch):
    before = source_tree.list_files(tree)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert subprocess.run(["git", "-C", str(tree), "ls-files"], capture_output=True, check=False).returncode != 0
    assert source_tree.list_files(tree) == before


def test_a_program_that_the_clone_names_is_not_run(tree, tmp_path):
    mark = tmp_path / "ran"
    git(tree, "config", "core.fsmonitor", f"touch {mark}; false")
    source_tree.list_files(tree)
    assert not mark.exists()


def test_a_plain_tree(tmp_path):
    write(tmp_path, "src/a.js", "node_modules/m/i.js", "dist/o.js", ".env", ".cache/c", "src/__pycache__/x.pyc")
    assert source_tree.list_files(tmp_path) == [".env", "src/a.js"]


def test_without_git(tmp_path, monkeypatch):
    write(tmp_path, "a")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert source_tree.list_files(tmp_path) == ["a"]


def test_one_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("the same", encoding="utf-8")
    assert source_tree.list_files(tmp_path / "a") == [""]
    # Its own name does not count, only what is in it.
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(source_tree.SourceError, match=r"There is no folder .*gone.*correct the path"):
        source_tree.list_files(tmp_path / "gone")


def test_the_digest_follows_content_name_and_permission(tree):
    seen = [digest(tree)]
    assert re.fullmatch("[0-9a-f]{12}", seen[0])
    # A second look, another modification time, and what git ignores are the same sources.
    os.utime(tree / "new.js", (1, 1))
    write(tree, "build/more.js")
    assert digest(tree) == seen[0]
    (tree / "new.js").write_text("changed", encoding="utf-8")
    seen.append(digest(tree))
    (tree / "new.js").chmod(0o755)
    seen.append(digest(tree))
    (tree / "new.js").rename(tree / "newer.js")
    seen.append(digest(tree))
    write(tree, "README.md", "tests/t.js")
    seen.append(digest(tree))
    assert len(set(seen)) == len(seen)


def test_the_digest_follows_salt_and_borders(tmp_path):
    write(tmp_path, "a", "b")
    root = tmp_path
    together = source_tree.digest([(root, ["a", "b"])])
    assert source_tree.digest([(root, ["a", "b"])], "salt") != together
    assert source_tree.digest([(root, ["a"]), (root, ["b"])]) != together
    assert source_tree.digest([(root, ["b", "a"])]) != together


def test_a_name_that_is_not_utf8(tree):
    before = digest(tree)
    with open(os.path.join(os.fsencode(tree), b"caf\xe9.txt"), "w", encoding="utf-8") as handle:
        handle.write("latin-1")
    assert os.fsdecode(b"caf\xe9.txt") in source_tree.list_files(tree)
    assert digest(tree) != before
