#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: stack_host
short_description: Parent cgroup, directories and sysctls that a stack stands on
version_added: "0.1.0"
description:
  - Makes what a stack needs on a host outside of the container engine, in one pass.
  - The parent cgroup carries the total memory limit of the stack, so that the kernel enforces
    the sum of all containers and not only each one. Every service has its own cgroup below it,
    which outlives the service's containers.
  - With the engine's systemd cgroup driver the cgroups are slice units, which systemd sets up
    again after a boot. With the cgroupfs driver they are directories, and systemd-tmpfiles sets the limit after a boot.
options:
  name:
    description: Name of the stack; the parent cgroup is called after it.
    type: str
    required: true
  cgroup_driver:
    description: The engine's cgroup driver.
    type: str
    choices: [cgroupfs, systemd]
    required: true
  cgroup_version:
    description: The host's cgroup version, as the engine reports it.
    type: int
    choices: [1, 2]
    required: true
  memory_limit:
    description: Limit of the parent cgroup in bytes, without swap. Required with O(state=present).
    type: int
  reservations:
    description: Service name to guaranteed memory in bytes. Each gets a cgroup of its own.
    type: dict
    default: {}
  directories:
    description: Directories with their owners, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      uid: {description: Owner., type: int, default: 0}
      gid: {description: Group., type: int, default: 0}
      mode: {description: "Permissions, an octal string.", type: str, default: "0755"}
  sysctls:
    description: Kernel settings, set now and after a boot.
    type: dict
    default: {}
  files:
    description: Small files by path, mode 0644. systemd reads its units again after one below C(/etc/systemd) changed.
    type: dict
    default: {}
  state:
    description:
      - V(present) makes it all. V(absent) removes the cgroups, the units, the sysctl file and O(files), and
        leaves directories and running values as they are.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: A line for each change, before and after.
    support: full
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Set a 2 GB limit over all containers of the stack
  sixty_sales.memory_optimized.stack_host:
    name: sixty
    cgroup_driver: systemd
    cgroup_version: 2
    memory_limit: 2147483648
    reservations: {redis: 33554432}
    directories:
      - {path: /srv/sixty, mode: "0711"}
    sysctls: {vm.overcommit_memory: 1}
"""

RETURN = r"""
steps:
  description: What was changed, or would be in check mode.
  type: list
  elements: dict
  returned: success
parent:
  description: Directory of the parent cgroup's memory files.
  type: str
  returned: success
  sample: /sys/fs/cgroup/sixty.slice
limit:
  description: The parent's limit in bytes as read back from the kernel; -1 is none, null is no cgroup yet.
  type: int
  returned: with O(state=present)
"""

import contextlib
import errno
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import cgroup
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import stack_host as core

# Exists where systemd is the init process (sd_booted(3)).
SYSTEMD = "/run/systemd/system"


def read_text(path):
    """A file's text, or None where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_number(path):
    """A cgroup file's number (-1 is C(max), no limit; 0 is nothing at all), or None where the file is absent."""
    text = read_text(path)
    if text is None:
        return None
    return -1 if text.strip() == "max" else int(text)


def write_text(path, text):
    """Write through a temporary file and a rename, so that no reader sees half a file."""
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
            os.fchmod(handle.fileno(), 0o644)
        os.replace(temporary, path)
    except OSError:
        # logrotate and others read every file of their directory.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_kernel(path, value):
    """A kernel file takes a value in one write and cannot be renamed over."""
    with open(path, "w", encoding="ascii") as handle:
        handle.write(str(value))


def is_size(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def remove_group(path):
    """Remove a cgroup; the engine may be taking down a container in it that ended a moment ago."""
    for _attempt in range(50):
        try:
            return os.rmdir(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        time.sleep(0.1)
    return os.rmdir(path)


class Host:
    """Observes and changes the host; every decision comes from module_utils."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.stack = module.params["name"]
        self.systemd = module.params["cgroup_driver"] == "systemd"
        self.version = module.params["cgroup_version"]
        self.parent = core.parent_directory(self.stack, module.params["cgroup_driver"], self.version)

    def run(self, *argv):
        code, out, err = self.module.run_command(list(argv))
        if code:
            self.module.fail_json(msg=f"{' '.join(argv)} ended with {code}: {(err or out).strip()}")
        return out

    # -- observe and plan

    def plan(self):
        params = self.params
        observed = {}
        for wish in params["directories"]:
            try:
                stat = os.stat(wish["path"])
            except FileNotFoundError:
                observed[wish["path"]] = None
            except OSError as error:
                self.module.fail_json(msg=f"{wish['path']} cannot be made: {error.strerror}. Nothing was changed.")
            else:
                observed[wish["path"]] = {
                    "uid": stat.st_uid,
                    "gid": stat.st_gid,
                    "mode": stat.st_mode & 0o7777,
                    "directory": os.path.isdir(wish["path"]),
                }
        try:
            wishes = [dict(wish, mode=int(wish["mode"], 8)) for wish in params["directories"]]
        except ValueError as error:
            self.module.fail_json(msg=f"A directory's mode is not an octal number: {error}. Nothing was changed.")
        steps, errors = core.plan_directories(wishes, observed)
        if errors:
            self.module.fail_json(msg=" ".join(errors))

        sysctl_file = core.sysctl_file(self.stack)
        # The kernel separates the numbers of one setting with tabs.
        values = {name: " ".join((read_text(self.sysctl_path(name)) or "").split()) for name in params["sysctls"]}
        steps += core.plan_sysctls(
            self.stack, params["sysctls"], {"values": values, "files": {sysctl_file: read_text(sysctl_file)}}
        )
        steps += core.plan_files("file", params["files"], {path: read_text(path) for path in params["files"]})
        return steps + (self.plan_slices() if self.systemd else self.plan_groups())

    def plan_slices(self):
        units = core.desired_units(self.stack, self.params["memory_limit"], self.params["reservations"])
        desired = {f"{core.UNIT_DIR}/{name}": text for name, text in units.items()}
        steps = core.plan_files("unit", desired, {path: read_text(path) for path in desired})
        started = {step["target"].rsplit("/", 1)[1] for step in steps}
        for name in sorted(units):
            path = self.parent if name == f"{self.stack}.slice" else f"{self.parent}/{name}"
            if name not in started and not os.path.isdir(path):
                steps.append({"kind": "slice", "target": name, "before": "stopped", "after": "started"})
                started.add(name)
        limit, wanted = self.limit(), core.page_floor(self.params["memory_limit"])
        # A run that ended between the unit and its reload left the kernel with the limit of before.
        if f"{self.stack}.slice" not in started and limit != wanted:
            steps.append({"kind": "slice", "target": f"{self.stack}.slice", "before": limit, "after": wanted})
        return steps

    def plan_groups(self):
        directories = [self.parent] + [f"{self.parent}/{service}" for service in sorted(self.params["reservations"])]
        steps = [
            {"kind": "cgroup", "target": path, "before": None, "after": "present"}
            for path in directories
            if not os.path.isdir(path)
        ]
        observed = {}
        made = os.path.isdir(self.parent)
        for name in core.limit_files(self.version):
            value = read_number(f"{self.parent}/{name}")
            root = f"{core.memory_root(self.version)}/{name}"
            # A cgroup that is yet to be made has the files that its siblings have.
            if value is not None or (not made and self.swap_accounting(root)):
                observed[name] = value
        boot = core.boot_file(self.stack)
        text = core.boot_lines(self.parent, self.version, self.params["memory_limit"])
        steps += core.plan_files("file", {boot: text}, {boot: read_text(boot)})
        return steps + core.plan_limits(self.parent, self.version, self.params["memory_limit"], observed)

    def swap_accounting(self, root_file):
        return os.path.exists(root_file) or (self.version == 2 and root_file.endswith("memory.swap.max"))

    @staticmethod
    def sysctl_path(name):
        return "/proc/sys/" + name.replace(".", "/")

    # -- apply

    def apply(self, steps):
        for step in steps:
            try:
                getattr(self, f"apply_{step['kind']}")(step["target"], step["after"])
            except OSError as error:
                self.module.fail_json(
                    msg=f"{step['target']} could not be changed from {step['before']!r} to {step['after']!r}: "
                    f"{error.strerror or error}. The steps before it stand; the next run goes on from here."
                )
        names = [step["target"].rsplit("/", 1)[-1] for step in steps if step["kind"] in ("unit", "slice")]
        self.reload_systemd(names + [step["target"] for step in steps if step["kind"] == "file"])
        if names:
            self.run("systemctl", "enable", "--quiet", *names)
            self.run("systemctl", "start", *names)

    def reload_systemd(self, changed):
        """Read the units again where C(changed), names of units and paths of files, has one."""
        units = [name for name in changed if "/" not in name or name.startswith("/etc/systemd/")]
        if units and os.path.isdir(SYSTEMD):
            self.run("systemctl", "daemon-reload")

    def apply_directory(self, path, wish):
        os.makedirs(path, exist_ok=True)
        os.chown(path, wish["uid"], wish["gid"])
        os.chmod(path, wish["mode"])

    def apply_sysctl(self, name, value):
        write_kernel(self.sysctl_path(name), value)

    def apply_file(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_text(path, text)

    apply_unit = apply_file

    def apply_slice(self, name, state):
        """Started together with the changed units, below."""

    def apply_cgroup(self, path, state):
        os.makedirs(path, exist_ok=True)
        if self.version == 2 and path == self.parent:
            # From the top down: the parent has a memory.max only where the root hands the controller on.
            for directory in (core.memory_root(2), path):
                write_kernel(f"{directory}/cgroup.subtree_control", "+memory +cpu +pids")

    def apply_cgroup_limit(self, path, value):
        # Swap accounting may be off in this kernel; then there is no file and nothing to forbid.
        if os.path.exists(path):
            write_kernel(path, value)

    def limit(self):
        return read_number(f"{self.parent}/{core.limit_files(self.version)[0]}")

    def used(self):
        """Memory of the stack that the kernel cannot take back; 0 where the stack has no cgroup yet."""
        path = self.parent[len(core.memory_root(self.version)) :]
        figures = cgroup.read(self.version, core.CGROUPS, {"": path, "memory": path}, read_text)
        return figures["unreclaimable"] if figures else 0

    # -- remove

    def leftovers(self):
        paths = [core.sysctl_file(self.stack), core.boot_file(self.stack), *self.params["files"]]
        if self.systemd:
            names = os.listdir(core.UNIT_DIR)
            prefixes = (f"{self.stack}.slice", f"{self.stack}-")
            paths += [
                f"{core.UNIT_DIR}/{name}" for name in names if name.startswith(prefixes) and name.endswith(".slice")
            ]
        return sorted(path for path in paths if os.path.exists(path)), self.groups()

    def groups(self):
        """The stack's cgroups in every hierarchy, deepest first (the engine makes one in each)."""
        if self.systemd:
            return []
        roots = [core.CGROUPS]
        if self.version == 1:
            # A link is a second name of a hierarchy: cpu of cpu,cpuacct.
            roots = [entry.path for entry in os.scandir(core.CGROUPS) if not entry.is_symlink()]
        found = []
        for root in roots:
            for directory, _children, _files in os.walk(f"{root}/{self.stack}", topdown=False):
                found.append(directory)
        return found

    def busy(self):
        """A cgroup of the stack that has a process in it, or None."""
        for directory, _children, files in os.walk(self.parent):
            if "cgroup.procs" in files and read_text(f"{directory}/cgroup.procs"):
                return directory
        return None

    def remove(self, files, groups):
        # Stopping a slice would kill what runs in it.
        busy = self.busy()
        if busy:
            self.module.fail_json(
                msg=f"A container of the stack is still running in the cgroup {busy}. Nothing was changed; remove the "
                "stack's containers first."
            )
        units = [os.path.basename(path) for path in files if path.endswith(".slice")]
        if units:
            self.run("systemctl", "disable", "--now", "--quiet", *units)
        for path in [*groups, *files]:
            try:
                (remove_group if path in groups else os.unlink)(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.module.fail_json(
                    msg=f"{path} could not be removed: {error.strerror}. What was removed before stays so; the next "
                    "run goes on from here."
                )
        self.reload_systemd(files)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "cgroup_driver": {"type": "str", "choices": ["cgroupfs", "systemd"], "required": True},
            "cgroup_version": {"type": "int", "choices": [1, 2], "required": True},
            "memory_limit": {"type": "int"},
            "reservations": {"type": "dict", "default": {}},
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "uid": {"type": "int", "default": 0},
                    "gid": {"type": "int", "default": 0},
                    "mode": {"type": "str", "default": "0755"},
                },
            },
            "sysctls": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("memory_limit",))],
        supports_check_mode=True,
    )
    params = module.params
    error = core.check_name(params["name"], params["cgroup_driver"])
    if error:
        module.fail_json(msg=error)
    wrong = [name for name, value in params["reservations"].items() if not is_size(value)]
    if params["memory_limit"] is not None and params["memory_limit"] < core.PAGE:
        wrong.append("memory_limit")
    if wrong:
        module.fail_json(msg=f"Not a size in bytes: {', '.join(sorted(wrong))}. Nothing was changed.")
    wrong = [path for path, text in params["files"].items() if not (isinstance(text, str) and os.path.isabs(path))]
    if wrong:
        module.fail_json(msg=f"Not an absolute path with a text: {', '.join(sorted(wrong))}. Nothing was changed.")
    # Directories above those that are named have to be open to containers' users.
    os.umask(0o022)
    host = Host(module)

    if module.params["state"] == "absent":
        files, groups = host.leftovers()
        if not module.check_mode:
            host.remove(files, groups)
        gone = files + groups
        module.exit_json(
            changed=bool(gone),
            parent=host.parent,
            steps=[{"kind": "remove", "target": path} for path in gone],
            diff={"before": "".join(f"{path}\n" for path in gone), "after": ""},
        )

    wanted = core.page_floor(module.params["memory_limit"])
    try:
        steps = host.plan()
        problem = core.tight(host.parent, host.limit(), wanted, host.used())
    except OSError as error:
        module.fail_json(msg=f"{error.filename} cannot be read: {error.strerror}. Nothing was changed.")
    if problem:
        module.fail_json(msg=problem)
    if not module.check_mode:
        host.apply(steps)
    limit = host.limit()
    if not module.check_mode and limit != wanted:
        module.fail_json(
            msg=f"The parent cgroup {host.parent} was given a limit of {wanted} bytes, and the kernel reports {limit}. "
            "Containers keep their own limits; find out who else writes this cgroup."
        )
    module.exit_json(changed=bool(steps), steps=steps, diff=core.diff(steps), parent=host.parent, limit=limit)


if __name__ == "__main__":
    main()
