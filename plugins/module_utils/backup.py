# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: a dump that was restored elsewhere to see that it can be, those that are kept, a copy on another host.

What runs on the host is the modules', and the timer's where there is no Ansible: C(task) is a module, or what has the
same C(params), C(check_mode) and C(warn). Only the standard library, docker and (for copies) age are needed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import postgres_dump as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import postgres_dump_host as host
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.postgres_dump import DumpError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import Failed, Records
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import MIB, human
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.stack_host import cgroup_parent

COPY = ".tar.age"
BAD = ".bad"
# Stands for the file in a command that copies it.
PLACEHOLDER = "{}"
SERVICE = "backup_verify"
# Seconds that a verification waits for a deploy, which wants the same memory, and for its PostgreSQL.
PATIENCE, START_SECONDS = 900, 120
# A shim is beside the limit of its container (containerd/containerd#7878).
OVERHEAD = 11 * MIB

# The data are on disk and are thrown away: nothing of it has to survive a crash.
START = (
    'set -eu; rm -rf "$PGDATA"; initdb --pgdata="$PGDATA" --username=postgres --encoding=UTF8 --locale=C.UTF-8 '
    '--auth-local=peer --auth-host=reject --no-sync >/dev/null; exec postgres -D "$PGDATA" "$@"'
)
THROW_AWAY = {
    "listen_addresses": "",
    "unix_socket_directories": "/run/postgresql",
    "max_connections": "8",
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "128MB",
    "max_parallel_workers": "0",
    "jit": "off",
    # A backend that the kernel killed ends it all, so that nobody takes that for the dump's fault.
    "restart_after_crash": "off",
}
# What may befall it, and says nothing of the dump.
BLAMELESS = ("did not end within", "No space left on device")


class Unfit(DumpError):
    """A dump that cannot be restored, or not to what was dumped."""


class Task:
    """What the functions of the host ask a module for, where there is none."""

    def __init__(self, params, warn, check_mode=False):
        self.params, self.warn, self.check_mode = params, warn, check_mode


def check_arguments(params: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """What is wrong with the arguments, or None."""
    error = core.check_arguments(params)
    if error:
        return error
    for name in ("keep_daily", "keep_weekly", "keep_monthly", "disk_budget"):
        if params[name] < 0:
            return f"{name} is {params[name]}. Nothing was changed. It is a number that is not negative."
    copy = params["copy"] or {}
    if bool(copy.get("command")) != bool(copy.get("recipients")):
        missing = "recipients" if copy.get("command") else "command"
        return (
            f"A copy has a command and recipients, and {missing} is missing: what leaves the host is encrypted. "
            "Nothing was changed."
        )
    if copy.get("command") and PLACEHOLDER not in copy["command"]:
        return f"{' '.join(copy['command'])} does not name the file, with {PLACEHOLDER}. Nothing was changed."
    return None


def schedule(params: t.Mapping[str, t.Any]) -> core.Schedule:
    return core.Schedule(*(params[name] for name in ("keep_daily", "keep_weekly", "keep_monthly", "disk_budget")))


def verify_command(spec: t.Mapping[str, t.Any], driver: str) -> list[str]:
    """Arguments of C(docker) for the PostgreSQL that a dump is restored into, hardened as roles/container does.

    It is in the stack's parent cgroup, and the first that the kernel kills there: it never costs a service its life.
    """
    limit = str(spec["memory"])
    owner = "uid={},gid={}".format(*spec["user"].split(":"))
    settings = {**THROW_AWAY, **spec["settings"]}
    return [
        *("run", "--detach", f"--name={name_of(spec)}", "--pull=never", "--network=none"),
        *(f"--user={spec['user']}", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--init"),
        *(
            f"--memory={limit}",
            f"--memory-swap={limit}",
            f"--cpus={spec['cpus']}",
            f"--pids-limit={spec['pids_limit']}",
        ),
        *(f"--cgroup-parent={cgroup_parent(spec['stack'], SERVICE, driver)}", "--oom-score-adj=1000"),
        *("--log-driver=json-file", "--log-opt=max-size=1m", "--log-opt=max-file=1"),
        *(f"--label=sixty.stack={spec['stack']}", "--label=sixty.service=once"),
        *("--volume=/var/lib/postgresql/data", "--env=PGDATA=/var/lib/postgresql/data/verify"),
        *(f"--tmpfs=/tmp:size=16m,{owner}", f"--tmpfs=/run/postgresql:size=1m,{owner}", "--shm-size=32m"),
        *("--entrypoint=sh", spec["image"], "-c", START, "sh"),
        *(f"--{name}={value}" for name, value in sorted(settings.items())),
    ]


def name_of(spec: t.Mapping[str, t.Any]) -> str:
    return f"{spec['stack']}-{SERVICE}"


# -- a backup


def run(task):
    """Dump, verify, copy, remove what is no longer kept; the module's result."""
    began, directory = time.monotonic(), host.Directory(task.params["directory"])
    try:
        wrong = check_arguments(task.params)
        if wrong:
            raise DumpError(wrong)
        if not task.check_mode:
            directory.make()
        with working(directory, task.check_mode) as work:
            result = steps(task, directory, work)
    # Whatever it was: a backup that is not made must not be noticed only when it is wanted.
    except Exception as error:
        if not task.check_mode:
            said = str(error) if isinstance(error, (DumpError, OSError)) else repr(error)
            host.publish(task, {"failed": int(time.time()), "error": said})
        raise
    result["seconds"] = round(time.monotonic() - began, 2)
    return result


@contextlib.contextmanager
def working(directory, check_mode):
    """A directory for what is only half done, and with it the right to be the only backup."""
    path = os.path.join(directory.path, ".work")
    if check_mode:
        yield path
        return
    os.makedirs(path, mode=0o700, exist_ok=True)
    with host.exclusive(path, "backup"):
        # Of a run that was killed.
        clear(path)
        try:
            yield path
        finally:
            clear(path)


def clear(path):
    for entry in os.scandir(path):
        os.unlink(entry.path)


def steps(task, directory, work):
    params = task.params
    wait_for_server(task, directory)
    # Monitoring is told, and older dumps are removed, once it is known whether the new one is any good.
    quiet = Task({**params, "status": None, "keep": 0}, task.warn, task.check_mode)
    with directory.locked():
        before = directory.dumps()
        result = host.dump(quiet, directory)
    path = result["path"]
    if task.check_mode:
        dumps = [*before, core.Dump(host.now(), params["name"], path, 0)]
        gone = removable(params, dumps, path, params["verify"])
        after = [dump.path for dump in dumps if dump.path not in gone]
        diff = host.sides([dump.path for dump in before], after)
        result.update(removed=gone, verified=False, copied=False, diff=diff)
        return result
    news, problems = {"finished": int(time.time()), "bytes": result["bytes"], "path": path}, []
    if params["verify"]:
        try:
            verify(task, directory, path)
            news.update(verified=int(time.time()), verified_path=path)
        except Unfit as error:
            raise DumpError(f"{error}\n  {set_aside(directory, path)} No dump was removed, none was copied.") from error
        except DumpError as error:
            problems.append(f"{path} was made and read back, but not verified: {error}")
    if params["copy"]:
        try:
            copy(task, work, path)
            news["copied"] = int(time.time())
        except (DumpError, OSError) as error:
            problems.append(f"{path} was not copied to another host: {error}")
    host.publish(task, news)
    with directory.locked():
        result["removed"] = removable(params, directory.dumps(), path, "verified" in news)
        for outdated in result["removed"]:
            directory.remove(outdated)
    result["diff"] = host.sides(*([dump.path for dump in dumps] for dumps in (before, directory.dumps())))
    if problems:
        raise DumpError("\n  ".join(problems))
    host.publish(task, {"failed": None, "error": None})
    result.update(verified=bool(params["verify"]), copied=bool(params["copy"]))
    return result


def removable(params, dumps, made, verified):
    """Paths of the dumps that nothing keeps any more, now that C(made) is there; C(verified) says if it was."""
    last = made if verified else host.published(params["status"] or "").get("verified_path")
    if params["name"] != core.SCHEDULED:
        return [dump.path for dump in core.outdated(dumps, params["keep"], made, last)]
    return [dump.path for dump in core.outdated_scheduled(dumps, schedule(params), {made, last})]


def wait_for_server(task, directory):
    """After a boot the timer may be earlier than PostgreSQL."""
    deadline = time.monotonic() + task.params["wait"]
    while True:
        try:
            host.Server(task, directory.path).observe(task.params["database"])
            return
        except DumpError:
            if time.monotonic() > deadline:
                raise
            time.sleep(5)


def set_aside(directory, path):
    """Out of the way of a restore, and there for whoever looks into it; only the last one."""
    for name in directory.sizes():
        if name.endswith(BAD):
            os.unlink(os.path.join(directory.path, name))
    os.rename(path, path + BAD)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(core.manifest_path(path))
    return f"It is {path + BAD} now, and counts for nothing."


# -- verification


def available():
    with open("/proc/meminfo", encoding="ascii") as handle:
        fields = dict(line.split(":") for line in handle)
    return int(fields["MemAvailable"].split()[0]) * 1024


def verify(task, directory, path):
    """Restore a dump into a PostgreSQL of its own and compare rows and checksums. Raises Unfit where it fails that."""
    spec = task.params["verify"]
    live = host.Server(task, directory.path)
    wait_for_deploy(task.params["root"])
    needed, free = spec["memory"] + OVERHEAD, available()
    if needed > free:
        raise DumpError(
            f"The throw-away PostgreSQL may take {human(needed)} and {human(free)} of memory are available. It was not "
            "started."
        )
    seen = live.observe(task.params["database"])
    # It is on the live one's disk, which must not be filled.
    core.check_space(
        core.restored_size(seen["databases"][task.params["database"]], os.path.getsize(path)),
        live.free(seen),
        "The throw-away PostgreSQL",
        f"the container's {seen['data_directory']}",
        "Make room there.",
    )
    driver = asked(live.command, "info", "--format={{.CgroupDriver}}")
    # Of a run that was killed.
    host.engine(live.command, "rm", "--force", "--volumes", name_of(spec))
    try:
        asked(live.command, *verify_command(spec, driver))
        scratch = started(task, directory, spec, live.command)
        wanted = host.manifest_of(path)
        # Its image is that of the last deploy, which may not have brought the live one's.
        core.check_version(path, wanted.version, scratch.sql("SHOW server_version;").split()[0], across=True)
        scratch.sql(live.sql(core.ROLES))
        scratch.sql('CREATE DATABASE "verify" TEMPLATE template0')
        try:
            with open(path, "rb") as handle:
                scratch.run("pg_restore", "--exit-on-error", "--single-transaction", "--dbname=verify", stdin=handle)
            host.refuse_differences(wanted.tables, scratch.fingerprint("verify"))
        except DumpError as error:
            if not at_fault(str(error), scratch):
                raise
            raise Unfit(f"{path} was made, but cannot be restored: {error}") from error
    finally:
        host.engine(live.command, "rm", "--force", "--volumes", name_of(spec))


def asked(command, *arguments):
    """Output of a docker command that has to succeed."""
    ended = host.engine(command, *arguments)
    if ended.returncode:
        raise DumpError(f"`docker {arguments[0]}` ended with {ended.returncode}:{core.tail(ended.stderr)}")
    return ended.stdout.strip()


def started(task, directory, spec, command):
    """The throw-away PostgreSQL, once it answers."""
    name, deadline = name_of(spec), time.monotonic() + START_SECONDS
    while True:
        try:
            scratch = host.Server(task, directory.path, name)
            scratch.sql("SELECT 1;", timeout=10)
            return scratch
        except DumpError as error:
            if running(command, name) and time.monotonic() < deadline:
                time.sleep(0.5)
                continue
            logs = host.engine(command, "logs", "--tail=6", name)
            raise DumpError(
                f"the throw-away PostgreSQL did not come up: {error}{core.tail(logs.stdout + logs.stderr)}"
            ) from None


def at_fault(said, scratch):
    """Whether the dump is, and not its PostgreSQL, which the kernel may have killed or a disk have stopped."""
    if any(words in said for words in BLAMELESS):
        return False
    try:
        scratch.sql("SELECT 1;", timeout=10)
    except DumpError:
        return False
    return True


def running(command, name):
    return host.engine(command, "inspect", "--format={{.State.Running}}", name).stdout.strip() == "true"


def throw_away(task):
    """Remove the PostgreSQL of a run that was killed."""
    command = shutil.which("docker")
    if command and task.params["verify"]:
        host.engine(command, "rm", "--force", "--volumes", name_of(task.params["verify"]))


def wait_for_deploy(root):
    """Two releases are up while one is watched; the memory of a verification is theirs then."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            holder = Records(root, tolerant=True).holder()
        except Failed as error:
            raise DumpError(str(error)) from error
        if not holder or not holder["alive"]:
            return
        if time.monotonic() > deadline:
            raise DumpError(f"A deploy has been under way for {PATIENCE // 60} minutes.")
        time.sleep(5)


# -- copies


def age_command():
    found = shutil.which("age")
    if found is None:
        raise DumpError("There is no age on this host; install Debian's package age.")
    return found


def copy(task, work, path):
    """Encrypt a dump with what is on record of it, and hand it to the command."""
    spec = task.params["copy"]
    target = os.path.join(work, os.path.basename(path)[: -len(core.DUMP)] + COPY)
    recipients = [word for recipient in spec["recipients"] for word in ("--recipient", recipient)]
    with tempfile.TemporaryFile() as errors, open(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
        process = subprocess.Popen(
            [age_command(), "--encrypt", *recipients], stdin=subprocess.PIPE, stdout=out, stderr=errors
        )
        # What it did not like is told by its own message.
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe, tarfile.open(fileobj=pipe, mode="w|") as tar:
            for each in (core.manifest_path(path), path):
                tar.add(each, arcname=os.path.basename(each))
        finish("age", process, errors)
    command = [target if word == PLACEHOLDER else word for word in spec["command"]]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=task.params["timeout"],
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DumpError(f"{command[0]} did not end within {task.params['timeout']} s.") from None
    if ended.returncode:
        raise DumpError(f"{command[0]} ended with {ended.returncode}:{core.tail(ended.stderr or ended.stdout)}")


def finish(name, process, errors):
    code = process.wait()
    errors.seek(0)
    if code:
        raise DumpError(f"{name} ended with {code}:{core.tail(errors.read().decode(errors='replace'))}")


def unpack(task):
    """Put what is in a copy among the dumps; the module's result."""
    params = task.params
    source, directory = params["source"], host.Directory(params["directory"])
    if not os.path.isfile(source or ""):
        raise DumpError(f"{source} is no file on this host. Nothing was changed.")
    if not params["identity"]:
        raise DumpError(f"{source} is encrypted, and no identity of age is given. Nothing was changed.")
    if task.check_mode:
        return {"changed": True, "path": None}
    directory.make()
    with directory.locked():
        written = decrypt(source, params["identity"], directory)
    return {"changed": True, "path": written}


def decrypt(source, identity, directory):
    """Path of the dump; both of its files are there whole, or neither."""
    parts = {}
    with tempfile.TemporaryFile() as errors:
        # The identity is in no file and in no list of processes.
        process = subprocess.Popen(
            [age_command(), "--decrypt", "--identity=-", source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(identity.encode() + b"\n")
            broken = None
            try:
                with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                    for member in tar:
                        take(tar, member, directory, parts)
                # What is behind the archive's end is authenticated as well.
                while process.stdout.read(MIB):
                    pass
            except tarfile.TarError as error:
                broken = error
            process.stdout.close()
            finish("age", process, errors)
            names = [name for name in parts if core.catalogue("", {name: 0})]
            if broken or len(names) != 1 or len(parts) != 2:
                raise DumpError(f"it is no copy of a dump: {broken or ', '.join(parts) or 'it is empty'}")
            # The record first: a dump without one would be restored without a comparison.
            for name in sorted(parts, reverse=True):
                os.rename(parts[name], os.path.join(directory.path, name))
            directory.flush()
            return os.path.join(directory.path, names[0])
        except (DumpError, OSError) as error:
            process.kill()
            for part in parts.values():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part)
            raise DumpError(f"{source} was not unpacked: {error}\n  Nothing was changed.") from error


def take(tar, member, directory, parts):
    """One member, under the name of something unfinished."""
    dump = member.name[: -len(core.MANIFEST)] + core.DUMP if member.name.endswith(core.MANIFEST) else member.name
    if not member.isreg() or not core.catalogue("", {dump: 0}):
        raise DumpError(f"it holds {member.name!r}, which is no dump")
    part = os.path.join(directory.path, member.name + core.PART)
    parts[member.name] = part
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        shutil.copyfileobj(tar.extractfile(member), out)
        out.flush()
        os.fsync(out.fileno())
