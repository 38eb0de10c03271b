# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps and restores of the running stack's database: rows come back exactly, and what fails changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import cgroup
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    BUDGET,
    HOME,
    NAME,
    ROOT,
    ask,
    deploy,
    docker,
    eventually,
    info,
    inspect,
    refused,
    run_in,
    serves,
    untouched,
)

pytestmark = pytest.mark.usefixtures("clean")
BACKUPS = HOME / "backups"
BACKUP = {"playbook": "playbooks/backup.yml"}
RESTORE = {"playbook": "playbooks/restore.yml", "restore_confirm": NAME}
MB = 1024**2


# -- the database


def query(statement, database="sixty"):
    command = ("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
    return run_in("postgres", *command, f"--dbname={database}", "--command", statement)


def as_application(statement, database="sixty"):
    """As the API logs in: over TCP with its password."""
    script = (
        "PGPASSWORD=$(cat /etc/sixty/current/secrets/app_password) exec psql --no-psqlrc --tuples-only --no-align "
        '--quiet --host=127.0.0.1 --username=sixty --dbname="$1" --command="$2"'
    )
    return run_in("postgres", "sh", "-c", script, "sh", database, statement)


def databases():
    return set(query("SELECT datname FROM pg_database WHERE NOT datistemplate", "postgres").split()) - {"postgres"}


def picture(database="sixty"):
    """All that a database consists of: rows, sequences, definitions, owners and privileges."""
    names = query("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'", database)
    rows = {
        name: query(f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {name} t", database)
        for name in names.split()
    }
    facts = {
        "sequences": "SELECT sequencename, sequenceowner, last_value, data_type FROM pg_sequences",
        "columns": "SELECT table_name, ordinal_position, column_name, data_type, column_default, is_nullable, "
        "identity_generation, generation_expression FROM information_schema.columns WHERE table_schema = 'public'",
        "indexes": "SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
        "WHERE relnamespace = 'public'::regnamespace",
        "constraints": "SELECT conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
        "triggers": "SELECT tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "functions": "SELECT proname, proowner::regrole, md5(prosrc), proconfig, proacl FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace",
        "extensions": "SELECT extname, extowner::regrole, extversion, extnamespace::regnamespace FROM pg_extension",
        "owners": "SELECT relname, relkind, relowner::regrole, relacl FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace",
        "schema": "SELECT nspowner::regrole, nspacl FROM pg_namespace WHERE nspname = 'public'",
        "database": "SELECT datdba::regrole, encoding, datcollate, datctype, datlocprovider, datconnlimit, "
        "datallowconn, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()",
        "privileges": "SELECT acl FROM pg_database, unnest(datacl) acl WHERE datname = current_database()",
        "settings": "SELECT setrole::regrole, setconfig FROM pg_db_role_setting JOIN pg_database d "
        "ON d.oid = setdatabase WHERE datname = current_database()",
    }
    return {
        "rows": rows,
        **{name: sorted(query(statement, database).splitlines()) for name, statement in facts.items()},
    }


def settled():
    """The rows, once two looks at them see the same."""
    rows = picture()["rows"]
    return rows if picture()["rows"] == rows else None


def differences(one, other):
    return {key: (one[key], other[key]) for key in one if one[key] != other[key]}


def deals(path="/api/deals?page_size=20"):
    answer = ask(path)
    assert answer.status == 200, answer
    return json.loads(answer.body)


@contextlib.contextmanager
def bulk(megabytes):
    """A table that does not compress: a dump of it takes a moment."""
    # 128 characters a row, of which nothing repeats.
    text = " || ".join(f"md5((g * {factor})::text)" for factor in (3, 5, 7, 11))
    rows = f"SELECT g AS id, {text} AS t FROM generate_series(1, {megabytes * 6000}) g"
    query(f"SET ROLE sixty; CREATE TABLE bulk AS {rows}")
    yield
    query("DROP TABLE IF EXISTS bulk")


# -- the modules, without a play around them


def verify(**changed):
    image = inspect(f"{NAME}-postgres")["Config"]["Image"]
    bounds = {"memory": 256 * MB, "cpus": 0.5, "pids_limit": 64, "settings": {"shared_buffers": "32MB"}}
    return {"stack": NAME, "image": image, "user": "999:999", **bounds, **changed}


def told():
    return json.loads((HOME / "status/backup.json").read_text())


LAUNCH = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import backup, postgres_dump
with patch_module_args(json.loads(sys.argv[2])):
    {"backup": backup, "postgres_dump": postgres_dump}[sys.argv[1]].main()
"""
# These are actions of the module backup.
OF_BACKUP = ("run", "unpack")


def start(action, check=False, **arguments):
    """The module's process, leader of a group of its own."""
    given = {"container": f"{NAME}-postgres", "directory": str(BACKUPS), "action": action, **arguments}
    if action in OF_BACKUP:
        given = {"root": str(HOME), "status": str(HOME / "status/backup.json"), "verify": verify(), **given}
    name = "backup" if action in OF_BACKUP else "postgres_dump"
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, name, json.dumps({**given, "_ansible_check_mode": check})],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev/collections")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def module(action, **arguments):
    """Its result."""
    process = start(action, **arguments)
    out, err = process.communicate(timeout=120)
    assert out, err
    return json.loads(out)


def done(action, **arguments):
    result = module(action, **arguments)
    assert not result.get("failed"), result["msg"]
    return result


def failed(action, *parts, **arguments):
    """It has to fail, and to say each of the parts."""
    result = module(action, **arguments)
    assert result.get("failed"), result
    for part in parts:
        assert part in result["msg"], result["msg"]
    return result["msg"]


def files():
    """But for what is on record of the dumps, and the place of what is half done."""
    there = BACKUPS.iterdir() if BACKUPS.exists() else []
    return sorted(path.name for path in there if path.suffix != ".json" and path.name != ".work")


@pytest.fixture
def clean(stack):
    """Each test begins and ends with the rows of the stack, without dumps and without other databases."""

    def clear():
        shutil.rmtree(BACKUPS, ignore_errors=True)
        for name in databases() - {"sixty"}:
            query(f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")

    clear()
    status = HOME / "status/backup.json"
    # What the stack itself was told of its backups.
    before_status = status.read_text() if status.exists() else None
    status.unlink(missing_ok=True)
    done("dump", name="rows-of-the-stack", directory=f"{BACKUPS}-of-the-tests")
    # Its own sequence of events moves without any change of a row.
    before = picture()["rows"]
    yield
    if picture()["rows"] != before:
        done("restore", source="", directory=f"{BACKUPS}-of-the-tests")
    clear()
    status.unlink(missing_ok=True)
    if before_status is not None:
        status.write_text(before_status)
    shutil.rmtree(f"{BACKUPS}-of-the-tests")
    eventually(serves, "the stack serves again")


@pytest.fixture
def small(tmp_path):
    """Makes a file system of so many megabytes for dumps."""
    mounted = []

    def mount(megabytes):
        place = tmp_path / "small"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


# -- by the playbooks


class TestPlaybooks:
    @pytest.fixture
    def settings(self):
        """Of the database, and in no dump."""
        query("ALTER DATABASE sixty SET search_path = \"$user\", public; COMMENT ON DATABASE sixty IS 'it''s ours'")
        query("ALTER ROLE sixty IN DATABASE sixty SET statement_timeout = '61s'")
        yield
        query("ALTER DATABASE sixty RESET ALL; ALTER ROLE sixty IN DATABASE sixty RESET ALL")
        query("COMMENT ON DATABASE sixty IS NULL")

    @pytest.mark.usefixtures("settings")
    def test_rows_come_back_exactly(self):
        before, page = picture(), deals()
        made = deploy(backup_name="r-a", **BACKUP)
        [name] = files()
        path = BACKUPS / name
        assert name.endswith("Z-r-a.dump") and made.recap["changed"] == 1
        assert f"{path}: {path.stat().st_size} bytes, {len(before['rows'])} tables" in made.said
        assert (oct(path.stat().st_mode & 0o777), oct(BACKUPS.stat().st_mode & 0o777)) == ("0o600", "0o700")
        assert (path.stat().st_uid, BACKUPS.stat().st_uid) == (0, 0)
        # What the Memory Monitor is told, which is not root.
        status = HOME / "status/backup.json"
        told = json.loads(status.read_text())
        assert (told["bytes"], told["path"]) == (path.stat().st_size, str(path))
        assert oct(status.stat().st_mode & 0o777) == "0o644"
        assert abs(told["finished"] - path.stat().st_mtime) < 60

        newest = page["items"][0]["id"]
        assert ask("/api/deals", "POST", {"name": "after the dump", "company": "x", "owner": "x"}).status == 201
        query("UPDATE deals SET amount_cents = amount_cents + 1 WHERE id % 3 = 0")
        query("DELETE FROM deals WHERE id % 7 = 0 AND name <> 'after the dump'")
        query("DROP TABLE activities; ALTER TABLE deals ADD COLUMN later text; DROP INDEX deals_search")
        deploy(backup_name="r-b", **BACKUP)
        changed = picture()
        # A cache that was not emptied would go on with these.
        assert deals() != page and deals()["items"][0]["id"] > newest

        restored = deploy(restore_from="r-a", **RESTORE)
        assert differences(before, picture()) == {}
        assert deals() == page
        assert f"{path} is restored" in restored.said and "Maintenance" in restored.said

        # What it replaced is there twice.
        [kept] = databases() - {"sixty"}
        assert kept.startswith("sixty_before_restore_") and kept in restored.said
        assert differences(changed, picture(kept)) == {}
        assert [name.partition("Z-")[2] for name in files()] == ["r-a.dump", "r-b.dump", "before-restore.dump"]

        # It is no picture of a database: the application goes on with it.
        answer = ask("/api/deals", "POST", {"name": "after the restore", "company": "x", "owner": "x"})
        assert answer.status == 201 and json.loads(answer.body)["id"] > max(row["id"] for row in page["items"])
        assert deals()["items"][0]["name"] == "after the restore"
        assert int(as_application("SELECT count(*) FROM deals")) == page["total"] + 1
        as_application("UPDATE deals SET name = 'by the role' WHERE name = 'after the restore'")
        as_application("ALTER EXTENSION pg_trgm UPDATE; CREATE TABLE mine (id int); DROP TABLE mine")
        plan = as_application("SET enable_seqscan = off; EXPLAIN SELECT 1 FROM deals WHERE search_text LIKE '%silver%'")
        assert "deals_search" in plan
        assert as_application("SHOW statement_timeout") == "61s"

        # And back to what was there before it: its name is that of no release.
        deploy(restore_from="before-restore", **RESTORE)
        assert differences(changed["rows"], picture()["rows"]) == {}

    def test_check_mode_touches_nothing(self):
        with untouched():
            made = deploy("--check", "--diff", backup_name="r-a", **BACKUP)
        assert "-r-a.dump would be made" in made.said and made.recap["changed"] == 1
        assert [line[:2] for line in made.differences] == ["+/"] and not BACKUPS.exists()

        done("dump", name="r-a")
        before, there = picture(), databases()
        with untouched():
            planned = deploy("--check", restore_from="r-a", **RESTORE)
        assert "-r-a.dump" in planned.said and "replaces the database sixty" in planned.said
        assert (differences(before, picture()), databases()) == ({}, there)

    def test_a_dump_that_is_not_whole_is_refused_while_the_site_is_open(self):
        whole = Path(done("dump", name="r-a")["path"])
        cut = whole.with_name(whole.name.replace("r-a", "r-cut"))
        before = picture()
        for size in (whole.stat().st_size - 1, whole.stat().st_size // 2, 10, 0):
            cut.write_bytes(whole.read_bytes()[:size])
            with untouched():
                failed("restore", f"{cut} (", "is no whole dump", "sixty was left as it is", source="r-cut")
        with untouched():
            ended = refused("is no whole dump, so it is not restored", "r-cut", restore_from="r-cut", **RESTORE)
        assert "Close the site" not in ended.text
        assert (differences(before, picture()), databases()) == ({}, {"sixty"})

    def test_an_unknown_dump_is_refused_with_those_that_there_are(self):
        with untouched():
            refused("There is none at all", "playbooks/backup.yml", **RESTORE)
        done("dump", name="r-a")
        with untouched():
            refused("There is no dump named r-9", "There are: r-a (", restore_from="r-9", **RESTORE)
            refused("is no file on this host", restore_from="/nowhere/x.dump", **RESTORE)

    def test_a_restore_that_fails_opens_the_site_again(self):
        query("CREATE ROLE gone; CREATE TABLE theirs (id int); ALTER TABLE theirs OWNER TO gone")
        done("dump", name="r-a")
        query("DROP TABLE theirs; DROP ROLE gone")
        before = picture()
        said = refused(
            'role "gone" does not exist', "sixty was not touched", "off from now", restore_from="r-a", **RESTORE
        )
        assert "sixty_restore was dropped" in said.said
        assert ask("/").status == 200 and not (HOME / "route/maintenance").exists()
        assert (differences(before, picture()), databases()) == ({}, {"sixty"})

    def test_who_closed_the_site_opens_it(self):
        done("dump", name="r-a")
        deploy(playbook="playbooks/maintenance.yml", maintenance="on")
        try:
            ended = deploy(restore_from="r-a", restore_safety_dump=False, **RESTORE)
            assert "The site was closed before and stays so" in ended.said and ask("/api/deals").status == 503
            assert len(files()) == 1
        finally:
            deploy(playbook="playbooks/maintenance.yml", maintenance="off")
        assert deals()["total"] > 0

    def test_redis_that_cannot_be_emptied_is_said(self):
        done("dump", name="r-a")
        docker("stop", f"{NAME}-redis")
        try:
            ended = refused(
                "is restored from", "-redis could not be emptied", "not running", restore_from="r-a", **RESTORE
            )
        finally:
            docker("start", f"{NAME}-redis")
        assert "off from now" in ended.said and ask("/").status == 200


# -- backups: verified, copied, kept by a schedule


@pytest.fixture
def age(tmp_path):
    """(secret key, public key), and the program."""
    if shutil.which("age") is None:
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "age"], check=True)
    subprocess.run(["age-keygen", "--output", tmp_path / "identity"], check=True, capture_output=True)
    secret = (tmp_path / "identity").read_text().split()[-1]
    return secret, subprocess.check_output(["age-keygen", "-y", tmp_path / "identity"], text=True).strip()


@pytest.fixture
def impossible():
    """A table whose rows no other database takes: its dump is whole, and cannot be restored."""
    query("CREATE FUNCTION here() RETURNS bool LANGUAGE sql AS $$ SELECT current_database() = 'sixty' $$")
    query("CREATE TABLE rooted (id int CHECK (public.here())); INSERT INTO rooted VALUES (1)")
    yield
    query("DROP TABLE rooted; DROP FUNCTION here()")


def throw_aways():
    return docker("ps", "--all", "--quiet", "--filter", f"name={NAME}-backup_verify")


class TestBackups:
    def test_a_dump_is_restored_elsewhere_and_compared(self):
        began = time.time()
        result = done("run", name="scheduled")
        news = told()
        assert (result["verified"], result["copied"], news["verified_path"]) == (True, False, result["path"])
        assert news["verified"] >= news["finished"] - 60 and news["verified"] >= int(began)
        assert "failed" not in news and throw_aways() == ""
        record = json.loads(Path(result["path"]).with_suffix(".json").read_text())
        assert record["tables"]["public deals"][0] == int(query("SELECT count(*) FROM deals"))
        assert record["migrations"] == query("SELECT name FROM schema_migrations ORDER BY id").split()
        # The dump of a deploy leaves on record when one was verified.
        done("dump", name="r-a", status=str(HOME / "status/backup.json"))
        assert told()["verified"] == news["verified"] and told()["path"] != news["path"]

    def test_what_cannot_be_restored_is_set_aside_and_costs_no_good_one(self, impossible):
        query("ALTER TABLE rooted RENAME TO elsewhere; DELETE FROM elsewhere")
        good = done("run", name="scheduled")["path"]
        query("INSERT INTO elsewhere VALUES (1); ALTER TABLE elsewhere RENAME TO rooted")
        before = told()
        failed(
            *("run", "cannot be restored", "violates check constraint", ".dump.bad now", "No dump was removed"),
            **{"name": "scheduled", "keep_daily": 1},
        )
        assert [name.rpartition(".")[2] for name in files()] == ["dump", "bad"] and files()[0] == Path(good).name
        news = told()
        assert {name: news[name] for name in before} == before
        assert news["failed"] >= before["finished"] and "cannot be restored" in news["error"]
        assert throw_aways() == ""
        assert done("list")["path"] == good
        # Nor does it cost one of those that are counted.
        counted = done("dump", name="r-a")["path"]
        failed("run", "cannot be restored", "No dump was removed", name="r-b", keep=1)
        assert Path(counted).exists()

    def test_what_could_not_be_verified_is_kept_and_said(self):
        failed("run", "but not verified", "No such image", name="scheduled", verify=verify(image="sixty/none:1"))
        assert len(files()) == 1 and told()["path"].endswith(files()[0]) and "verified" not in told()
        failed("run", "may take 8,388,619 MB", verify=verify(memory=8 * 1024**4))
        result = done("run")
        assert result["verified"] and "failed" not in told() and "error" not in told()

    @pytest.mark.slow
    def test_a_run_that_was_killed_is_mended(self):
        with bulk(40):
            process = start("run", name="scheduled")
            eventually(throw_aways, "the throw-away PostgreSQL runs")
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            assert throw_aways() != ""
            done("run", name="scheduled")
        assert throw_aways() == ""

    @pytest.mark.slow
    def test_a_schedule_keeps_days_and_weeks(self):
        path = Path(done("run", name="scheduled")["path"])
        for day in range(1, 25):
            for suffix in (".dump", ".json"):
                shutil.copy(path.with_suffix(suffix), BACKUPS / f"202610{day:02d}T031700.000Z-scheduled{suffix}")
        done("dump", name="r-a", keep=1)
        planned = done("run", name="scheduled", check=True, keep_daily=3, keep_weekly=2, keep_monthly=0)
        assert len(files()) == 26
        result = done("run", name="scheduled", keep_daily=3, keep_weekly=2, keep_monthly=0)
        assert [name[:8] for name in files()][:2] == ["20261023", "20261024"] and "r-a.dump" in files()[-2]
        assert len(files()) == 4 and len(result["removed"]) == len(planned["removed"])
        records = {file.stem for file in BACKUPS.glob("*.json")}
        assert records == {Path(name).stem for name in files()}

    def test_a_copy_is_sealed_and_comes_back(self, age, tmp_path):
        secret, public = age
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        copy = {"recipients": [public], "command": ["cp", "{}", str(elsewhere)]}
        before = picture()["rows"]
        result = done("run", name="r-a", copy=copy)
        [sealed] = elsewhere.iterdir()
        assert result["copied"] and told()["copied"] and sealed.name == Path(result["path"]).stem + ".tar.age"
        assert list((BACKUPS / ".work").iterdir()) == []
        query("DELETE FROM deals WHERE id % 2 = 0")
        shutil.rmtree(BACKUPS)

        whole = sealed.read_bytes()
        other = subprocess.check_output(["age-keygen"], text=True, stderr=subprocess.DEVNULL).split()[-1]
        failed("unpack", "no identity matched", "Nothing was changed", source=str(sealed), identity=other)
        for broken in (whole[:-1], whole[: len(whole) // 2], whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], b""):
            sealed.write_bytes(broken)
            failed("unpack", "was not unpacked", "Nothing was changed", source=str(sealed), identity=secret)
            assert files() == []
        sealed.write_bytes(whole)
        ended = deploy(restore_file=str(sealed), backup_identity=secret, **RESTORE)
        assert "are those that were dumped" in ended.said and picture()["rows"] == before
        assert secret not in ended.text and not (HOME / "restore").exists()

    def test_a_copy_that_fails_is_said_and_the_dump_stays(self, age):
        copy = {"recipients": [age[1]], "command": ["sh", "-c", 'echo "no route to $0" >&2; exit 3', "{}"]}
        failed("run", "was not copied to another host", "sh ended with 3", "no route to", name="scheduled", copy=copy)
        news = told()
        assert len(files()) == 1 and news["verified_path"] == news["path"] and "copied" not in news
        copy["recipients"] = ["age1nonsense"]
        failed("run", "age ended with 1", name="scheduled", copy=copy)

    @pytest.mark.slow
    def test_one_backup_at_a_time(self):
        processes = [start("run", name=name) for name in ("r-a", "r-b")]
        ended = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
        assert all(result["verified"] for result in ended) and len(files()) == 2 and throw_aways() == ""


class TestProgram:
    """What a timer runs, and cron where there is no systemd, without Ansible."""

    PROGRAM = HOME / "config/backup/current/program"

    @pytest.fixture
    def program(self):
        deploy("--tags=backup", backup_schedule="*-*-* 03:17:00")

        def run(command, **environment):
            arguments = ["/usr/bin/python3", "-BS", str(self.PROGRAM), command]
            return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)

        yield run
        deploy("--tags=backup", backup_schedule="")
        assert not self.PROGRAM.exists()

    def test_it_backs_up_and_tells_when_it_was_ended(self, program):
        ended = program("run", PATH="/usr/bin:/usr/sbin:/bin")
        assert ended.returncode == 0 and re.search(
            r"scheduled.dump: .* 3 tables, \d+ rows, verified; 0 older", ended.stdout
        )
        assert told()["verified_path"] in ended.stdout and "failed" not in told()
        # It has told that itself.
        program("ended", EXIT_CODE="exited", SERVICE_RESULT="success")
        assert "failed" not in told()
        program("ended", EXIT_CODE="killed", SERVICE_RESULT="timeout")
        assert told()["failed"] and told()["error"] == "systemd ended the backup: timeout"


class TestRefusals:
    def test_nobody_confirmed(self):
        done("dump", name="r-a")
        asked = {"playbook": "playbooks/restore.yml", "restore_from": "r-a"}
        with untouched():
            refused("nobody confirmed that", f"-e restore_confirm={NAME}", **asked)
            refused('the answer was "yes"', restore_confirm="yes", **asked)

    def test_what_was_brought_and_refused_does_not_stay(self, tmp_path):
        whole = Path(done("dump", name="r-a")["path"])
        brought = {"playbook": "playbooks/restore.yml", "restore_file": str(shutil.copy(whole, tmp_path))}
        broken = tmp_path / "broken.dump"
        broken.write_bytes(whole.read_bytes()[:-1])
        with untouched():
            refused("nobody confirmed that", **brought)
            refused("is no whole dump", **{**brought, "restore_file": str(broken), "restore_confirm": NAME})
        assert not (HOME / "restore").exists()

    def test_another_major_version(self):
        record = Path(done("dump", name="r-a")["path"]).with_suffix(".json")
        content = json.loads(record.read_text())
        for version, said in (("15.4", "across_versions=true"), ("99.1", "image of PostgreSQL 99 first")):
            record.write_text(json.dumps({**content, "version": version}))
            with untouched():
                failed("restore", f"is of PostgreSQL {version}", "another major version", said, source="r-a")
        record.write_text(json.dumps({**content, "version": "15.4"}))
        done("restore", source="r-a", across_versions=True)

    def test_rows_that_are_not_those_on_record(self):
        record = Path(done("dump", name="r-a")["path"]).with_suffix(".json")
        content = json.loads(record.read_text())
        content["tables"]["public deals"][0] += 1
        record.write_text(json.dumps(content))
        before = picture()
        failed("restore", "1 of its 3 tables differ", "3001 were dumped", "sixty was not touched", source="r-a")
        assert (differences(before, picture()), databases()) == ({}, {"sixty"})
        record.write_text("{")
        failed("restore", "cannot be read", "Nothing was changed", source="r-a")

    def test_contents_that_were_changed(self):
        path = Path(done("dump", name="r-a")["path"])
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        failed("restore", "its SHA-256 is", "is no whole dump", source="r-a")

    def test_the_plan_tells_what_would_change(self):
        done("dump", name="r-a")
        query("DELETE FROM deals WHERE id = (SELECT max(id) FROM deals)")
        query("INSERT INTO schema_migrations (name, run_on) VALUES ('9_later', now())")
        plan = "\n".join(done("restore", source="r-a", check=True)["plan"])
        query("DELETE FROM schema_migrations WHERE name = '9_later'")
        assert "min old, of PostgreSQL 17" in plan and "lacks 1 of the" in plan and "9_later" in plan
        assert re.search(r"public deals +[\d,]+ +[\d,]+  differs", plan), plan


# -- what goes wrong


@pytest.mark.slow
class TestDisk:
    def test_too_little_room_is_refused_with_numbers(self, small):
        place = small(1)
        size = int(query("SELECT pg_database_size('sixty')")) / MB
        parts = (f"needs up to {size:,.1f} MB, and 1 MB are free in {place}",)
        refused(*parts, postgres_backup_dir=str(place), **BACKUP)
        # Monitoring is told of that, and of nothing else.
        assert parts[0] in told()["error"] and set(told()) == {"error", "failed"}
        assert [path.name for path in place.iterdir()] == [".work"]

    def test_a_disk_that_fills_up_meanwhile_leaves_no_dump(self, small):
        place = small(256)
        with bulk(40):
            earlier = done("dump", name="r-a", directory=str(place))["path"]
            process = start("dump", name="r-b", directory=str(place))
            eventually(lambda: list(place.glob("*.part")), "it has begun to write")
            with contextlib.suppress(OSError), (place / "filler").open("wb") as handle:
                while True:
                    handle.write(bytes(MB))
            out, _err = process.communicate(timeout=60)
        result = json.loads(out)
        assert result["failed"] and "No dump of sixty was made" in result["msg"], result
        assert "no space left" in result["msg"].lower() and f"are free in {place}" in result["msg"]
        assert sorted(map(str, place.iterdir())) == sorted([earlier, f"{earlier[:-5]}.json", str(place / "filler")])


def test_the_oldest_are_removed_and_not_the_new_one():
    for number in range(4):
        result = done("dump", name=f"r-{number}", keep=3)
    assert [name.partition("Z-")[2] for name in files()] == ["r-1.dump", "r-2.dump", "r-3.dump"]
    assert [Path(path).name.partition("Z-")[2] for path in result["removed"]] == ["r-0.dump"]
    # One that seems to be of the future, and a file that is none of ours.
    for name in ("20990101T000000.000Z-r-9.dump", "notes.dump"):
        (BACKUPS / name).write_bytes(b"")
    planned = done("dump", name="r-4", keep=1, check=True)
    assert len(files()) == 5 and len(planned["removed"]) == 4
    made = done("dump", name="r-4", keep=1)
    assert files() == [Path(made["path"]).name, "notes.dump"]


def test_a_dump_that_was_killed_leaves_nothing_that_counts():
    with bulk(60):
        process = start("dump", name="r-a")
        eventually(lambda: [path for path in BACKUPS.glob("*.part") if path.stat().st_size], "it has begun to write")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert [Path(name).suffix for name in files()] == [".part"]
        assert done("list")["dumps"] == []
        result = done("dump", name="r-b")
        assert [line.partition(" (")[0][-9:] for line in result["mended"]] == ["dump.part"]
        assert "left by a dump that did not end" in str(result["warnings"])
        assert [name.partition("Z-")[2] for name in files()] == ["r-b.dump"]
        # Its pg_dump is gone too, so that nothing waits for its locks.
        others = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'postgres_dump/%'"
        assert query(others, "postgres") == "0"


def test_one_at_a_time():
    with bulk(60):
        first, second = start("dump", name="r-a"), start("dump", name="r-b")
        results = [json.loads(process.communicate(timeout=60)[0]) for process in (first, second)]
    assert [result.get("failed") for result in results] == [None, None], results
    assert len(files()) == 2


@pytest.mark.slow
def test_a_dump_under_writes_is_one_moment():
    """Both tables get a row in one transaction, so at any moment they have the same."""
    as_application("CREATE TABLE ledger (id int); CREATE TABLE mirror (id int)")
    over = threading.Event()
    write = "BEGIN; INSERT INTO ledger VALUES ({0}); INSERT INTO mirror VALUES ({0}); COMMIT;"

    def writer():
        number = 0
        while not over.is_set():
            query("".join(write.format(number + offset) for offset in range(20)))
            number += 20

    thread = threading.Thread(target=writer)
    with bulk(40):
        thread.start()
        try:
            eventually(lambda: int(query("SELECT count(*) FROM ledger")) > 100, "rows are written")
            first = int(query("SELECT count(*) FROM ledger"))
            done("dump", name="r-a")
            last = int(query("SELECT count(*) FROM ledger"))
        finally:
            over.set()
            thread.join()
    assert first < last
    done("restore", source="r-a")
    either = "ledger FULL JOIN mirror USING (id)"
    ledger, mirror, either = (int(query(f"SELECT count(*) FROM {table}")) for table in ("ledger", "mirror", either))
    assert first <= ledger <= last and ledger == mirror == either


# -- a restore that is killed, or cannot exchange


@pytest.mark.slow
class TestRestore:
    @pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["module", "module-and-client"])
    def test_killed_at_any_moment_the_database_is_the_old_or_the_new_one(self, kill):
        """And the next restore mends what is left."""
        with bulk(25):
            done("dump", name="r-a")
            new = picture()["rows"]
            query("DELETE FROM deals WHERE id % 2 = 0; DROP TABLE activities")
            old = picture()["rows"]
            began = time.monotonic()
            done("restore", source="r-a")
            whole = time.monotonic() - began
            mended = set()
            for part in range(1, 8):
                if picture()["rows"] != old:
                    query("DELETE FROM deals WHERE id % 2 = 0; DROP TABLE activities")
                process = start("restore", source="r-a")
                time.sleep(whole * part / 7)
                kill(process.pid, signal.SIGKILL)
                process.communicate()
                # What runs in the container goes on without it, and may just be at the exchange.
                assert eventually(settled, "two looks see the same") in (old, new), part
                assert (
                    eventually(lambda: as_application("SELECT count(*) FROM deals"), "the application logs in") != "0"
                )
                result = done("restore", source="r-a")
                assert picture()["rows"] == new, part
                assert databases() == {"sixty", result["kept"]}, part
                mended.update(line.partition(" (")[0] for line in result["mended"])
        assert mended == {"database sixty_restore"}, "no kill met a restore at work"

    def test_an_exchange_that_is_held_up_changes_nothing(self):
        done("dump", name="r-a")
        query("DELETE FROM deals WHERE id % 2 = 0")
        before = picture()
        # As a dump of another database by hand does: it has read pg_database in its transaction.
        holder = subprocess.Popen(
            ["docker", "exec", "--interactive", f"{NAME}-postgres", "psql", "--dbname=postgres"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        holder.stdin.write("BEGIN; SELECT count(*) FROM pg_database;\n")
        holder.stdin.flush()
        held = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_database'::regclass AND pid <> pg_backend_pid()"
        eventually(lambda: int(query(held, "postgres")) > 0, "the lock is held")
        try:
            failed("restore", "lock timeout", "sixty has all its rows", "sixty_restore was dropped", source="r-a")
        finally:
            holder.communicate("ROLLBACK;\n", timeout=30)
        assert (differences(before, picture()), databases()) == ({}, {"sixty"})
        assert serves()
        done("restore", source="r-a")

    def test_who_reads_pg_database_in_the_same_database_does_not_hold_it_up(self):
        done("dump", name="r-a")
        holder = subprocess.Popen(
            ["docker", "exec", "--interactive", f"{NAME}-postgres", "psql", "--dbname=sixty"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            holder.stdin.write("BEGIN; SELECT count(*) FROM pg_database;\n")
            holder.stdin.flush()
            held = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_database'::regclass AND pid <> pg_backend_pid()"
            eventually(lambda: int(query(held, "postgres")) > 0, "the lock is held")
            assert done("restore", source="r-a")["exchange_seconds"] < 5
        finally:
            holder.kill()
            holder.communicate()

    def test_new_connections_wait_and_are_not_refused(self):
        done("dump", name="r-a")
        over, errors, counts = threading.Event(), [], []

        def client():
            while not over.is_set():
                answer = docker("exec", f"{NAME}-postgres", "psql", "--dbname=sixty", "-Atc", "SELECT 1", check=False)
                # One that was connected at that moment is ended; that is no refusal.
                (counts if answer == "1" or "terminating connection" in answer else errors).append(answer)

        clients = [threading.Thread(target=client) for _ in range(3)]
        for thread in clients:
            thread.start()
        try:
            for _ in range(5):
                done("restore", source="r-a")
        finally:
            over.set()
            for thread in clients:
                thread.join()
        assert errors == [] and len(counts) > 20

    def test_the_replaced_database_goes_with_the_next_restore_or_at_once(self):
        done("dump", name="r-a")
        first = done("restore", source="r-a")["kept"]
        second = done("restore", source="r-a")["kept"]
        assert first != second and databases() == {"sixty", second}
        assert done("restore", source="r-a", keep_old=False)["kept"] is None
        assert databases() == {"sixty"}

    def test_without_the_database_it_says_where_it_is(self):
        done("dump", name="r-a")
        kept = done("restore", source="r-a")["kept"]
        query("ALTER DATABASE sixty ALLOW_CONNECTIONS false", "postgres")
        query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'sixty'", "postgres")
        query("ALTER DATABASE sixty RENAME TO elsewhere", "postgres")
        try:
            failed("restore", "There is no database sixty", f'ALTER DATABASE "{kept}" RENAME TO "sixty"', source="r-a")
        finally:
            query("ALTER DATABASE elsewhere RENAME TO sixty", "postgres")
            query("ALTER DATABASE sixty ALLOW_CONNECTIONS true", "postgres")


def test_a_stopped_container_is_said():
    docker("stop", f"{NAME}-postgres")
    try:
        failed("dump", f"{NAME}-postgres is exited", "Nothing was changed", f"docker start {NAME}-postgres")
        failed("restore", "is exited", source=str(next(Path(f"{BACKUPS}-of-the-tests").glob("*.dump"))))
    finally:
        docker("start", f"{NAME}-postgres")
        eventually(lambda: "accepting" in run_in("postgres", "pg_isready"), "PostgreSQL is back")
    failed("dump", "There is no container bkp-none", container="bkp-none")


@pytest.mark.slow
def test_memory_stays_below_the_alert():
    """A dump is streamed: neither PostgreSQL's container nor the module holds it."""
    member = cgroup.membership(Path(f"/proc/{inspect(f'{NAME}-postgres')['State']['Pid']}/cgroup").read_text())
    version = int(info().get("CgroupVersion") or 1)

    def opener(path):
        with contextlib.suppress(FileNotFoundError):
            return Path(path).read_text()

    with bulk(150):
        process, working, own = start("dump", name="r-a"), [], []
        before = cgroup.read(version, "/sys/fs/cgroup", member, opener)
        while process.poll() is None:
            working.append(cgroup.read(version, "/sys/fs/cgroup", member, opener)["working_set"])
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                own += re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            time.sleep(0.02)
        result = json.loads(process.communicate()[0])
        after = cgroup.read(version, "/sys/fs/cgroup", member, opener)
    budget = BUDGET["services"]["postgres"]
    highest, own_highest = max(working), max(map(int, own)) * 1024
    print(f"dump {result['bytes'] / MB:.0f} MB: container {highest / MB:.0f} MB, module {own_highest / MB:.0f} MB")
    assert result["bytes"] > 60 * MB and len(working) > 20
    assert highest < parse_size(budget["alert"]) < parse_size(budget["limit"])
    assert after["oom_kills"] == before["oom_kills"]
    assert own_highest < 60 * MB
