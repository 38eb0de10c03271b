# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a source folder consists of, and a digest over them."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess

IGNORED = {"node_modules", "dist", "__pycache__"}


class SourceError(ValueError):
    """A source folder cannot be read; the message says which and why."""


def list_files(root):
    """The files of a folder (or the file itself), relative and sorted.

    git decides where there is a work tree, untracked files that it does not ignore included,
    so that a digest follows what is being edited and not only what is committed.
    """
    root = pathlib.Path(root)
    if root.is_file():
        return [""]
    if not root.is_dir():
        raise SourceError(f"There is no folder {root}. Nothing was changed; correct the path to the sources.")
    # In a tree that git does not know (an unpacked archive), git fails and the walk decides.
    # safe.directory: a clone that belongs to somebody else (sudo make) is listed alike, or its digest would change;
    # without its fsmonitor, which is a program that the clone names.
    git = ["git", "-C", str(root), "-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
    command = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    try:
        listed = os.fsdecode(subprocess.run(command, capture_output=True, check=True).stdout).split("\0")
        names = [name for name in listed if name and (root / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        names = []
    # A folder that git ignores as a whole, such as an installed collection inside a work tree, lists nothing.
    return sorted(set(names)) or sorted(walk(root))


def walk(root):
    """Every file below C(root), without dependencies, build output and hidden folders."""
    for directory, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in IGNORED and not name.startswith(".")]
        for name in files:
            yield os.path.relpath(os.path.join(directory, name), root)


def digest(trees, salt=""):
    """12 hexadecimal digits over C(trees), a list of (root, relative names)."""
    total = hashlib.sha256(salt.encode())
    for root, names in trees:
        for name in names:
            path = pathlib.Path(root) / name if name else pathlib.Path(root)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            # The permission itself: access(2) also asks whether the file system allows to execute anything.
            executable = "x" if path.stat().st_mode & 0o100 else "-"
            total.update(os.fsencode(f"{name}\0{executable}\0{content}\n"))
        total.update(b"\0")
    return total.hexdigest()[:12]
