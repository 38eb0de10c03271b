#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ruff: noqa: E402
from __future__ import annotations

DOCUMENTATION = r"""
module: config_tree
short_description: Land a whole directory of configuration at once, checked and reloaded
version_added: "0.1.0"
author: Sixty Sales DevOps Team (@sixty-sales)
description:
  - Renders a directory of templates on the controller and lands it on the host as C(path/trees/<digest>), then moves
    the relative link C(path/current) to it in one step. A reader sees the old tree or the new one, never a mixture.
  - The name of a tree is the digest of its file names, contents, modes and owners. An unchanged tree costs one module
    call that transfers nothing and does not ask the engine. A tree that was edited by hand on the host is noticed,
    reported and replaced.
  - Before the link moves, the program's own checker may read the new tree in a throw-away container of the image that
    will run it. When it refuses, the old tree keeps serving.
  - After the link has moved, the running container is told to reload, and what it sees is read back. A reload that
    failed, or that a killed play never sent, is due again on the next run.
  - B(Mount the directory O(path) into the container, read-only), never C(current) or a single file. A bind mount pins
    what it was given; only a link inside a mounted directory is seen to move.
notes:
  - In the templates directory, C(*.j2) is rendered as M(ansible.builtin.template) does (C(trim_blocks) is on) and loses
    its suffix; other files are copied, decrypted where they are vaulted. Hidden files and empty directories are taken.
    Leftovers of editors (C(*~), C(.*.sw?), C(#*#), C(.#*)) and C(.DS_Store) are left out. Symbolic links and special
    files are refused.
  - Secret files are never shown by C(--diff), and are sent as a file, since arguments reach the system log. The name of
    a tree depends on them as well, so a secret has to be long and random.
  - The landed files keep the modification time of an equal file in the tree before, so that HTTP validators stay valid.
requirements:
  - Python 3.9 or newer and Linux on the host.
  - Docker SDK for Python on the host, only when O(validate) or O(reload) has something to do.
attributes:
  check_mode:
    support: full
    description:
      - Touches nothing that stays. The checker runs on a temporary copy when its image is on the host already.
  diff_mode:
    support: full
    description:
      - Per file; the content of secret files alone is hidden.
options:
  name:
    description: Name of the service, used in messages and to name the checker's container.
    type: str
    required: true
  path:
    description:
      - Directory on the host that holds C(trees/) and C(current). Created when it is missing.
    type: path
    required: true
  src:
    description:
      - Directory on the controller. A relative one is searched as M(ansible.builtin.template) searches its O(src).
      - Without it the role's C(templates/) directory is taken; if that is missing, the tree is O(extra_files) alone.
    type: str
  exclude:
    description: Patterns of files below O(src) that are left out, such as parts that are only included by others.
    type: list
    elements: str
    default: []
  render:
    description: Whether C(*.j2) files are rendered. V(false) copies every file as it is, such as a frontend bundle.
    type: bool
    default: true
  extra_files:
    description:
      - Files by content, such as secrets. The key is the name in the tree, the value a dictionary with C(content), a
        text, and C(secret), V(true) unless it says otherwise.
    type: dict
    default: {}
  permissions:
    description:
      - The first matching entry gives a file its owner, group and mode. Without one a file is 0:0 0644 (a secret one
        0440) and a directory 0:0 0755.
      - A directory without an entry of its own that holds only secret files becomes 0750 with the group of these
        files (0711 when their groups differ).
    type: list
    elements: dict
    default: []
    suboptions:
      pattern:
        description:
          - Shell pattern for the name in the tree; C(*) also matches a slash. One that ends in a slash is for
            directories only (C(./) is the tree itself), any other for files only.
        type: str
        required: true
      owner:
        description: User, as a number or a name that the host knows.
        type: raw
        default: 0
      group:
        description: Group, as a number or a name that the host knows.
        type: raw
        default: 0
      mode:
        description: Quoted octal digits. By default 0644, 0440 when secret; directories 0755, 0750 when secret.
        type: raw
      secret:
        description: Whether content is hidden in diffs and messages.
        type: bool
        default: false
  validate:
    description:
      - How the new tree is checked before it is served. The container has no network, no capabilities and a read-only
        root, and is removed in any case.
    type: dict
    suboptions:
      image:
        description: The image that will run the configuration. It must be on the host.
        type: str
        required: true
      command:
        description: The checker and its arguments, run without the image's entry point.
        type: list
        elements: str
        required: true
      mount:
        description: Where the new tree is mounted, normally where the service sees C(current).
        type: str
        default: /etc/sixty/current
      user:
        description: The user of the service, such as V(101:101). By default the image's own.
        type: str
      env:
        description: Environment of the checker.
        type: dict
        default: {}
      tmpfs:
        description: Writable places. The value is a size (V(8M)) or mount options.
        type: dict
        default: {}
      memory:
        description: Memory limit of the checker, without swap.
        type: str
        default: 128M
      timeout:
        description: Seconds after which the checker is killed and the tree refused.
        type: int
        default: 30
  reload:
    description:
      - How the running container comes to read the new tree. Without it, recreate the container when RV(tree) changes,
        by a label.
      - A container that does not run needs nothing - it reads the new tree when it starts.
    type: dict
    suboptions:
      container:
        description: Name of the container.
        type: str
        required: true
      signal:
        description:
          - Signal for its main process. Refused when neither it nor, behind an init, a child of it handles the signal.
        type: str
      command:
        description: Command that is run inside it and must end with 0.
        type: list
        elements: str
      restart:
        description:
          - Restart it, with its own stop signal and time. For a program that reads its configuration only at a start.
        type: bool
        default: false
      restart_when:
        description:
          - Command that is run inside it after the reload and O(reload.verify), once. With 0 it says that some of the
            new configuration takes a restart, which then follows, and with 1 that none does. Anything else is no answer
            and an error, and the next run asks again.
        type: list
        elements: str
      verify:
        description:
          - Command that is run inside it after the reload, and after a restart, once a second until it ends with 0. A
            signal gives no answer, so this is how a program says that it took the new configuration.
        type: list
        elements: str
      timeout:
        description:
          - Seconds within which the command, and then O(reload.verify), must have ended with 0. After a restart they
            begin anew.
        type: int
        default: 30
  keep:
    description:
      - How many trees before the current one are kept. At least 1, since a container that was not yet recreated reads
        that one. Going back to a kept tree transfers nothing.
    type: int
    default: 3
  _manifest:
    description: Set by the action plugin, not for playbooks.
    type: str
  _archive:
    description: Set by the action plugin, not for playbooks.
    type: path
"""

EXAMPLES = r"""
- name: Land the configuration of nginx
  sixty_sales.memory_optimized.config_tree:
    name: nginx
    path: /srv/sixty/config/nginx
    permissions:
      - {pattern: "secrets/*", group: 101, mode: "0440", secret: true}
    extra_files:
      secrets/tls.key: {content: "{{ nginx_tls_key }}"}
    validate:
      image: sixty/nginx:1
      command: [nginx, -t, -c, /etc/sixty/current/nginx.conf]
      user: "101:101"
      tmpfs: {/tmp: 8M}
    reload:
      container: sixty-nginx
      signal: HUP
  register: nginx_config

- name: Land a frontend bundle as it is
  sixty_sales.memory_optimized.config_tree:
    name: frontend
    path: /srv/sixty/config/frontend
    src: "{{ playbook_dir }}/app/frontend/dist"
    render: false

- name: A program that reads its file only when it starts
  sixty_sales.memory_optimized.config_tree:
    name: redis
    path: /srv/sixty/config/redis
    reload:
      container: sixty-redis
      restart: true
      verify: [redis-cli, ping]
"""

RETURN = r"""
digest:
  description: Digest of the names, contents, modes and owners of the wanted tree.
  returned: success
  type: str
  sample: 5f0c9d1b6c6b4d2c8a4e1f7a90b3c2d1
tree:
  description: Name of its directory. The digest, with C(.1) or so behind it after a tree edited by hand was replaced.
  returned: success
  type: str
  sample: 5f0c9d1b6c6b4d2c8a4e1f7a90b3c2d1
current:
  description: The link that services read.
  returned: success
  type: str
  sample: /srv/sixty/config/nginx/current
files:
  description: Lists C(added), C(changed) and C(removed) of names against the tree that was served.
  returned: success
  type: dict
drift:
  description: Names that were changed by hand on the host in the tree that was served.
  returned: success
  type: list
  elements: str
validated:
  description: What became of the checker, V(passed), V(not needed), or why it was skipped (only in check mode).
  returned: success
  type: str
reloaded:
  description: Whether the running container was told to reload or restarted (in check mode, would be).
  returned: success
  type: bool
restarted:
  description:
    - Whether the running container was restarted. Check mode does not know what O(reload.restart_when) would say.
  returned: success
  type: bool
pruned:
  description: Old trees that were removed.
  returned: success
  type: list
  elements: str
"""

import calendar
import contextlib
import errno
import fcntl
import grp
import hashlib
import json
import os
import pwd
import shutil
import signal
import stat
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import config_tree as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.config_tree import (
    ConfigTreeError,
    Container,
    Entry,
    Manifest,
)

LOCK_SECONDS = 120
LABEL = "sixty_sales.config_tree"
STAGING = ".staging-"


# --- the directory on the host --------------------------------------------------------------------------------


def resolve(manifest: Manifest) -> Manifest:
    """The manifest with numeric owners and groups."""

    def number(value: Any, what: str, name: str) -> int:
        if isinstance(value, int):
            return value
        try:
            return pwd.getpwnam(value).pw_uid if what == "owner" else grp.getgrnam(value).gr_gid
        except KeyError:
            raise ConfigTreeError(
                f"{name}: this host knows no {what} {value!r}; nothing was changed. Use the container's number"
            ) from None

    return {
        name: entry._replace(owner=number(entry.owner, "owner", name), group=number(entry.group, "group", name))
        for name, entry in manifest.items()
    }


def scan(tree: str) -> Manifest:
    """What a directory holds now. What is neither file nor directory gets a hash that nothing wanted has."""
    found: Manifest = {}

    def visit(path: str, name: str) -> None:
        info = os.lstat(path)
        access = (f"{stat.S_IMODE(info.st_mode):04o}", info.st_uid, info.st_gid)
        if stat.S_ISDIR(info.st_mode):
            found[name] = Entry(*access)
            for child in os.listdir(path):
                visit(os.path.join(path, child), child if name == core.ROOT else f"{name}/{child}")
        elif stat.S_ISREG(info.st_mode):
            with open(path, "rb") as handle:
                found[name] = Entry(*access, hashlib.sha256(handle.read()).hexdigest(), info.st_size)
        else:
            found[name] = Entry(*access, "neither file nor directory")

    visit(tree, core.ROOT)
    return found


def flush_directory(path: str) -> None:
    """Makes what happened to the names in a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: str, text: str) -> None:
    """The whole text or the old file, for root alone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.new")
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(f"{path}.new", path)
    flush_directory(os.path.dirname(path))


def unpack(archive: str, manifest: Manifest, target: str, before: str, old: Manifest) -> None:
    """Makes the tree in ``target``, from an archive that is believed only as far as the manifest's hashes go."""
    os.mkdir(target, 0o700)
    directories = sorted(name for name in manifest if manifest[name].sha256 is None and name != core.ROOT)
    for name in directories:
        os.mkdir(os.path.join(target, name), 0o700)
    missing = {name for name in manifest if manifest[name].sha256 is not None}
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            entry = manifest.get(member.name)
            source = tar.extractfile(member) if member.isreg() else None
            if entry is None or source is None or member.name not in missing:
                raise ConfigTreeError(f"the transferred archive holds {member.name!r}, which is not wanted; run again")
            content = source.read()
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                raise ConfigTreeError(f"{member.name} did not arrive as it was sent; run again")
            path = os.path.join(target, member.name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fchown(handle.fileno(), int(entry.owner), int(entry.group))
                os.fchmod(handle.fileno(), int(entry.mode, 8))
                if member.name in old and old[member.name].sha256 == entry.sha256:
                    # An equal file keeps its time: web servers make ETag and Last-Modified from it.
                    moment = os.stat(os.path.join(before, member.name)).st_mtime_ns
                    os.utime(handle.fileno(), ns=(moment, moment))
                os.fsync(handle.fileno())
            missing.discard(member.name)
    if missing:
        raise ConfigTreeError(f"the transferred archive lacks {', '.join(sorted(missing)[:5])}; run again")
    # Deepest first: a directory is closed once nothing more has to be made in it.
    for name in [*reversed(directories), core.ROOT]:
        path = os.path.join(target, name)
        os.chown(path, int(manifest[name].owner), int(manifest[name].group))
        os.chmod(path, int(manifest[name].mode, 8))
        flush_directory(path)


class Store:
    """C(path) with C(trees/), C(current) and C(loaded)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.trees = os.path.join(path, "trees")
        self.link = os.path.join(path, "current")

    def tree(self, name: str) -> str:
        """The directory of a tree."""
        return os.path.join(self.trees, name)

    def exists(self) -> bool:
        """Whether there is a directory; raises when something else is in its place."""
        part = self.path
        while part != "/" and not os.path.lexists(part):
            part = os.path.dirname(part)
        if not os.path.isdir(part):
            raise ConfigTreeError(f"{part} is not a directory, as {self.path} needs; nothing was changed. Move it away")
        return part == self.path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time; the lock is on the directory itself, so that check mode leaves nothing behind."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            ends = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > ends:
                        raise ConfigTreeError(
                            f"another run has held the lock on {self.path} for more than {LOCK_SECONDS} s; nothing was"
                            f" changed. `fuser -v {self.path}` shows it"
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(handle)

    def current(self) -> str | None:
        """The name of the tree that is served."""
        if not os.path.lexists(self.link):
            return None
        if not os.path.islink(self.link):
            raise ConfigTreeError(f"{self.link} is not a link; nothing was changed. Move it away, then run again")
        name = os.path.basename(os.readlink(self.link))
        return name if core.TREE_NAME.fullmatch(name) and os.path.isdir(self.tree(name)) else None

    def swapped_at(self) -> float:
        """When the link moved last, in seconds since 1970."""
        return os.lstat(self.link).st_mtime

    def landed(self) -> dict[str, float]:
        """All trees, with when they landed or were last gone back to."""
        if not os.path.isdir(self.trees):
            return {}
        found = {}
        for name in os.listdir(self.trees):
            if core.TREE_NAME.fullmatch(name):
                record = f"{self.tree(name)}.json"
                found[name] = os.stat(record).st_mtime if os.path.exists(record) else 0.0
        return found

    def recorded(self, name: str | None) -> Manifest | None:
        """What a tree held when it landed; None without a readable record."""
        try:
            with open(f"{self.tree(name or '')}.json", encoding="utf-8") as handle:
                return core.load_manifest(handle.read())
        except (FileNotFoundError, ConfigTreeError):
            return None

    def loaded(self) -> dict[str, Any]:
        """Which tree was loaded, and by which container; empty when that is not known."""
        try:
            with open(os.path.join(self.path, "loaded"), encoding="utf-8") as handle:
                record = json.load(handle)
        except (FileNotFoundError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def set_loaded(self, tree: str, name: str, container: Container | None) -> None:
        """Records who reads the current tree; a missing container stands for: whoever starts from now on."""
        record: dict[str, Any] = {"tree": tree, "digest": tree.split(".")[0], "name": name, "container": None}
        if container is not None:
            record.update(container=container.id, started=container.started)
        write_atomically(os.path.join(self.path, "loaded"), json.dumps(record) + "\n")

    def forget_loaded(self) -> None:
        """From here on, a run that is killed leaves the reload due."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, "loaded"))
            flush_directory(self.path)

    def check_space(self, manifest: Manifest) -> None:
        """Raises when the tree does not fit, with the numbers."""
        place = self.path
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        disk = os.statvfs(place)
        needed, free = core.space_needed(manifest, disk.f_frsize), disk.f_bavail * disk.f_frsize
        if needed > free:
            raise ConfigTreeError(f"disk full: {needed} bytes needed, {free} free below {place}; nothing was changed")
        # Some file systems (btrfs) have no fixed number of inodes and say 0.
        if disk.f_files and len(manifest) + 3 > disk.f_favail:
            raise ConfigTreeError(
                f"disk full: {len(manifest) + 3} inodes needed, {disk.f_favail} free below {place}; nothing was changed"
            )

    def clean(self) -> None:
        """Removes what killed runs left."""
        for name in os.listdir(self.trees):
            record = name.endswith(".json") and not os.path.isdir(os.path.join(self.trees, name[:-5]))
            if name.startswith(STAGING):
                shutil.rmtree(os.path.join(self.trees, name))
            elif record or name.endswith(".new"):
                os.unlink(os.path.join(self.trees, name))

    def stage(self, archive: str, manifest: Manifest, name: str, current: str | None, live: Manifest) -> str:
        """Unpacks beside the live tree; on failure nothing of it stays."""
        target = self.tree(STAGING + name)
        try:
            unpack(archive, manifest, target, self.tree(current or ""), live)
        except BaseException as error:
            shutil.rmtree(target, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                disk = os.statvfs(self.trees)
                raise ConfigTreeError(
                    f"disk full while staging: {core.space_needed(manifest, disk.f_frsize)} bytes needed,"
                    f" {disk.f_bavail * disk.f_frsize} free below {self.path} ({error.strerror});"
                    " the staged tree was removed, the old one is untouched"
                ) from error
            raise
        return target

    def swap(self, name: str, manifest: Manifest, staged: str | None) -> None:
        """Gives a staged tree its name, then moves the link; a kept tree only gets the link."""
        write_atomically(f"{self.tree(name)}.json", core.dump_manifest(manifest))
        if staged is not None:
            os.rename(staged, self.tree(name))
            flush_directory(self.trees)
        new = f"{self.link}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        os.symlink(os.path.join("trees", name), new)
        os.replace(new, self.link)
        flush_directory(self.path)

    def prune(self, current: str, keep: int) -> list[str]:
        """Removes old trees; returns their names."""
        names = core.prunable(self.landed(), current, keep)
        for name in names:
            # The name goes first: a removal that is cut short is cleaned up as staging.
            gone = self.tree(STAGING + name)
            os.rename(self.tree(name), gone)
            shutil.rmtree(gone)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.tree(name)}.json")
        return names


# --- the engine -----------------------------------------------------------------------------------------------


class EngineLacking(Exception):
    """No SDK, no engine or no image: only check mode may go on without it."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when the block takes longer (the SDK reads the output of a command without a limit)."""

    def expire(_number: int, _frame: Any) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Engine:
    """The few things that are asked of Docker; the SDK is imported when the first of them is."""

    def __init__(self) -> None:
        try:
            import docker
            import requests.exceptions
        except ImportError as error:
            raise EngineLacking(f"the Docker SDK for Python is missing ({error}); install python3-docker") from error
        self.docker = docker
        self.timeouts = (requests.exceptions.ConnectionError, requests.exceptions.Timeout)
        self.errors = (docker.errors.DockerException, requests.exceptions.RequestException)
        try:
            self.client = docker.from_env()
            self.client.ping()
        except self.errors as error:
            raise EngineLacking(f"the Docker engine does not answer: {error}") from error

    def require_image(self, image: str) -> None:
        """Raises when it would have to be fetched first."""
        try:
            self.client.images.get(image)
        except self.docker.errors.ImageNotFound:
            raise EngineLacking(f"the image {image} is not on this host; build, pull or load it first") from None

    def find(self, name: str) -> Container | None:
        """The container of that name as it is now."""
        try:
            data = self.client.api.inspect_container(name)
        except self.docker.errors.NotFound:
            return None
        state = data["State"]
        return Container(
            name,
            data["Id"],
            bool(state["Running"]) and not state.get("Restarting", False),
            started_seconds(state["StartedAt"]),
            int(state.get("Pid") or 0),
            tuple((mount.get("Source", ""), mount["Destination"]) for mount in data.get("Mounts", [])),
        )

    def check(self, service: str, path: str, tree: str, options: dict[str, Any]) -> tuple[int | None, str]:
        """Runs the checker on a tree; (exit code, output), the code None when it did not end in time."""
        for left in self.client.containers.list(all=True, filters={"label": f"{LABEL}={path}"}):
            left.remove(force=True, v=True)  # from a run that was killed
        mount = self.docker.types.Mount(options["mount"], tree, type="bind", read_only=True)
        container = self.client.containers.create(
            options["image"],
            name=f"config-check-{service}-{os.getpid()}",
            labels={LABEL: path},
            entrypoint=options["command"],
            mounts=[mount],
            user=options["user"],
            environment=options["env"],
            tmpfs={at: f"size={size}" if str(size)[:1].isdigit() else size for at, size in options["tmpfs"].items()},
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=64,
            mem_limit=options["memory"],
            memswap_limit=options["memory"],
        )
        try:
            container.start()
            try:
                code = container.wait(timeout=options["timeout"])["StatusCode"]
            except self.timeouts:
                code = None
            return code, container.logs(tail=200).decode("utf-8", "replace")
        finally:
            container.remove(force=True, v=True)

    def restart(self, name: str) -> None:
        """Stops a container as it wants to be stopped, and starts it again."""
        container = self.client.containers.get(name)
        # The SDK's own time is 10 s, whatever the container's is.
        container.restart(timeout=container.attrs["Config"].get("StopTimeout") or 10)

    def run(self, name: str, command: list[str], seconds: float) -> tuple[int, str]:
        """Runs a command inside a container; (exit code, output), 124 when it did not end in time."""
        try:
            with deadline(max(seconds, 1)):
                code, output = self.client.containers.get(name).exec_run(command)
        except TimeoutError as error:
            return 124, str(error)
        return code, (output or b"").decode("utf-8", "replace")

    def logs(self, name: str, since: float) -> str:
        """What a container wrote since then, in seconds since 1970."""
        return self.client.api.logs(name, since=int(since), tail=20).decode("utf-8", "replace")


def started_seconds(text: str) -> float:
    """Seconds since 1970 of the engine's time stamp, which has up to nine digits behind the point."""
    whole, _dot, fraction = text.rstrip("Z").partition(".")
    seconds = time.strptime(f"{whole[:19]} +0000", "%Y-%m-%dT%H:%M:%S %z")
    return calendar.timegm(seconds) + float(f"0.{fraction or 0}")


def handles(pid: int, number: int) -> bool:
    """Whether a process does something about a signal. An init passes signals to its children: it blocks them, and the
    kernel does not even show that while it sits in sigtimedwait."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as handle:
        handled, blocked = core.caught(handle.read(), number)
    with open(f"/proc/{pid}/wchan", encoding="ascii") as handle:
        passes_on = blocked or handle.read().startswith("do_sigtimedwait")
    if handled or not passes_on:
        return handled
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as handle:
        children = [int(child) for child in handle.read().split()]
    return not children or any(handles(child, number) for child in children)


def check_seen(container: Container, store: Store, tree: str) -> None:
    """Raises unless the container's own view of C(current) is the new tree."""
    places = (core.inside_path(path, container.mounts) for path in (store.path, os.path.realpath(store.path)))
    inside = next((place for place in places if place), None)
    if inside is None:
        mounted = ", ".join(source for source, _target in container.mounts) or "nothing"
        raise ConfigTreeError(
            f"it does not mount {store.path} (it mounts {mounted}); mount that directory itself, since a mounted link"
            " or file stays what it was"
        )
    link = f"{inside}/current"
    try:
        seen = os.readlink(f"/proc/{container.pid}/root{link}")
    except OSError as error:
        raise ConfigTreeError(f"what it sees at {link} cannot be read: {error.strerror}") from error
    if os.path.basename(seen) != tree:
        raise ConfigTreeError(
            f"it sees {seen} at {link}, not trees/{tree}: the directory is not the one it mounted; recreate it"
        )


def tell(engine: Engine, container: Container, options: dict[str, Any], run: Callable[[list[str]], str]) -> None:
    """Has a running program read its configuration again."""
    if options["signal"]:
        number = core.check_signal(options["signal"])
        if not handles(container.pid, number):
            raise ConfigTreeError(f"its main process does not handle {options['signal']}, so that was not sent")
        # Past the engine, which takes any signal for a stop and never restarts the container (moby/moby#41302).
        os.kill(container.pid, number)
    elif options["command"]:
        refusal = run(options["command"])
        if refusal:
            raise ConfigTreeError(refusal)


def reload(engine: Engine, store: Store, tree: str, container: Container, options: dict[str, Any]) -> bool:
    """Tells a running container or restarts it, and believes it only as far as it can be read back; whether it was
    restarted."""
    name, seconds, first = container.name, options["timeout"], time.time()
    began, restarts = first, options["restart"]

    def ask(command: list[str]) -> tuple[int, str]:
        code, output = engine.run(name, command, began + seconds - time.time())
        return code, f"{' '.join(command)} ended with {code}: {core.readable(output, store.path)}" if code else ""

    def run(command: list[str]) -> str:
        return ask(command)[1]

    def verify() -> None:
        refusal = run(options["verify"]) if options["verify"] else ""
        while refusal:
            if time.time() > began + seconds:
                raise ConfigTreeError(f"after {seconds} s, {refusal}")
            time.sleep(1)
            refusal = run(options["verify"])

    try:
        check_seen(container, store, tree)
        if not restarts:
            tell(engine, container, options, run)
            verify()
            code, refusal = ask(options["restart_when"]) if options["restart_when"] else (1, "")
            if code not in (0, 1):
                raise ConfigTreeError(refusal)
            restarts = code == 0
        if restarts:
            engine.restart(name)
            began = time.time()
            container = engine.find(name) or container
            verify()
        time.sleep(0.3)  # a program that dies of its new configuration does so within this time
        after = engine.find(name)
        if after is None or not after.running or after.started != container.started:
            when = "after its restart" if restarts else "while reloading"
            raise ConfigTreeError(f"it stopped or was restarted {when}")
    except (ConfigTreeError, OSError, *engine.errors) as error:
        try:
            log = core.readable(engine.logs(name, first), store.path, lines=8)
        except engine.errors as gone:
            log = f"(cannot be read: {gone})"
        raise ConfigTreeError(
            f"{store.link} is the new tree, but the container {name} has not loaded it: {error}."
            " The next run tries again." + (f" Its log since then:\n{log}" if log else "")
        ) from error
    return restarts


# --- the module -----------------------------------------------------------------------------------------------


def validate_tree(module: AnsibleModule, engine: Engine, tree: str, manifest: Manifest) -> str:
    """Fails the module when the program's own checker refuses the tree."""
    options, name, path = module.params["validate"], module.params["name"], module.params["path"]
    try:
        code, output = engine.check(name, path, tree, options)
    except engine.errors as error:
        raise ConfigTreeError(
            f"the checker cannot be run in {options['image']}: {error}; nothing was changed"
        ) from error
    if code == 0:
        return "passed"
    secrets = []
    for file_name, entry in manifest.items():
        if entry.secret:
            with open(os.path.join(tree, file_name), encoding="utf-8", errors="replace") as handle:
                secrets.append(handle.read())
    output = core.readable(core.mask(output, secrets), options["mount"])
    why = f"ended with {code}" if code is not None else f"did not end within {options['timeout']} s and was killed"
    if code == 137:
        why += f" (killed: its memory limit is {options['memory']})"
    return module.fail_json(
        msg=f"{name}: the new configuration was refused, the old one keeps serving: {' '.join(options['command'])} in"
        f" {options['image']} {why}:\n{output or '(no output)'}",
        _checker_output=output,
    )


def old_contents(
    store: Store, current: str | None, live: Manifest, names: list[str], hidden: list[str]
) -> dict[str, str]:
    """The readable contents that a diff shows as they were."""
    found = {}
    for name in names:
        if name in live and live[name].sha256 is not None and name not in hidden and current:
            path = os.path.join(store.tree(current), name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as handle:
                    found[name] = core.text_or_note(handle.read())
            else:
                found[name] = "(neither a file nor a directory)\n"
    return found


def converge(module: AnsibleModule, store: Store, manifest: Manifest, exists: bool) -> dict[str, Any]:
    """Reads, plans and, outside check mode, applies; the lock is held by the caller."""
    params, archive, wanted = module.params, module.params["_archive"], module.params["reload"]
    current = store.current() if exists else None
    live = scan(store.tree(current)) if current else {}
    landed = store.landed() if exists else {}
    recorded = store.recorded(current) if current else {}
    digest = core.digest_of(manifest)
    alike = {
        name: live if name == current else scan(store.tree(name)) for name in landed if name.split(".")[0] == digest
    }
    plan = core.plan(
        manifest,
        current,
        live,
        recorded,
        landed,
        [name for name, found in alike.items() if core.digest_of(found) == digest],
    )
    moves, lands = plan.action != "none", plan.action == "land"
    result: dict[str, Any] = {
        "changed": moves,
        "digest": digest,
        "tree": plan.tree,
        "current": store.link,
        "files": plan.changes._asdict(),
        "drift": plan.drift,
        "validated": "not needed",
        "reloaded": False,
        "restarted": False,
        "pruned": [],
    }
    if not moves and (not wanted or core.is_loaded(store.loaded(), plan.tree, wanted["container"])):
        return result
    if moves and module._diff:
        hidden = sorted(core.hidden_names(live, recorded, manifest))
        names = [name.rstrip("/") for name in plan.changes.names()]
        result["_old"] = {
            # As data: a text that equals the hidden argument would be blanked on its way back.
            "before": core.to_data(live),
            "after": core.to_data(manifest),
            "contents": old_contents(store, current, live, names, hidden),
            "hidden": hidden,
        }
    if lands:
        store.check_space(manifest)
        if archive is None and not module.check_mode:
            return {**result, "_archive_needed": True}

    engine: Engine | None = None
    checks = bool(moves and params["validate"])
    if checks or wanted:
        try:
            engine = Engine()
            if checks:
                engine.require_image(params["validate"]["image"])
        except EngineLacking as error:
            if not module.check_mode or not moves:
                raise ConfigTreeError(f"{error}; nothing was changed") from error
            result["validated"] = f"skipped: {error}" if checks else "not needed"
            checks = False
    container = engine.find(wanted["container"]) if engine and wanted else None

    if module.check_mode:
        if checks and engine:
            if lands and archive is None:
                return {**result, "_archive_needed": True}
            with tempfile.TemporaryDirectory(dir=module.tmpdir) as scratch:
                tree = store.tree(plan.tree)
                if lands:
                    tree = os.path.join(scratch, "tree")
                    unpack(archive, manifest, tree, store.tree(current or ""), live)
                result["validated"] = validate_tree(module, engine, tree, manifest)
        due = container is not None and container.running if moves else core.reload_due(container, store.swapped_at())
        return {**result, "changed": moves or due, "reloaded": due, "restarted": due and wanted["restart"]}

    if moves:
        os.makedirs(store.trees, mode=0o755, exist_ok=True)
        store.clean()
        staged = store.stage(archive, manifest, plan.tree, current, live) if lands else None
        try:
            if checks and engine:
                result["validated"] = validate_tree(module, engine, staged or store.tree(plan.tree), manifest)
            store.forget_loaded()
            store.swap(plan.tree, manifest, staged)
        finally:
            if staged:
                shutil.rmtree(staged, ignore_errors=True)
    if wanted and engine:
        container = engine.find(wanted["container"])
        if container is not None and core.reload_due(container, store.swapped_at()):
            result["restarted"] = reload(engine, store, plan.tree, container, wanted)
            result["reloaded"] = result["changed"] = True
            container = engine.find(wanted["container"])
        store.set_loaded(plan.tree, wanted["container"], container if container and container.running else None)
    if moves:
        result["pruned"] = store.prune(plan.tree, params["keep"])
    return result


def specification() -> dict[str, Any]:
    """The arguments; those with an underscore come from the action plugin."""
    return dict(
        name=dict(type="str", required=True),
        path=dict(type="path", required=True),
        src=dict(type="str"),
        exclude=dict(type="list", elements="str", default=[]),
        render=dict(type="bool", default=True),
        extra_files=dict(type="dict", default={}, no_log=True),
        permissions=dict(
            type="list",
            elements="dict",
            default=[],
            options=dict(
                pattern=dict(type="str", required=True),
                owner=dict(type="raw", default=0),
                group=dict(type="raw", default=0),
                mode=dict(type="raw"),
                secret=dict(type="bool", default=False, no_log=False),
            ),
        ),
        validate=dict(
            type="dict",
            options=dict(
                image=dict(type="str", required=True),
                command=dict(type="list", elements="str", required=True),
                mount=dict(type="str", default="/etc/sixty/current"),
                user=dict(type="str"),
                env=dict(type="dict", default={}),
                tmpfs=dict(type="dict", default={}),
                memory=dict(type="str", default="128M"),
                timeout=dict(type="int", default=30),
            ),
        ),
        reload=dict(
            type="dict",
            options=dict(
                container=dict(type="str", required=True),
                signal=dict(type="str"),
                command=dict(type="list", elements="str"),
                restart=dict(type="bool", default=False),
                restart_when=dict(type="list", elements="str"),
                verify=dict(type="list", elements="str"),
                timeout=dict(type="int", default=30),
            ),
            mutually_exclusive=[("signal", "command")],
        ),
        keep=dict(type="int", default=3),
        # Hashes of short secrets can be guessed, so the manifest stays out of the log as well.
        _manifest=dict(type="str", no_log=True),
        _archive=dict(type="path"),
    )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=specification(), supports_check_mode=True)
    params = module.params
    try:
        if params["_manifest"] is None:
            raise ConfigTreeError("this module is half of an action: run it as a task, not by itself")
        if params["keep"] < 1:
            raise ConfigTreeError(f"keep is {params['keep']}: at least 1, which a container not yet recreated reads")
        core.check_reload(params["reload"])
        store = Store(core.check_path(params["path"]))
        manifest = resolve(core.load_manifest(params["_manifest"]))
        exists = store.exists()
        if not exists and not module.check_mode and params["_archive"]:
            store.check_space(manifest)
            os.makedirs(store.path, mode=0o755, exist_ok=True)  # another play may have made it since
            exists = True
        with store.locked() if exists else contextlib.nullcontext():
            result = converge(module, store, manifest, exists)
    except ConfigTreeError as error:
        module.fail_json(msg=f"{params['name']}: {error}")
    except OSError as error:
        served = os.readlink(store.link) if os.path.islink(store.link) else "nothing yet"
        module.fail_json(
            msg=f"{params['name']}: {error.filename or store.path}: {error.strerror}; what is served: {served}",
            exception=traceback.format_exc(),
        )
    if result["drift"] and not result.get("_archive_needed"):
        module.warn(f"{params['name']}: changed by hand on the host, and replaced: {', '.join(result['drift'])}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
