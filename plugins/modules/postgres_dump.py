#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_dump
short_description: Dump a PostgreSQL database that runs in a container, and restore it
version_added: "0.1.0"
description:
  - Runs C(pg_dump) and C(pg_restore) inside of the running container, as user postgres over its local socket, so that
    their versions fit and no password is needed. Data go straight between the program and a file of the host.
  - A file is called C(.dump) only once it is whole, was read to its end by C(pg_restore) and is on the disk.
  - A restore fills a new database beside the live one and then exchanges the two names in one transaction. Until then
    nothing of the live database has changed; new connections wait for the moment of the exchange, the old ones are
    ended. Whatever is killed, the live name has the old database or the new one, and the next run removes what the
    killed one left and says so.
  - Needs PostgreSQL 15 or later. Roles are not in a dump and have to be there.
options:
  action:
    description:
      - V(dump) makes a dump and removes the oldest ones. V(restore) replaces the database by a dump's content.
      - V(list) only says which dumps there are, and which one O(source) means.
    type: str
    choices: [dump, list, restore]
    required: true
  container:
    description: Name of the container that PostgreSQL runs in. Not needed to list.
    type: str
  database:
    description: The database.
    type: str
    default: sixty
  directory:
    description: Where the dumps are on this host. Made if it is absent, for root alone.
    type: path
    required: true
  name:
    description: What a new dump is tied to, such as the id of a release.
    type: str
    default: by-hand
  keep:
    description: Dumps that are kept, the new one among them. V(0) keeps all.
    type: int
    default: 5
  status:
    description: File that tells monitoring of the last dump; JSON with C(finished) (unix time), C(bytes), C(path).
    type: path
  source:
    description:
      - The dump to restore, as a path, a file's name or a dump's O(name), of which the newest one is taken.
      - Empty is the newest of all.
    type: str
    default: ""
  keep_old:
    description: Keep the replaced database beside the live one until the next restore.
    type: bool
    default: true
  timeout:
    description: Seconds that each of pg_dump and pg_restore may take.
    type: int
    default: 3600
attributes:
  check_mode:
    description: Says what would happen and changes nothing. A restore reads its dump to the end all the same.
    support: full
  diff_mode:
    description: The dumps, or the databases, before and after.
    support: full
requirements:
  - docker (Python SDK) and the docker command on the host
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Dump the database before the release's migrations
  sixty_sales.memory_optimized.postgres_dump:
    action: dump
    container: sixty-postgres
    directory: /srv/sixty/backups
    status: /srv/sixty/status/backup.json
    name: r2

- name: Bring back what was there before release r2
  sixty_sales.memory_optimized.postgres_dump:
    action: restore
    container: sixty-postgres
    directory: /srv/sixty/backups
    source: r2
"""

RETURN = r"""
path:
  description: The dump that was made, restored or chosen. Null when there is none to list.
  type: str
  returned: success
  sample: /srv/sixty/backups/20261124T211436.123Z-r2.dump
bytes:
  description: Its size.
  type: int
  returned: on dump and restore, but not for a dump in check mode
seconds:
  description: What it took in all.
  type: float
  returned: on dump and restore
tables:
  description: Number of tables in it.
  type: int
  returned: on dump and restore, but not for a dump in check mode
removed:
  description: Older dumps that were removed.
  type: list
  elements: str
  returned: on dump
mended:
  description: What runs that were killed had left and this one removed.
  type: list
  elements: str
  returned: on dump and restore
kept:
  description: Name of the database that was replaced; null when it was not kept.
  type: str
  returned: on restore
  sample: sixty_before_restore_20261124_211436_123
ended_sessions:
  description: Connections that the exchange ended.
  type: int
  returned: on restore, but not in check mode
exchange_seconds:
  description: What the exchange of the names took; new connections waited for it.
  type: float
  returned: on restore, but not in check mode
dumps:
  description: All dumps, the newest first.
  type: list
  elements: dict
  returned: on list
  sample:
    - time: 20261124T211436.123Z
      name: r2
      path: /srv/sixty/backups/20261124T211436.123Z-r2.dump
      bytes: 272799
"""

import contextlib
import datetime
import fcntl
import json
import os
import subprocess
import tempfile
import time
import zlib

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import postgres_dump as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.postgres_dump import DumpError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import write_whole
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import human

try:
    import docker
except ImportError:
    docker = None

# For statements that move no data. DROP DATABASE waits for a checkpoint.
STATEMENT_SECONDS = 120
LOCK_SECONDS = 10


class Directory:
    """The dumps on this host."""

    def __init__(self, path):
        self.path = path

    def sizes(self):
        """Name -> bytes of the regular files; empty where there is no directory."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.path):
                if entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
        return found

    def dumps(self):
        return core.catalogue(self.path, self.sizes())

    def make(self):
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        os.chmod(self.path, 0o700)

    @contextlib.contextmanager
    def locked(self):
        """One run at a time. The lock is on the directory itself, so that check mode leaves nothing behind."""
        if not os.path.isdir(self.path):
            yield
            return
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise DumpError(
                            f"Another dump or restore has held the lock on {self.path} for more than {LOCK_SECONDS} s. "
                            f"Nothing was changed; wait for it. `fuser -v {self.path}` shows it."
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(handle)

    def free(self):
        place = self.path
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        disk = os.statvfs(place)
        return disk.f_bavail * disk.f_frsize

    def sweep(self, module):
        """Remove what killed runs left; says what."""
        swept = []
        for name, size in core.leftovers(self.sizes()).items():
            path = os.path.join(self.path, name)
            swept.append(tell(module, f"{path} ({human(size)}), left by a dump that did not end"))
            if not module.check_mode:
                os.unlink(path)
        return swept

    def flush(self):
        """Makes what happened to the names in the directory survive a power cut."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def tell(module, leftover):
    module.warn(f"{'Would remove' if module.check_mode else 'Removed'} {leftover}.")
    return leftover


class Server:
    """PostgreSQL in its container.

    Data go through the docker command and not through the SDK: it copies them in constant memory, ends its input
    properly, and an orphan of a killed run goes on emptying its pipe, so that no pg_dump hangs with its locks held.
    """

    def __init__(self, module, directory):
        self.timeout = module.params["timeout"]
        self.command = module.get_bin_path("docker")
        if self.command is None:
            raise DumpError("There is no docker command on this host. Nothing was changed; install docker-cli.")
        self.application = f"postgres_dump/{zlib.crc32(directory.encode()):08x}"
        name = module.params["container"]
        try:
            container = docker.from_env().containers.get(name)
        except docker.errors.NotFound as error:
            raise DumpError(f"There is no container {name}. Nothing was changed; deploy first.") from error
        if container.status != "running":
            raise DumpError(
                f"The container {name} is {container.status} (exit code {container.attrs['State']['ExitCode']}), and a "
                f"dump or a restore needs it running. Nothing was changed; `docker start {name}`."
            )
        # A container that is made anew meanwhile is another one.
        self.container = container.id

    def run(self, *argv, stdin=None, stdout=subprocess.PIPE, text=None, timeout=None):
        """Run a program in the container; its output as text unless C(stdout) is a file.

        C(stdin) is a file, C(text) what is to be read instead. Raises DumpError with the end of its errors.
        """
        command = [self.command, "exec", "--interactive", "--user=postgres", f"--env=PGAPPNAME={self.application}"]
        with tempfile.TemporaryFile() as errors:
            given = {"stdin": stdin or subprocess.DEVNULL} if text is None else {"input": text.encode()}
            try:
                ended = subprocess.run(
                    [*command, self.container, *argv],
                    **given,
                    stdout=stdout,
                    stderr=errors,
                    timeout=timeout or self.timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise DumpError(f"{argv[0]} did not end within {timeout or self.timeout} s.") from None
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4096))
            said = errors.read().decode(errors="replace")
        if ended.returncode:
            raise DumpError(f"{argv[0]} ended with {ended.returncode}:{core.tail(said) or ' it said nothing'}")
        return ended.stdout.decode() if ended.stdout is not None else None

    def sql(self, script, database="postgres", timeout=STATEMENT_SECONDS, **variables):
        """Output of a script of psql, without headers."""
        options = [f"--set={name}={value}" for name, value in {"ON_ERROR_STOP": 1, **variables}.items()]
        command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", f"--dbname={database}"]
        return self.run(*command, *options, text=script, timeout=timeout).strip()

    def observe(self, database):
        """Sizes of the databases, and where their files are. Raises where the database is absent."""
        seen = json.loads(self.sql(core.OBSERVE))
        if database not in seen["databases"]:
            kept = core.kept_names(database, seen["databases"])
            raise DumpError(
                f"There is no database {database}; there are {', '.join(sorted(seen['databases']))}. Nothing was "
                "changed. "
                + (
                    f'To have the last one replaced back: ALTER DATABASE "{kept[0]}" RENAME TO "{database}".'
                    if kept
                    else "A deploy makes its role and an empty database; then run this again."
                )
            )
        return seen

    def contents(self, path):
        """Table of contents of an archive that was read to its end; --list alone would not miss its rows."""
        with open(path, "rb") as handle:
            self.run("pg_restore", "--file=/dev/null", stdin=handle)
            handle.seek(0)
            return core.parse_contents(self.run("pg_restore", "--list", stdin=handle))


def now():
    return core.stamp(datetime.datetime.now(datetime.timezone.utc))


def dump(module, directory):
    """Make a dump; the module's result."""
    params, began = module.params, time.monotonic()
    server = Server(module, directory.path)
    size = server.observe(params["database"])["databases"][params["database"]]
    before = [entry.path for entry in directory.dumps()]
    if not module.check_mode:
        server.sql(core.END_SESSIONS)
    mended = directory.sweep(module)
    core.check_space(
        size,
        directory.free(),
        f"A dump of {params['database']}",
        directory.path,
        "Remove what is not needed there, or set another directory.",
    )
    moment = now()
    target = os.path.join(directory.path, core.file_name(moment, params["name"]))
    result = {"changed": True, "path": target, "mended": mended}
    if module.check_mode:
        dumps = [*directory.dumps(), core.Dump(moment, params["name"], target, 0)]
    else:
        contents = write(server, directory, params["database"], target)
        dumps = directory.dumps()
        result.update(bytes=os.path.getsize(target), tables=len(contents.tables))
        if params["status"]:
            publish(module, params["status"], {"finished": int(time.time()), "bytes": result["bytes"], "path": target})
    outdated = [entry.path for entry in core.outdated(dumps, params["keep"], target)]
    for path in [] if module.check_mode else outdated:
        os.unlink(path)
    after = [entry.path for entry in dumps if entry.path not in outdated]
    result.update(
        removed=outdated,
        seconds=round(time.monotonic() - began, 2),
        diff={side: "".join(f"{path}\n" for path in sorted(paths)) for side, paths in zip(SIDES, (before, after))},
    )
    return result


def publish(module, path, status):
    """Tells monitoring. The dump is made: that it is not told of is no reason to stop a deploy."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_whole(path, status)
        os.chmod(path, 0o644)
    except OSError as error:
        module.warn(f"The dump is whole, but {path} could not be written ({error}): monitoring takes it for missing.")


def write(server, directory, database, target):
    """A whole dump under its name, or none; what it holds."""
    part = target + core.PART
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            # Without an end, a migration that holds a table would be waited for as long as it takes.
            server.run(
                *("pg_dump", "--format=custom", "--lock-wait-timeout=30000", f"--dbname={database}"), stdout=handle
            )
            os.fsync(handle.fileno())
        contents = server.contents(part)
        os.rename(part, target)
        directory.flush()
        return contents
    except (DumpError, OSError) as error:
        size = os.path.getsize(part) if os.path.exists(part) else 0
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        with contextlib.suppress(DumpError):
            # Where pg_dump was given up, it still holds its locks; where PostgreSQL is gone, it does not.
            server.sql(core.END_SESSIONS)
        raise DumpError(
            f"No dump of {database} was made: {error}\n  {human(size)} had been written, {human(directory.free())} are "
            f"free in {directory.path} now. The database and the earlier dumps were left as they are."
        ) from error


def restore(module, directory):
    """Replace the database by a dump's content; the module's result."""
    params, began = module.params, time.monotonic()
    live, new = params["database"], core.restore_name(params["database"])
    path = core.choose(params["source"], directory.dumps(), directory.path)
    if not os.path.isabs(path) or not os.path.isfile(path):
        raise DumpError(f"{path} is no file on this host, or no absolute path. Nothing was changed.")
    size = os.path.getsize(path)
    server = Server(module, directory.path)
    seen = server.observe(live)
    sizes = seen["databases"]
    try:
        contents = server.contents(path)
    except DumpError as error:
        raise DumpError(
            f"{path} ({human(size)}) is no whole dump, so it is not restored: {error}\n"
            f"  {live} was left as it is. Take another dump; they are in {directory.path}."
        ) from error
    mended = directory.sweep(module)
    place = f"the container's {seen['data_directory']}"
    free = int(server.run("df", "-P", "-k", seen["data_directory"]).splitlines()[-1].split()[3]) * 1024
    core.check_space(
        core.restored_size(sizes[live], size),
        free + sizes.get(new, 0),
        f"Restoring {path} ({human(size)}) beside {live} ({human(sizes[live])})",
        place,
        "Make room there, or drop databases that are not needed: "
        + (", ".join(core.kept_names(live, sizes)) or "there is none of an earlier restore")
        + ".",
    )
    if new in sizes:
        mended.append(tell(module, f"database {new} ({human(sizes[new])}), left by a restore that did not end"))
    kept = core.kept_name(live, now())
    earlier = core.kept_names(live, sizes)
    result = {
        "changed": True,
        "path": path,
        "bytes": size,
        "tables": len(contents.tables),
        "kept": kept if params["keep_old"] else None,
        "mended": mended,
    }
    if not module.check_mode:
        server.sql(core.END_SESSIONS)
        fill(server, live, new, path, contents)
        result.update(exchange(server, live, new, kept, path))
        for name in earlier if params["keep_old"] else [*earlier, kept]:
            try:
                server.sql(core.DROP, name=name)
            except DumpError as error:
                raise DumpError(
                    f"{path} is restored and {live} serves it. The older database {name} could not be dropped: "
                    f"{error}\n  It only takes up room; the next restore drops it."
                ) from error
    after = sorted({live} | ({kept} if params["keep_old"] else set()))
    result.update(
        seconds=round(time.monotonic() - began, 2),
        diff={
            side: "".join(f"{name}\n" for name in names)
            for side, names in zip(SIDES, (sorted({live, *earlier} | ({new} & sizes.keys())), after))
        },
    )
    return result


def fill(server, live, new, path, contents):
    """The dump's content in a database beside the live one, complete; or no such database."""
    try:
        server.sql(core.CREATE, live=live, new=new)
        extensions = server.sql(core.EXTENSIONS, database=live, wanted=",".join(sorted(contents.extensions)))
        server.sql(extensions, database=new)
        with open(path, "rb") as handle:
            server.run(*("pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={new}"), stdin=handle)
        missing = sorted(contents.tables - set(server.sql(core.TABLES, database=new).splitlines()))
        if missing:
            raise DumpError(
                f"{len(missing)} of its {len(contents.tables)} tables are missing after it, first {missing[0]}."
            )
        server.sql(core.ANALYZE, database=new, timeout=server.timeout)
    except DumpError as error:
        raise DumpError(
            f"{path} could not be restored: {error}\n  {clear(server, new)} {live} was not touched."
        ) from error


def exchange(server, live, new, kept, path):
    """The new database under the live name, the old one under another; or everything as it was."""
    began = time.monotonic()
    try:
        ended = int(server.sql(core.SWITCH, live=live, new=new, kept=kept))
    except DumpError as error:
        # Its answer may be lost, and the exchange may have taken place or be about to.
        try:
            server.sql(core.END_SESSIONS)
            databases = server.observe(live)["databases"]
        except DumpError as again:
            raise DumpError(
                f"{path} is restored in {new}, but the exchange of the names failed: {error}\n  Whether it took place "
                f"could not be read ({again}). {live} is whole either way; `psql --list` says whether {kept} is there, "
                "which is then the old one. Run the restore again."
            ) from error
        if kept in databases:
            return {"ended_sessions": None, "exchange_seconds": round(time.monotonic() - began, 2)}
        raise DumpError(
            f"{path} was not put in the place of {live}: {error}\n  {live} has all its rows and takes connections; "
            f"sessions may have been ended. {clear(server, new)} Who stays connected to {live}, or has read "
            "pg_database in a long transaction, is in pg_stat_activity; end that, then run this again."
        ) from error
    return {"ended_sessions": ended, "exchange_seconds": round(time.monotonic() - began, 2)}


def clear(server, new):
    """Drop the database that is not going to be used, and say so."""
    try:
        server.sql(core.END_SESSIONS)
        server.sql(core.DROP, name=new)
        return f"{new} was dropped."
    except DumpError as error:
        return f"{new} could not be dropped ({error}); the next restore does."


def listing(module, directory):
    dumps, source = directory.dumps(), module.params["source"]
    path = core.choose(source, dumps, directory.path) if dumps or source else None
    return {"changed": False, "path": path, "dumps": [entry._asdict() for entry in dumps]}


SIDES = ("before", "after")
ACTIONS = {"dump": dump, "list": listing, "restore": restore}


def main():
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": sorted(ACTIONS), "required": True},
            "container": {"type": "str"},
            "database": {"type": "str", "default": "sixty"},
            "directory": {"type": "path", "required": True},
            "name": {"type": "str", "default": "by-hand"},
            "keep": {"type": "int", "default": 5},
            "status": {"type": "path"},
            "source": {"type": "str", "default": ""},
            "keep_old": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 3600},
        },
        required_if=[("action", action, ["container"]) for action in ("dump", "restore")],
        supports_check_mode=True,
    )
    params = module.params
    error = core.check_arguments(params)
    if error:
        module.fail_json(msg=error)
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    directory = Directory(params["directory"])
    try:
        if params["action"] == "dump" and not module.check_mode:
            directory.make()
        with contextlib.nullcontext() if params["action"] == "list" else directory.locked():
            result = ACTIONS[params["action"]](module, directory)
    except DumpError as failure:
        module.fail_json(msg=str(failure))
    except docker.errors.DockerException as failure:
        module.fail_json(msg=f"The engine does not answer as it should: {failure}. Nothing was changed.")
    # requests' errors, such as an engine that goes away in the middle, are OSErrors.
    except OSError as failure:
        module.fail_json(
            msg=f"{params['directory']} or the engine cannot be used: {failure}. {params['database']} is whole."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
