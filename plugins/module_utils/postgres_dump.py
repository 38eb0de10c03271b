# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps of a PostgreSQL database: their names, which are kept, which one is meant, what each holds, and the SQL.

Scripts are for psql: C(:'name') is a variable of its C(--set), quoted; C(\\gexec) runs what a query returns.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import human

PART = ".part"
DUMP = ".dump"
# Beside each dump: what it holds, read in its own snapshot.
MANIFEST = ".json"
# The timer's dumps, which follow a schedule; all others are counted.
SCHEDULED = "scheduled"
# What a restore dumps before it replaces the database.
BEFORE_RESTORE = "before-restore"
_STAMP = r"\d{8}T\d{6}\.\d{3}Z"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}"
_FILE = re.compile(rf"({_STAMP})-({_NAME})\.dump")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,27}")
_MAINTENANCE = ("postgres", "template0", "template1")
# A guess for want of better: an archive is compressed, and what it becomes has indexes. Generated rows gave more.
EXPANSION = 4


class DumpError(Exception):
    """A step failed; the message is for the person who reads it at night."""


class Dump(t.NamedTuple):
    """A whole dump on disk: when it was made (text that sorts as the time does), what it is tied to, its size."""

    time: str
    name: str
    path: str
    bytes: int


class Contents(t.NamedTuple):
    """What an archive's table of contents names. Tables are "schema name"."""

    entries: int
    tables: frozenset[str]
    extensions: frozenset[str]
    version: str = ""


# -- names


def stamp(moment: datetime.datetime) -> str:
    """A moment in UTC as the first part of a file's name, in milliseconds."""
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"


def file_name(time: str, name: str) -> str:
    return f"{time}-{name}{DUMP}"


def manifest_path(path: str) -> str:
    """Where it is on record what a dump holds."""
    return (path[: -len(DUMP)] if path.endswith(DUMP) else path) + MANIFEST


def moment_of(time: str) -> datetime.datetime:
    """The moment that a stamp tells."""
    return datetime.datetime.strptime(time, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=datetime.timezone.utc)


def restore_name(database: str) -> str:
    """The database that a restore fills beside the live one."""
    return f"{database}_restore"


def kept_name(database: str, time: str) -> str:
    """What the live database is called once a restore at that time has replaced it."""
    digits = re.sub(r"\D", "", time)
    return f"{database}_before_restore_{digits[:8]}_{digits[8:14]}_{digits[14:]}"


def kept_names(database: str, databases: t.Iterable[str]) -> list[str]:
    """Those among databases that earlier restores have replaced, newest first."""
    pattern = re.compile(re.escape(database) + r"_before_restore_\d{8}_\d{6}_\d{3}")
    return sorted(filter(pattern.fullmatch, databases), reverse=True)


def check_arguments(params: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """What is wrong with the arguments, or None."""
    if not re.fullmatch(_NAME, params["name"]):
        return (
            f"{params['name']!r} cannot name a dump. Nothing was changed. Use 1 to 48 letters, digits, dots, "
            "underscores or dashes, beginning with a letter or a digit."
        )
    if not _DATABASE.fullmatch(params["database"]) or params["database"] in _MAINTENANCE:
        return (
            f"{params['database']!r} cannot be dumped and restored. Nothing was changed. A database's name has 1 to 28 "
            "letters, digits, underscores or dashes (a restore appends up to 35 to it, and PostgreSQL takes 63), "
            f"and is none of {', '.join(_MAINTENANCE)}, from which the others are renamed."
        )
    if params["keep"] < 0:
        return (
            f"keep is {params['keep']}. Nothing was changed. It is the number of dumps to keep, or 0 for all of them."
        )
    if params["timeout"] < 1:
        return f"timeout is {params['timeout']}. Nothing was changed. It is a number of seconds, at least 1."
    if not os.path.isabs(params["directory"]):
        return f"{params['directory']} is no absolute path. Nothing was changed."
    return None


# -- files


def catalogue(directory: str, sizes: t.Mapping[str, int]) -> list[Dump]:
    """The dumps among a directory's files (name to bytes), newest first. Other files are none of ours."""
    found = []
    for entry, size in sizes.items():
        match = _FILE.fullmatch(entry)
        if match:
            found.append(Dump(match[1], match[2], os.path.join(directory, entry), size))
    return sorted(found, reverse=True)


def leftovers(sizes: t.Mapping[str, int]) -> dict[str, int]:
    """What runs that were killed left among a directory's files: half a dump, a record without a dump."""

    def left(entry: str) -> bool:
        if entry.endswith(PART):
            return bool(_FILE.fullmatch(re.sub(rf"\{MANIFEST}$", DUMP, entry[: -len(PART)])))
        dump = entry[: -len(MANIFEST)] + DUMP
        return entry.endswith(MANIFEST) and bool(_FILE.fullmatch(dump)) and dump not in sizes

    return {entry: size for entry, size in sizes.items() if left(entry)}


def outdated(dumps: t.Sequence[Dump], keep: int, made: str, verified: t.Optional[str] = None) -> list[Dump]:
    """The oldest beyond C(keep) (0 keeps all), never the one just made: a clock may have been set back. Nor the last
    that was verified.

    The timer's dumps are not counted: deploys of one day must not push out a week.
    """
    others = [dump for dump in sorted(dumps, reverse=True) if dump.path != made and dump.name != SCHEDULED]
    return [dump for dump in others[keep - 1 :] if dump.path != verified] if keep else []


class Schedule(t.NamedTuple):
    """How many days, weeks and months have one of the timer's dumps kept, and the bytes all dumps may take (0: any)."""

    daily: int
    weekly: int
    monthly: int
    budget: int


def outdated_scheduled(dumps: t.Sequence[Dump], schedule: Schedule, protected: t.Collection[str]) -> list[Dump]:
    """Which of the timer's dumps go: those that no day, week or month keeps, then the oldest beyond the budget.

    Never one of C(protected), the newest and the last that was verified, whatever the budget says.
    """
    scheduled = sorted((dump for dump in dumps if dump.name == SCHEDULED), reverse=True)
    kept = {dump.path for dump in scheduled if dump.path in protected}
    periods = {"%Y-%m-%d": schedule.daily, "%G-%V": schedule.weekly, "%Y-%m": schedule.monthly}
    for form, count in periods.items():
        newest: dict[str, str] = {}
        for dump in scheduled:
            newest.setdefault(moment_of(dump.time).strftime(form), dump.path)
        kept.update(list(newest.values())[:count])
    gone = [dump for dump in scheduled if dump.path not in kept]
    total = sum(dump.bytes for dump in dumps) - sum(dump.bytes for dump in gone)
    for dump in reversed(scheduled):
        if schedule.budget and total > schedule.budget and dump.path in kept and dump.path not in protected:
            gone.append(dump)
            total -= dump.bytes
    return sorted(gone, reverse=True)


def choose(source: str, dumps: t.Sequence[Dump], directory: str) -> str:
    """Path of the dump that is meant: a path, a file's name, a dump's name (its newest), or empty for the newest.

    That is none of those that a restore made, while there is another: who runs one again that broke off means the dump
    of before, and not what he wanted to be rid of. Raises DumpError with the names that there are.
    """
    if "/" in source:
        return source
    ordered = sorted(dumps, reverse=True)
    for dump in sorted(ordered, key=lambda dump: dump.name == BEFORE_RESTORE):
        if source in ("", dump.name, os.path.basename(dump.path)):
            return dump.path
    there = ", ".join(f"{dump.name} ({dump.time})" for dump in ordered)
    raise DumpError(
        f"There is no dump {f'named {source} ' if source else ''}in {directory}. Nothing was changed. "
        + (f"There are: {there}." if there else "There is none at all; playbooks/backup.yml makes one.")
    )


def check_space(needed: int, free: int, what: str, where: str, mend: str) -> None:
    """Raises DumpError where fewer bytes are free than needed."""
    if needed > free:
        raise DumpError(
            f"{what} needs up to {human(needed)}, and {human(free)} are free in {where}. Nothing was changed. {mend}"
        )


def restored_size(live: int, archive: int) -> int:
    """Bytes that a restored database may take: the live one may have lost rows, so the archive counts as well."""
    return max(live, archive * EXPANSION)


# -- contents


def parse_contents(text: str) -> Contents:
    """What C(pg_restore --list) says. 1259 and 3079 are pg_class and pg_extension, whatever a table is called."""
    entries, tables, extensions = 0, set(), set()
    version = re.search(r"^;\s+Dumped from database version: (\S+)", text, re.MULTILINE)
    for line in text.splitlines():
        if not re.match(r"\d+; ", line):
            continue
        entries += 1
        table = re.fullmatch(r"\d+; 1259 \d+ TABLE (.+) \S+", line)
        extension = re.fullmatch(r"\d+; 3079 \d+ EXTENSION - (.+?) *", line)
        if table:
            tables.add(table[1])
        elif extension:
            extensions.add(extension[1])
    return Contents(entries, frozenset(tables), frozenset(extensions), version[1] if version else "")


def check_version(path: str, dumped: str, server: str, across: bool) -> None:
    """Raises DumpError where a dump is of another major version than the server (both like "17.6")."""
    if not dumped or int(dumped.split(".")[0]) == int(server.split(".")[0]):
        return
    of, runs = dumped.split(".")[0], server.split(".")[0]
    if int(of) > int(runs):
        mend = f"PostgreSQL never reads a newer one's dump: deploy with an image of PostgreSQL {of} first."
    elif across:
        return
    else:
        mend = (
            f"To have the same, deploy with an image of PostgreSQL {of} first. An upgrade to {runs} that is meant: "
            "read its release notes, then run this again with -e postgres_restore_across_versions=true."
        )
    raise DumpError(
        f"{path} is of PostgreSQL {dumped}, and {server} runs here: another major version. Nothing was changed. {mend}"
    )


class Manifest(t.NamedTuple):
    """What a dump holds: "schema table" to [rows, checksum]; names of migrations; the file's own checksum."""

    version: str
    sha256: str
    tables: dict[str, list[t.Any]]
    migrations: t.Optional[list[str]]

    @property
    def rows(self) -> int:
        return sum(count for count, _checksum in self.tables.values())


def parse_manifest(text: str) -> Manifest:
    """Raises ValueError for what is none."""
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    try:
        tables = {str(name): [int(count), str(checksum)] for name, (count, checksum) in data["tables"].items()}
        return Manifest(str(data["version"]), str(data["sha256"]), tables, data["migrations"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it has another form ({type(error).__name__}: {error})") from error


def parse_fingerprint(text: str) -> dict[str, list[t.Any]]:
    """What FINGERPRINT printed: "schema table" to [rows, checksum]."""
    lines = (json.loads(line) for line in text.splitlines() if line)
    return {name: [rows, checksum] for name, rows, checksum in lines}


def compare(wanted: t.Mapping[str, t.Any], found: t.Mapping[str, t.Any]) -> list[str]:
    """What differs between two fingerprints, as sentences; tables that are only found are not asked about."""
    lines = []
    for name, (rows, checksum) in sorted(wanted.items()):
        if name not in found:
            lines.append(f"{name} is missing, {rows} rows were dumped")
        elif found[name][0] != rows:
            lines.append(f"{name} has {found[name][0]} rows, {rows} were dumped")
        elif found[name][1] != checksum:
            lines.append(f"{name} has its {rows} rows, but other contents")
    return lines


def migrations_verdict(dumped: t.Optional[t.Sequence[str]], live: t.Optional[t.Sequence[str]]) -> str:
    """Whether the dump's tables are those that the served release knows, as a sentence."""
    if dumped is None or live is None:
        return "Its migrations are not on record, so whether the served release can work with it is not known."
    missing = [name for name in live if name not in dumped]
    further = [name for name in dumped if name not in live]
    if missing:
        return (
            f"It lacks {len(missing)} of the {len(live)} migrations that are there now ({', '.join(missing)}): deploy "
            "the release again afterwards, which migrates, or go back to the release of its time."
        )
    if further:
        return (
            f"It has {len(further)} migrations that are not there now ({', '.join(further)}): deploy the release that "
            "brought them afterwards."
        )
    return f"Its {len(dumped)} migrations are those that are there now."


def age(seconds: float) -> str:
    """A time that has passed, for a person: "4 min", "26.5 h", "12 days"."""
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"


def plan_lines(now: t.Mapping[str, t.Any], dumped: t.Mapping[str, t.Any]) -> list[str]:
    """Rows of each table now and in the dump, the differing ones first; both are fingerprints."""
    names = sorted(set(now) | set(dumped), key=lambda name: (now.get(name) == dumped.get(name), name))

    def side(fingerprint: t.Mapping[str, t.Any], name: str) -> str:
        return f"{fingerprint[name][0]:,}" if name in fingerprint else "-"

    def verdict(name: str) -> str:
        if now.get(name) == dumped.get(name):
            return "the same"
        return "other contents" if side(now, name) == side(dumped, name) else "differs"

    width = max([len(name) for name in names], default=5)
    lines = [f"{name:{width}} {side(now, name):>14} {side(dumped, name):>14}  {verdict(name)}" for name in names]
    return [f"{'table':{width}} {'rows now':>14} {'in the dump':>14}", *lines]


def tail(text: str, lines: int = 6) -> str:
    """The last lines of a program's errors, indented for a message."""
    return "".join(f"\n  {line}" for line in text.strip().splitlines()[-lines:])


# -- SQL

OBSERVE = r"""
SELECT json_build_object(
  'databases', (SELECT json_object_agg(datname, pg_database_size(oid)) FROM pg_database),
  'version', split_part(current_setting('server_version'), ' ', 1),
  'data_directory', current_setting('data_directory'));
"""

# Held open while pg_dump and the fingerprint read, so that both see one moment.
SNAPSHOT = r"""
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') \g /dev/null
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot();
"""

IN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT :'snapshot';\n"

# Rows and a checksum that does not depend on their order, for each ordinary table that a dump holds the rows of: not
# an extension's. What a row looks like as text depends on these settings.
FINGERPRINT = r"""
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET search_path = '';
SELECT format('SELECT json_build_array(%L, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text) '
              'FROM ONLY %I.%I t',
              nspname || ' ' || relname, nspname, relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND relpersistence = 'p' AND nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 \gexec
"""

# Tools for migrations call the column that names one differently.
MIGRATIONS = r"""
SELECT format('SELECT json_agg(coalesce(j ->> ''name'', j ->> ''version'', j ->> ''filename'') ORDER BY j ->> ''id'') '
              'FROM %s t, to_jsonb(t) j',
              to_regclass(:'table'))
WHERE to_regclass(:'table') IS NOT NULL \gexec
"""

# Roles are in no dump, and a row's owner is part of what a restore has to be able to make.
ROLES = r"""
SELECT format('CREATE ROLE %I;', rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres';
"""

# A run that was killed leaves its programs in the container.
END_SESSIONS = r"""
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid();
"""

DROP = r"""
SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', :'name') \gexec
"""

# Owner, locale, privileges, settings and comment belong to a database and not to its dump; they are the live one's.
CREATE = r"""
SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', :'new') \gexec
SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %s TABLESPACE %I CONNECTION LIMIT %s',
              :'new', datdba::regrole, spcname, datconnlimit)
  || format(' ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype)
  || CASE datlocprovider WHEN 'c' THEN ' LOCALE_PROVIDER libc'
       WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', locale)
       WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', locale) END
FROM pg_database d JOIN pg_tablespace s ON s.oid = dattablespace,
     -- The column has had two names.
     LATERAL (SELECT coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale) l
WHERE datname = :'live' \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %s', :'new', datdba::regrole)
FROM pg_database WHERE datname = :'live' AND datacl IS NOT NULL \gexec
SELECT format('GRANT %s ON DATABASE %I TO %s%s', privilege_type, :'new',
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
FROM pg_database, aclexplode(datacl) WHERE datname = :'live' \gexec
-- A list is stored as it is written, quotes and all.
SELECT format('ALTER %s SET %I TO %s',
              CASE setrole WHEN 0 THEN format('DATABASE %I', :'new')
                ELSE format('ROLE %s IN DATABASE %I', setrole::regrole, :'new') END,
              split_part(setting, '=', 1),
              CASE WHEN split_part(setting, '=', 1) IN ('search_path', 'temp_tablespaces', 'session_preload_libraries',
                                                        'local_preload_libraries')
                THEN value ELSE quote_literal(value) END)
FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) setting,
     LATERAL (SELECT substr(setting, strpos(setting, '=') + 1) AS value) v
WHERE datname = :'live' \gexec
SELECT format('COMMENT ON DATABASE %I IS %L', :'new', comment)
FROM pg_database d, shobj_description(d.oid, 'pg_database') comment
WHERE datname = :'live' AND comment IS NOT NULL \gexec
"""

# An archive does not say whose an extension is: what the application's role made by a migration, it has to be able to
# update. pg_restore leaves an extension alone that is there. Run in the live database; prints SQL for the new one.
EXTENSIONS = r"""
SELECT format('SET ROLE %s; CREATE EXTENSION IF NOT EXISTS %I SCHEMA public; RESET ROLE;', extowner::regrole, extname)
FROM pg_extension JOIN pg_roles r ON r.oid = extowner
WHERE NOT rolsuper AND extnamespace = 'public'::regnamespace AND extname = ANY (string_to_array(:'wanted', ','));
"""

TABLES = r"""
SELECT nspname || ' ' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p');
"""

# Until autovacuum comes by, a restored table has no statistics, and its queries no good plan.
ANALYZE = "ANALYZE;"

# One transaction: whatever is killed, the live name has the old database or the new one. The lock lets new connections
# wait for the moment that it takes instead of refusing them; they look their database's name up afterwards. Renaming
# waits 5 s for the old sessions to end (CountOtherDBBackends). A session holds that lock itself when it has read
# pg_database in a transaction: only those are ended before.
SWITCH = r"""
SET lock_timeout = '5s';
SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity
WHERE datname = :'live' AND pid IN (SELECT pid FROM pg_locks WHERE relation = 'pg_database'::regclass) \g /dev/null
BEGIN;
LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE;
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN (:'live', :'new');
SELECT format('ALTER DATABASE %I RENAME TO %I', :'live', :'kept') \gexec
SELECT format('ALTER DATABASE %I RENAME TO %I', :'new', :'live') \gexec
COMMIT;
"""
