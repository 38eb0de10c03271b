# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps and restores on the host that PostgreSQL's container runs on.

The modules run it, and so does the timer of roles/backup, where there is no Ansible: C(task) is a module, or what has
the same C(params), C(check_mode) and C(warn). Only the standard library and the docker command are needed.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import zlib

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import postgres_dump as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.postgres_dump import DumpError
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import write_whole
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import human

# For statements that move no data. DROP DATABASE waits for a checkpoint.
STATEMENT_SECONDS = 120
# A nightly dump must not stop a deploy that wants one.
LOCK_SECONDS = 60


@contextlib.contextmanager
def exclusive(path, what):
    """The kernel's lock on a directory; another holder is waited for, and a dead one holds nothing."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DumpError(
                        f"Another {what} has held the lock on {path} for more than {LOCK_SECONDS} s. Nothing was "
                        f"changed; wait for it. `fuser -v {path}` shows it."
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


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
        with exclusive(self.path, "dump or restore"):
            yield

    def free(self):
        place = self.path
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        disk = os.statvfs(place)
        return disk.f_bavail * disk.f_frsize

    def sweep(self, task):
        """Remove what killed runs left; says what."""
        swept = []
        for name, size in core.leftovers(self.sizes()).items():
            path = os.path.join(self.path, name)
            swept.append(tell(task, f"{path} ({human(size)}), left by a dump that did not end"))
            if not task.check_mode:
                os.unlink(path)
        return swept

    def remove(self, path):
        """A dump and what is on record of it."""
        os.unlink(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(core.manifest_path(path))

    def flush(self):
        """Makes what happened to the names in the directory survive a power cut."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def tell(task, leftover):
    task.warn(f"{'Would remove' if task.check_mode else 'Removed'} {leftover}.")
    return leftover


def engine(command, *arguments, seconds=60):
    """A docker command that ended, with its output as text."""
    try:
        return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise DumpError(f"The engine did not answer `docker {arguments[0]}` within {seconds} s.") from None


def psql(database, **variables):
    options = [f"--set={name}={value}" for name, value in {"ON_ERROR_STOP": 1, **variables}.items()]
    return ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", f"--dbname={database}", *options]


class Server:
    """PostgreSQL in its container.

    Data go through the docker command and not through the SDK: it copies them in constant memory, ends its input
    properly, and an orphan of a killed run goes on emptying its pipe, so that no pg_dump hangs with its locks held.
    """

    def __init__(self, task, directory, container=None):
        self.timeout = task.params["timeout"]
        self.command = shutil.which("docker", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin:/usr/local/bin")
        if self.command is None:
            raise DumpError("There is no docker command on this host. Nothing was changed; install docker-cli.")
        self.application = f"postgres_dump/{zlib.crc32(directory.encode()):08x}"
        name = container or task.params["container"]
        ended = engine(self.command, "inspect", "--type=container", "--format={{json .}}", name)
        if ended.returncode and "No such container" in ended.stderr:
            raise DumpError(f"There is no container {name}. Nothing was changed; deploy first.")
        if ended.returncode:
            raise DumpError(
                f"The engine does not answer as it should:{core.tail(ended.stderr)}\n  Nothing was changed."
            )
        found = json.loads(ended.stdout)
        if found["State"]["Status"] != "running":
            raise DumpError(
                f"The container {name} is {found['State']['Status']} (exit code {found['State']['ExitCode']}), and a "
                f"dump or a restore needs it running. Nothing was changed; `docker start {name}`."
            )
        # A container that is made anew meanwhile is another one.
        self.container = found["Id"]

    def inside(self, *argv):
        command = [self.command, "exec", "--interactive", "--user=postgres", f"--env=PGAPPNAME={self.application}"]
        return [*command, self.container, *argv]

    def run(self, *argv, stdin=None, stdout=subprocess.PIPE, text=None, timeout=None):
        """Run a program in the container; its output as text unless C(stdout) is a file.

        C(stdin) is a file, C(text) what is to be read instead. Raises DumpError with the end of its errors.
        """
        with tempfile.TemporaryFile() as errors:
            given = {"stdin": stdin or subprocess.DEVNULL} if text is None else {"input": text.encode()}
            try:
                ended = subprocess.run(
                    self.inside(*argv),
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
        return self.run(*psql(database, **variables), text=script, timeout=timeout).strip()

    @contextlib.contextmanager
    def snapshot(self, database):
        """Name of a moment of the database that other sessions can read in, while the context lasts."""
        with tempfile.TemporaryFile() as errors:
            holder = subprocess.Popen(
                self.inside(*psql(database)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
            try:
                holder.stdin.write(core.SNAPSHOT.encode())
                holder.stdin.flush()
                # The end of psql, for whatever reason, is the end of its output.
                name = holder.stdout.readline().decode().strip()
                if not name:
                    errors.seek(0)
                    raise DumpError(f"no snapshot:{core.tail(errors.read().decode(errors='replace'))}")
                yield name
            finally:
                # The end of its input ends psql, and so the transaction.
                with contextlib.suppress(OSError):
                    holder.stdin.close()
                try:
                    holder.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    holder.kill()
                    holder.wait()
                holder.stdout.close()

    def fingerprint(self, database, snapshot=None):
        """Rows and checksum of each table, now or in a snapshot."""
        given = {"snapshot": snapshot} if snapshot else {}
        script = (core.IN_SNAPSHOT if snapshot else "") + core.FINGERPRINT
        return core.parse_fingerprint(self.sql(script, database=database, timeout=self.timeout, **given))

    def migrations(self, database, table):
        """Names of those that the database has had, or None where no table tells."""
        told = self.sql(core.MIGRATIONS, database=database, table=table) if table else ""
        return json.loads(told) if told else None

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

    def free(self, seen):
        """Bytes that are free where its files are, of what C(observe) has seen."""
        told = self.run("df", "-P", "-k", seen["data_directory"])
        return int(told.splitlines()[-1].split()[3]) * 1024

    def contents(self, path):
        """Table of contents of an archive that was read to its end; --list alone would not miss its rows."""
        with open(path, "rb") as handle:
            self.run("pg_restore", "--file=/dev/null", stdin=handle)
            handle.seek(0)
            return core.parse_contents(self.run("pg_restore", "--list", stdin=handle))


def now():
    return core.stamp(datetime.datetime.now(datetime.timezone.utc))


def dump(task, directory):
    """Make a dump; the module's result."""
    params, began = task.params, time.monotonic()
    server = Server(task, directory.path)
    size = server.observe(params["database"])["databases"][params["database"]]
    before = [entry.path for entry in directory.dumps()]
    if not task.check_mode:
        server.sql(core.END_SESSIONS)
    mended = directory.sweep(task)
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
    if task.check_mode:
        dumps = [*directory.dumps(), core.Dump(moment, params["name"], target, 0)]
    else:
        contents, manifest = write(server, directory, params["database"], target, params["migrations_table"])
        dumps = directory.dumps()
        result.update(bytes=os.path.getsize(target), tables=len(contents.tables), rows=manifest.rows)
        publish(task, {"finished": int(time.time()), "bytes": result["bytes"], "path": target})
    verified = published(params["status"] or "").get("verified_path")
    outdated = [entry.path for entry in core.outdated(dumps, params["keep"], target, verified)]
    for path in [] if task.check_mode else outdated:
        directory.remove(path)
    after = [entry.path for entry in dumps if entry.path not in outdated]
    result.update(
        removed=outdated,
        seconds=round(time.monotonic() - began, 2),
        diff=sides(before, after),
    )
    return result


def published(path):
    """What monitoring was told before; nothing where that cannot be read."""
    try:
        with open(path, encoding="utf-8") as handle:
            told = json.load(handle)
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def publish(task, news):
    """Tells monitoring. The dump is made: that it is not told of is no reason to stop a deploy."""
    path = task.params["status"]
    if not path:
        return
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        told = {**published(path), **news}
        write_whole(path, {name: value for name, value in told.items() if value is not None})
        os.chmod(path, 0o644)
    except OSError as error:
        task.warn(f"The dump is whole, but {path} could not be written ({error}): monitoring takes it for missing.")


def checksum(path):
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def manifest_of(path):
    """What is on record of a dump; None where nothing is, as of one that was made elsewhere."""
    try:
        with open(core.manifest_path(path), encoding="utf-8") as handle:
            return core.parse_manifest(handle.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DumpError(
            f"{core.manifest_path(path)}, which says what {path} holds, cannot be read: {error}. Nothing was changed. "
            "Take another dump; or move that file away, and its rows are not compared."
        ) from error


def write(server, directory, database, target, migrations_table):
    """A whole dump under its name, or none; its contents and what is on record of it."""
    part = target + core.PART
    try:
        new = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(new, "wb") as handle, server.snapshot(database) as snapshot:
            # Without an end, a migration that holds a table would be waited for as long as it takes.
            options = ("--format=custom", "--lock-wait-timeout=30000", f"--snapshot={snapshot}")
            server.run("pg_dump", *options, f"--dbname={database}", stdout=handle)
            os.fsync(handle.fileno())
            tables = server.fingerprint(database, snapshot)
            migrations = server.migrations(database, migrations_table)
        contents = server.contents(part)
        manifest = core.Manifest(contents.version, checksum(part), tables, migrations)
        write_whole(core.manifest_path(target), manifest._asdict())
        os.chmod(core.manifest_path(target), 0o600)
        os.rename(part, target)
        directory.flush()
        return contents, manifest
    except (DumpError, OSError) as error:
        size = os.path.getsize(part) if os.path.exists(part) else 0
        for path in (part, core.manifest_path(target)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        with contextlib.suppress(DumpError):
            # Where pg_dump was given up, it still holds its locks; where PostgreSQL is gone, it does not.
            server.sql(core.END_SESSIONS)
        raise DumpError(
            f"No dump of {database} was made: {error}\n  {human(size)} had been written, {human(directory.free())} are "
            f"free in {directory.path} now. The database and the earlier dumps were left as they are."
        ) from error


def restore(task, directory):
    """Replace the database by a dump's content; the module's result."""
    params, began = task.params, time.monotonic()
    live, new = params["database"], core.restore_name(params["database"])
    path = core.choose(params["source"], directory.dumps(), directory.path)
    if not os.path.isabs(path) or not os.path.isfile(path):
        raise DumpError(f"{path} is no file on this host, or no absolute path. Nothing was changed.")
    size = os.path.getsize(path)
    server = Server(task, directory.path)
    seen = server.observe(live)
    sizes = seen["databases"]
    manifest = manifest_of(path)
    # Before it is read: an older pg_restore takes a newer one's file for broken.
    core.check_version(path, manifest.version if manifest else "", seen["version"], params["across_versions"])
    contents = judge(server, path, size, live, directory, manifest)
    core.check_version(path, contents.version, seen["version"], params["across_versions"])
    mended = directory.sweep(task)
    place = f"the container's {seen['data_directory']}"
    core.check_space(
        core.restored_size(sizes[live], size),
        server.free(seen) + sizes.get(new, 0),
        f"Restoring {path} ({human(size)}) beside {live} ({human(sizes[live])})",
        place,
        "Make room there, or drop databases that are not needed: "
        + (", ".join(core.kept_names(live, sizes)) or "there is none of an earlier restore")
        + ".",
    )
    if new in sizes:
        mended.append(tell(task, f"database {new} ({human(sizes[new])}), left by a restore that did not end"))
    kept = core.kept_name(live, now())
    earlier = core.kept_names(live, sizes)
    result = {
        "changed": True,
        "path": path,
        "bytes": size,
        "tables": len(contents.tables),
        "kept": kept if params["keep_old"] else None,
        "mended": mended,
        "compared": len(manifest.tables) if manifest else 0,
        "rows": manifest.rows if manifest else None,
    }
    if task.check_mode:
        result["plan"] = planned(server, live, path, size, contents, manifest, params["migrations_table"])
    else:
        server.sql(core.END_SESSIONS)
        fill(server, live, new, path, contents, manifest)
        result.update(exchange(server, live, new, kept, path))
        for name in earlier if params["keep_old"] else [*earlier, kept]:
            try:
                server.sql(core.DROP, name=name)
            except DumpError as error:
                raise DumpError(
                    f"{path} is restored and {live} serves it. The older database {name} could not be dropped: "
                    f"{error}\n  It only takes up room; the next restore drops it."
                ) from error
    after = {live} | ({kept} if params["keep_old"] else set())
    result.update(
        seconds=round(time.monotonic() - began, 2),
        diff=sides({live, *earlier} | ({new} & sizes.keys()), after),
    )
    return result


def judge(server, path, size, live, directory, manifest):
    """Contents of a dump that was read to its end. Raises where it is not whole."""
    try:
        found = checksum(path) if manifest else ""
        if manifest and found != manifest.sha256:
            raise DumpError(f"its SHA-256 is {found[:16]}..., and {manifest.sha256[:16]}... when it was made")
        return server.contents(path)
    except DumpError as error:
        raise DumpError(
            f"{path} ({human(size)}) is no whole dump, so it is not restored: {error}\n"
            f"  {live} was left as it is. Take another dump; they are in {directory.path}."
        ) from error


def planned(server, live, path, size, contents, manifest, table):
    """What a restore would bring, as lines for a person."""
    made = core.catalogue(os.path.dirname(path), {os.path.basename(path): size})
    ago = time.time() - (core.moment_of(made[0].time).timestamp() if made else os.path.getmtime(path))
    lines = [
        f"{path}: {human(size)}, {core.age(ago)} old, of PostgreSQL {contents.version or 'unknown'}",
        core.migrations_verdict(manifest and manifest.migrations, server.migrations(live, table)),
    ]
    if manifest is None:
        return [*lines, "What it held when it was made is not on record, so its rows cannot be compared."]
    return [*lines, *core.plan_lines(server.fingerprint(live), manifest.tables)]


def fill(server, live, new, path, contents, manifest):
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
        if manifest:
            refuse_differences(manifest.tables, server.fingerprint(new))
        server.sql(core.ANALYZE, database=new, timeout=server.timeout)
    except DumpError as error:
        raise DumpError(
            f"{path} could not be restored: {error}\n  {clear(server, new)} {live} was not touched."
        ) from error


def refuse_differences(wanted, found):
    lines = core.compare(wanted, found)
    if lines:
        raise DumpError(
            f"{len(lines)} of its {len(wanted)} tables differ from what was dumped:{core.tail(chr(10).join(lines))}"
        )


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


def listing(task, directory):
    dumps, source = directory.dumps(), task.params["source"]
    path = core.choose(source, dumps, directory.path) if dumps or source else None
    return {"changed": False, "path": path, "dumps": [entry._asdict() for entry in dumps]}


def sides(before, after):
    """The diff of a module, of names before and after."""
    texts = ("".join(f"{name}\n" for name in sorted(names)) for names in (before, after))
    return dict(zip(("before", "after"), texts))
