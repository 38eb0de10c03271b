# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of dumps, which are kept, which one is meant, and what a table of contents says."""

from __future__ import annotations

import datetime

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


class TestChoose:
    DUMPS = (dump(1, "r1"), dump(2, "r2"), dump(3, "r1"), dump(4, "before-restore"))

    @pytest.mark.parametrize(
        ("source", "hour", "name"),
        [
            ("", 4, "before-restore"),
            ("r1", 3, "r1"),
            ("r2", 2, "r2"),
            ("20261124T010000.000Z-r1.dump", 1, "r1"),
            (dump(1, "r1").path, 1, "r1"),
        ],
    )
    def test_what_is_meant(self, source, hour, name):
        assert core.choose(source, self.DUMPS, HOME) == dump(hour, name).path

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
        assert core.parse_contents(";\n; dbname: sixty\n") == (0, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", ""), ("a\n", "\n  a"), ("".join(f"{n}\n" for n in range(9)), "".join(f"\n  {n}" for n in range(3, 9)))],
)
def test_the_end_of_what_a_program_said(text, shown):
    assert core.tail(text) == shown
