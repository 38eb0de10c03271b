# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of dumps, which are kept, which one is meant, and what a table of contents says."""

from __future__ import annotations

import datetime
import json
import typing

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import postgres_dump as core

HOME = "/srv/sixty/backups"
MB = 1024**2
ARGUMENTS = {"name": "r1", "database": "sixty", "keep": 5, "timeout": 60, "directory": HOME}


def dump(hour, name="by-hand", size=10):
    time = f"20261124T{hour:02d}0000.000Z"
    return core.Dump(time, name, f"{HOME}/{time}-{name}.dump", size)


class TestNames:
    def test_a_moment_sorts_as_its_text(self):
        moments = [datetime.datetime(2026, 11, 24, 9, 5, 1, us) for us in (999, 1000, 123456, 999999)]
        texts = [core.stamp(moment) for moment in moments]
        assert texts[2] == "20261124T090501.123Z" and texts == sorted(texts)
        assert core.stamp(datetime.datetime(2026, 2, 3)) == "20260203T000000.000Z"

    def test_a_file_name_is_found_again(self):
        time = "20261124T090501.123Z"
        for name in ("r1", "by-hand", "0c9cec4b94c5", "2026.11.3_b", "x" * 48):
            [found] = core.catalogue(HOME, {core.file_name(time, name): 7})
            assert found == (time, name, f"{HOME}/{time}-{name}.dump", 7)

    def test_other_files_are_not_dumps(self):
        others = [
            "r1.dump",
            "20261124T090501Z-r1.dump",
            "20261124T090501.123Z-.dump",
            "20261124T090501.123Z-r1.dump.part",
        ]
        assert core.catalogue(HOME, dict.fromkeys([*others, "20261124T090501.123Z-a b.dump", "notes"], 1)) == []

    def test_the_newest_comes_first(self):
        sizes = {f"{dump(hour).path.rpartition('/')[2]}": hour for hour in (3, 20, 11)}
        assert [found.bytes for found in core.catalogue(HOME, sizes)] == [20, 11, 3]

    def test_only_our_own_unfinished_files_are_leftovers(self):
        ours = "20261124T090501.123Z-r1.dump.part"
        record, orphan = "20261124T090501.123Z-r1.json", "20261124T090501.123Z-r2.json"
        assert core.leftovers({record: 1, "20261124T090501.123Z-r1.dump": 1, orphan: 2, "x.json": 1}) == {orphan: 2}
        assert core.leftovers({ours: 5, "x.part": 1, "20261124T090501.123Z-r1.dump": 1, f"{ours}.bak": 2}) == {ours: 5}

    def test_names_of_databases_fit_and_are_found_again(self):
        long = "d" * 28
        kept = core.kept_name(long, "20261124T090501.123Z")
        assert kept == f"{long}_before_restore_20261124_090501_123" and len(kept) == 63
        later = core.kept_name(long, "20261125T000000.000Z")
        others = [long, core.restore_name(long), f"{long}_before_restore_x", f"x{kept}", f"{kept}0"]
        assert core.kept_names(long, [*others, kept, later]) == [later, kept]

    def test_a_name_is_no_pattern(self):
        assert core.kept_names("a-b", [core.kept_name("axb", "20261124T090501.123Z")]) == []


@pytest.mark.parametrize(
    ("argument", "value", "word"),
    [
        *(("name", value, "cannot name a dump") for value in ("", "a/b", "-a", ".a", "a b", "x" * 49, "a\n", "r1;ls")),
        *(
            ("database", value, "cannot be dumped and restored")
            for value in ("", "postgres", "template1", "a.b", "-d", "host=x", 'a"b', "d" * 29)
        ),
        ("keep", -1, "number of dumps to keep"),
        ("timeout", 0, "seconds"),
        ("directory", "backups", "no absolute path"),
    ],
)
def test_arguments_that_are_refused(argument, value, word):
    error = core.check_arguments({**ARGUMENTS, argument: value})
    assert word in error and "Nothing was changed" in error


@pytest.mark.parametrize("more", [{}, {"keep": 0}, {"database": "sixty-2_b", "name": "2026.11"}])
def test_arguments_that_are_fine(more):
    assert core.check_arguments({**ARGUMENTS, **more}) is None


@pytest.mark.parametrize(
    ("hours", "keep", "made", "removed"),
    [
        ([1, 2, 3], 5, 3, []),
        ([1, 2, 3], 3, 3, []),
        ([1, 2, 3, 4], 3, 4, [1]),
        ([4, 1, 3, 2, 5], 2, 5, [3, 2, 1]),
        ([1, 2, 3], 1, 3, [2, 1]),
        ([1, 2, 3], 0, 3, []),
        # The clock was set back: the new one is not the newest by name.
        ([1, 8, 9], 2, 1, [8]),
        ([1, 8, 9], 1, 1, [9, 8]),
    ],
)
def test_which_dumps_are_removed(hours, keep, made, removed):
    assert core.outdated([dump(hour) for hour in hours], keep, dump(made).path) == [dump(hour) for hour in removed]


def test_the_last_that_was_verified_is_not_counted_out():
    dumps = [dump(hour) for hour in (1, 2, 3, 4)]
    assert core.outdated(dumps, 2, dump(4).path, dump(2).path) == [dump(1)]


def test_the_timers_dumps_are_not_counted():
    dumps = [dump(hour, "scheduled" if hour % 2 else "r1") for hour in range(1, 9)]
    assert core.outdated(dumps, 2, dump(8, "r1").path) == [dump(4, "r1"), dump(2, "r1")]


class TestSchedule:
    @staticmethod
    def nightly(days, size=10, name=core.SCHEDULED):
        """One dump a night, the newest first, back from the Tuesday 2026-11-24."""
        newest = datetime.datetime(2026, 11, 24, 3, 17)
        times = [core.stamp(newest - datetime.timedelta(days=day)) for day in range(days)]
        return [core.Dump(time, name, f"{HOME}/{time}-{name}.dump", size) for time in times]

    @staticmethod
    def kept(dumps, gone):
        return [entry.time[4:8] for entry in dumps if entry not in gone]

    def test_days_weeks_and_months(self):
        dumps = self.nightly(100)
        gone = core.outdated_scheduled(dumps, core.Schedule(3, 3, 3, 0), ())
        # The last three nights; the last of this and two more weeks (Sundays); the last of two more months.
        assert self.kept(dumps, gone) == ["1124", "1123", "1122", "1115", "1031", "0930"]
        assert len(gone) == 94

    def test_of_one_day_the_newest(self):
        dumps = [dump(hour, core.SCHEDULED) for hour in (23, 11, 5)]
        assert core.outdated_scheduled(dumps, core.Schedule(7, 0, 0, 0), ()) == dumps[1:]

    def test_days_without_a_dump_are_not_counted(self):
        dumps = self.nightly(30)[20:]
        assert self.kept(dumps, core.outdated_scheduled(dumps, core.Schedule(2, 0, 0, 0), ())) == ["1104", "1103"]

    def test_others_are_left_alone(self):
        dumps = self.nightly(5, name="r1")
        assert core.outdated_scheduled(dumps, core.Schedule(0, 0, 0, 1), ()) == []

    def test_what_is_protected_stays_whatever_is_asked(self):
        dumps = self.nightly(5)
        protected = {dumps[0].path, dumps[3].path}
        gone = core.outdated_scheduled(dumps, core.Schedule(0, 0, 0, 1), protected)
        assert gone == [dumps[1], dumps[2], dumps[4]]

    @pytest.mark.parametrize(("budget", "left"), [(0, 5), (50, 5), (49, 4), (25, 2), (1, 1)])
    def test_the_oldest_go_beyond_the_budget(self, budget, left):
        dumps = self.nightly(5)
        gone = core.outdated_scheduled(dumps, core.Schedule(5, 0, 0, budget), {dumps[0].path})
        assert gone == dumps[left:]

    def test_the_dumps_of_releases_take_of_the_budget(self):
        dumps, others = self.nightly(3), self.nightly(2, name="r1")
        assert core.outdated_scheduled(dumps + others, core.Schedule(3, 0, 0, 35), {dumps[0].path}) == dumps[1:]


class TestVersions:
    @pytest.mark.parametrize(("dumped", "server"), [("17.6", "17.12"), ("17.6", "17"), ("", "17.6")])
    def test_the_same_major_version(self, dumped, server):
        core.check_version("x.dump", dumped, server, across=False)

    def test_an_older_one_is_refused_unless_it_is_meant(self):
        with pytest.raises(core.DumpError, match=r"of PostgreSQL 15\.4, and 17\.6 runs here.*across_versions=true"):
            core.check_version("x.dump", "15.4", "17.6", across=False)
        core.check_version("x.dump", "15.4", "17.6", across=True)

    @pytest.mark.parametrize("across", [False, True])
    def test_a_newer_one_never(self, across):
        with pytest.raises(core.DumpError, match="image of PostgreSQL 18 first"):
            core.check_version("x.dump", "18.1", "17.6", across)


class TestFingerprints:
    ROWS: typing.ClassVar = {"public a": [2, "7"], "public b": [0, "0"]}

    def test_what_was_printed(self):
        text = '["public a", 2, "7"]\n["public b", 0, "0"]'
        assert core.parse_fingerprint(text) == self.ROWS and core.parse_fingerprint("") == {}

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            ({"public a": [2, "7"], "public b": [0, "0"], "public c": [1, "1"]}, []),
            ({"public a": [2, "7"]}, ["public b is missing, 0 rows were dumped"]),
            ({"public a": [1, "7"], "public b": [0, "0"]}, ["public a has 1 rows, 2 were dumped"]),
            ({"public a": [2, "8"], "public b": [0, "0"]}, ["public a has its 2 rows, but other contents"]),
        ],
    )
    def test_a_difference_is_said(self, found, said):
        assert core.compare(self.ROWS, found) == said

    def test_a_record_is_read_back(self):
        record = core.Manifest("17.6", "ab" * 32, self.ROWS, ["1_first"])
        assert core.parse_manifest(json.dumps(record._asdict())) == record and record.rows == 2

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "17", "sha256": "", "tables": 3, "migrations": []}'])
    def test_what_is_no_record(self, text):
        with pytest.raises(ValueError):  # noqa: PT011 - json's own among them
            core.parse_manifest(text)

    @pytest.mark.parametrize(
        ("dumped", "live", "said"),
        [
            (None, ["a"], "not known"),
            (["a"], None, "not known"),
            (["a"], ["a"], "Its 1 migrations are those"),
            (["a"], ["a", "b"], "lacks 1 of the 2 migrations that are there now (b)"),
            (["a", "b"], ["a"], "has 1 migrations that are not there now (b)"),
        ],
    )
    def test_migrations(self, dumped, live, said):
        assert said in core.migrations_verdict(dumped, live)

    def test_the_plan_shows_what_differs_first(self):
        now = {"public a": [2, "7"], "public b": [3, "1"], "public c": [1, "1"]}
        dumped = {"public a": [2, "7"], "public b": [1000, "2"], "public c": [1, "9"], "public d": [4, "4"]}
        lines = [line.split() for line in core.plan_lines(now, dumped)]
        assert lines[1:] == [
            ["public", "b", "3", "1,000", "differs"],
            ["public", "c", "1", "1", "other", "contents"],
            ["public", "d", "-", "4", "differs"],
            ["public", "a", "2", "2", "the", "same"],
        ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "1 min"), (7200, "2.0 h"), (95400, "26.5 h"), (12 * 86400, "12 days")]
)
def test_age(seconds, text):
    assert core.age(seconds) == text


class TestChoose:
    DUMPS = (dump(1, "r1"), dump(2, "r2"), dump(3, "r1"), dump(4, "before-restore"))

    @pytest.mark.parametrize(
        ("source", "hour", "name"),
        [
            ("", 3, "r1"),
            ("before-restore", 4, "before-restore"),
            ("r1", 3, "r1"),
            ("r2", 2, "r2"),
            ("20261124T010000.000Z-r1.dump", 1, "r1"),
            (dump(1, "r1").path, 1, "r1"),
        ],
    )
    def test_what_is_meant(self, source, hour, name):
        assert core.choose(source, self.DUMPS, HOME) == dump(hour, name).path

    def test_what_a_restore_dumped_is_meant_where_there_is_no_other(self):
        assert core.choose("", self.DUMPS[3:], HOME) == dump(4, "before-restore").path

    def test_a_path_may_lead_anywhere(self):
        assert core.choose("/mnt/old.dump", (), HOME) == "/mnt/old.dump"

    def test_an_unknown_name_is_refused_with_those_that_there_are(self):
        with pytest.raises(core.DumpError, match="no dump named r9 in /srv/sixty/backups") as error:
            core.choose("r9", self.DUMPS, HOME)
        assert "r2 (20261124T020000.000Z)" in str(error.value) and "Nothing was changed" in str(error.value)

    @pytest.mark.parametrize("source", ["", "r1"])
    def test_none_at_all(self, source):
        with pytest.raises(core.DumpError, match=r"none at all; playbooks/backup\.yml"):
            core.choose(source, (), HOME)


class TestSpace:
    def test_what_fits_passes(self):
        core.check_space(10, 10, "A dump", HOME, "")

    def test_what_does_not_is_refused_with_numbers(self):
        with pytest.raises(core.DumpError) as error:
            core.check_space(30 * MB, 2 * MB, "A dump of sixty", HOME, "Make room.")
        expected = f"A dump of sixty needs up to 30 MB, and 2 MB are free in {HOME}. Nothing was changed. Make room."
        assert str(error.value) == expected

    @pytest.mark.parametrize(("live", "archive", "size"), [(100, 10, 100), (8, 10, 40), (0, 0, 0)])
    def test_an_emptied_database_does_not_count_alone(self, live, archive, size):
        assert core.restored_size(live, archive) == size


class TestContents:
    TEXT = """;
; Archive created at 2026-11-24 21:14:34 UTC
;     dbname: sixty
;     TOC Entries: 43
;
2; 3079 16435 EXTENSION - pg_trgm 
3523; 0 0 COMMENT - EXTENSION pg_trgm 
256; 1255 16535 FUNCTION public notify_deal_event() sixty
223; 1259 16418 TABLE public activities sixty
222; 1259 16417 SEQUENCE public activities_id_seq sixty
224; 1259 16500 VIEW public open_deals sixty
225; 1259 16501 MATERIALIZED VIEW public TABLE sixty
221; 1259 16394 TABLE sales "odd" name sixty
226; 0 0 TABLE ATTACH public part_1 sixty
3514; 0 16418 TABLE DATA public activities sixty
3357; 1259 16433 INDEX public activities_deal_happened sixty
3540; 0 16418 ACL public TABLE activities sixty
"""

    def test_what_it_names(self):
        contents = core.parse_contents(self.TEXT)
        assert contents.tables == {"public activities", 'sales "odd" name'}
        assert contents.extensions == {"pg_trgm"} and contents.entries == 12

    def test_an_empty_database(self):
        assert core.parse_contents(";\n; dbname: sixty\n") == (0, frozenset(), frozenset(), "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", ""), ("a\n", "\n  a"), ("".join(f"{n}\n" for n in range(9)), "".join(f"\n  {n}" for n in range(3, 9)))],
)
def test_the_end_of_what_a_program_said(text, shown):
    assert core.tail(text) == shown
