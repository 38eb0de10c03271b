# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import signal
import string

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import config_tree as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.config_tree import ConfigTreeError, Entry
from hypothesis import given
from hypothesis import strategies as st


def build(files, rules=(), **more):
    return core.build_manifest(
        {name: text.encode() for name, text in files.items()}, core.parse_rules(list(rules)), **more
    )


# --- names, modes, owners ---


@pytest.mark.parametrize("name", ["nginx.conf", ".htpasswd", "conf.d/a b.conf", "a/b/c", "...", "caf\u00e9"])
def test_a_name_that_stays_in_the_tree_is_taken(name):
    assert core.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "..", "../x", "a/../x", "a//b", "./a", "a/", "a\nb", "a\0b", "x" * 256]
)
def test_a_name_that_could_leave_the_tree_is_refused(name):
    with pytest.raises(ConfigTreeError):
        core.check_name(name)


@pytest.mark.parametrize(("value", "mode"), [("0640", "0640"), ("644", "0644"), ("000", "0000")])
def test_modes(value, mode):
    assert core.parse_mode(value) == mode


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (416, "quote it"),
        (640, "quote it"),
        ("0888", "octal"),
        ("4755", "octal"),
        ("u=rw", "octal"),
        (True, "octal"),
        (None, "octal"),
    ],
)
def test_bad_modes_are_refused_with_the_mend(value, says):
    with pytest.raises(ConfigTreeError, match=says):
        core.parse_mode(value)


@pytest.mark.parametrize(("value", "owner"), [(0, 0), ("999", 999), ("www-data", "www-data"), (4294967294, 4294967294)])
def test_owners(value, owner):
    assert core.parse_owner(value, "owner") == owner


@pytest.mark.parametrize("value", [-1, 4294967295, "", "a b", "root:root", True, None, 1.5])
def test_bad_owners_are_refused(value):
    with pytest.raises(ConfigTreeError, match="owner is"):
        core.parse_owner(value, "owner")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("x", "must be a list"),
        (["x"], r"permissions\[0\]"),
        ([{"mode": "0644"}], r"permissions\[0\].*pattern"),
        ([{"pattern": "a"}, {"pattern": "b", "mode": "9"}], r"permissions\[1\] \(b\): mode is '9'"),
        ([{"pattern": "a", "grup": 1}], "unknown grup"),
        ([{"pattern": "a", "directory": True}], "unknown directory"),
        ([{"pattern": "a", "secret": "yes"}], "true or false"),
        ([{"pattern": "a", "group": -5}], r"\(a\): group is -5"),
    ],
)
def test_bad_permissions_name_their_entry(raw, says):
    with pytest.raises(ConfigTreeError, match=says):
        core.parse_rules(raw)


@pytest.mark.parametrize("path", ["relative", "/", "/srv/../etc", ""])
def test_bad_paths_are_refused(path):
    with pytest.raises(ConfigTreeError):
        core.check_path(path)


def test_signals():
    assert core.check_signal("HUP") == core.check_signal("SIGHUP") == signal.SIGHUP
    with pytest.raises(ConfigTreeError, match="RELOAD"):
        core.check_signal("RELOAD")


# --- the manifest ---


def test_defaults():
    manifest = build({"a.conf": "x", "d/b.conf": ""}, directories=["empty/deep"])
    assert manifest["a.conf"] == Entry("0644", 0, 0, hashlib.sha256(b"x").hexdigest(), 1, False)
    directories = {name for name, entry in manifest.items() if entry.sha256 is None}
    assert directories == {".", "d", "empty", "empty/deep"}
    assert all(manifest[name].access == ("0755", 0, 0) for name in directories)


def test_the_first_matching_rule_wins_and_a_slash_means_directories():
    manifest = build(
        {"conf.d/a.conf": "", "conf.d/b.conf": "", "conf.d/deep/c.conf": ""},
        [
            {"pattern": "conf.d/a.conf", "mode": "0600", "owner": "www-data"},
            {"pattern": "conf.d/*", "mode": "0640", "group": 101},
            {"pattern": "conf.d/", "mode": "0700"},
            {"pattern": "./", "mode": "0711"},
        ],
    )
    assert manifest["conf.d/a.conf"].access == ("0600", "www-data", 0)
    assert manifest["conf.d/b.conf"].access == manifest["conf.d/deep/c.conf"].access == ("0640", 0, 101)
    assert manifest["conf.d"].access == ("0700", 0, 0)
    assert manifest["conf.d/deep"].access == ("0755", 0, 0)
    assert manifest["."].access == ("0711", 0, 0)


def test_a_directory_of_secrets_is_closed():
    rule = {"pattern": "secrets/*", "group": 999, "mode": "0440", "secret": True}
    manifest = build({"redis.conf": "", "secrets/a": "", "secrets/deep/b": ""}, [rule])
    assert manifest["secrets/a"][:3] == ("0440", 0, 999) and manifest["secrets/a"].secret
    assert manifest["secrets"].access == manifest["secrets/deep"].access == ("0750", 0, 999)
    assert manifest["."].access == ("0755", 0, 0)

    mixed = build(
        {"secrets/a": "", "secrets/b": "", "x": ""},
        [{"pattern": "secrets/a", "group": 1, "secret": True}],
        secret=["secrets/b"],
    )
    assert mixed["secrets"].access == ("0711", 0, 0)
    assert mixed["secrets/b"].access == ("0440", 0, 0)

    opened = build({"secrets/a": "", "secrets/readme": ""}, [{"pattern": "secrets/a", "secret": True}])
    assert opened["secrets"].access == ("0755", 0, 0)


@pytest.mark.parametrize(
    ("files", "says"),
    [({}, "no files"), ({"a": "", "a/b": ""}, "a file and a directory"), ({"../a": ""}, "is no name")],
)
def test_a_tree_that_cannot_be_is_refused(files, says):
    with pytest.raises(ConfigTreeError, match=says):
        build(files)


NAMES = st.lists(st.text(string.ascii_lowercase + "._-", min_size=1, max_size=8), min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(NAMES, st.text(max_size=20), min_size=1, max_size=6)


def possible(files):
    try:
        return build(files)
    except ConfigTreeError:
        return None


@given(FILES, st.randoms())
def test_the_digest_depends_on_the_tree_alone(files, random):
    manifest = possible(files)
    if manifest is None:
        return
    names = list(files)
    random.shuffle(names)
    again = build({name: files[name] for name in names})
    digest = core.digest_of(manifest)
    assert core.digest_of(again) == digest and core.TREE_NAME.fullmatch(digest)
    assert core.load_manifest(core.dump_manifest(manifest)) == manifest
    assert not core.compare(manifest, again)

    name = names[0]
    for other in (
        build({**files, name: files[name] + "!"}),
        build(files, [{"pattern": name, "mode": "0600"}]),
        build(files, [{"pattern": name, "group": 7}]),
        build({**files, "zz-new": ""}),
    ):
        assert core.digest_of(other) != digest
        assert core.compare(manifest, other)


@given(FILES, FILES)
def test_applying_the_changes_gives_the_new_tree(old_files, new_files):
    old, new = possible(old_files), possible(new_files)
    if old is None or new is None:
        return
    changes = core.compare(old, new)
    plain = [[name.rstrip("/") for name in names] for names in changes]
    result = {name: entry for name, entry in old.items() if name not in plain[2]}
    result.update({name: new[name] for name in plain[0] + plain[1]})
    assert {name: entry.state for name, entry in result.items()} == {name: entry.state for name, entry in new.items()}
    assert not set(plain[0]) & set(plain[1]) and not set(plain[1]) & set(plain[2])


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": [1]}'])
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(ConfigTreeError):
        core.load_manifest(text)


# --- the plan ---

NEW = build({"a.conf": "new", "b.conf": "same"})
OLD = build({"a.conf": "old", "b.conf": "same", "c.conf": "gone"})
EDITED = build({"a.conf": "edited by hand", "b.conf": "same"})
DIGEST, OLD_DIGEST = core.digest_of(NEW), core.digest_of(OLD)


def test_nothing_is_there():
    plan = core.plan(NEW, None, {}, None, [], [])
    assert (plan.action, plan.tree, plan.drift) == ("land", DIGEST, [])
    assert plan.changes.added == ["./", "a.conf", "b.conf"]


def test_nothing_is_to_do():
    plan = core.plan(NEW, DIGEST, NEW, NEW, [DIGEST, OLD_DIGEST], [DIGEST])
    assert plan.action == "none" and not plan.changes and not plan.drift


def test_a_change_lands():
    plan = core.plan(NEW, OLD_DIGEST, OLD, OLD, [OLD_DIGEST], [])
    assert plan == core.Plan("land", DIGEST, core.Changes([], ["a.conf"], ["c.conf"]), [])


def test_a_kept_tree_is_used_again():
    assert core.plan(NEW, OLD_DIGEST, OLD, OLD, [OLD_DIGEST, DIGEST], [DIGEST]).action == "reuse"


def test_a_tree_edited_by_hand_is_replaced_under_a_new_name():
    plan = core.plan(NEW, DIGEST, EDITED, None, [DIGEST], [])
    assert (plan.action, plan.tree, plan.drift) == ("land", f"{DIGEST}.1", ["a.conf"])
    again = core.plan(NEW, f"{DIGEST}.1", EDITED, NEW, [DIGEST, f"{DIGEST}.1"], [])
    assert (again.action, again.tree, again.drift) == ("land", f"{DIGEST}.2", ["a.conf"])
    assert core.plan(NEW, f"{DIGEST}.1", NEW, NEW, [DIGEST, f"{DIGEST}.1"], [f"{DIGEST}.1"]).action == "none"


def test_drift_is_told_even_when_another_tree_is_wanted():
    other = build({"a.conf": "third"})
    assert core.plan(other, DIGEST, EDITED, NEW, [DIGEST], []).drift == ["a.conf"]
    assert core.plan(other, DIGEST, EDITED, None, [DIGEST], []).drift == []  # nothing to compare with


def container(**changes):
    return core.Container("c", "id1", True, 1000.0, 1)._replace(**changes)


@pytest.mark.parametrize(
    ("seen", "due"),
    [
        (None, False),
        (container(running=False), False),
        (container(started=900.0), True),
        (container(started=1004.0), True),
        (container(started=1006.0), False),
    ],
)
def test_a_reload_is_due_for_a_container_that_may_have_read_the_old_tree(seen, due):
    assert core.reload_due(seen, swapped_at=1000.0) is due


def test_a_record_ends_the_question_only_for_its_tree_and_container():
    record = {"tree": DIGEST, "name": "sixty-nginx", "container": None}
    assert core.is_loaded(record, DIGEST, "sixty-nginx")
    assert not core.is_loaded(record, f"{DIGEST}.1", "sixty-nginx")
    assert not core.is_loaded(record, DIGEST, "sixty-other")
    assert not core.is_loaded({}, DIGEST, "sixty-nginx")


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.floats(0, 1e9), min_size=1), st.integers(1, 5), st.data()
)
def test_pruning_keeps_the_current_tree_and_the_last_ones(trees, keep, data):
    current = data.draw(st.sampled_from(sorted(trees)))
    gone = core.prunable(trees, current, keep)
    left = set(trees) - set(gone)
    assert current in left and len(left) == min(len(trees), keep + 1)
    assert all(trees[old] <= trees[kept] for old in gone for kept in left - {current})


def test_space_counts_whole_blocks():
    manifest = core.build_manifest({"a": b"x" * 5000, "b": b""}, [])
    record = -(-len(core.dump_manifest(manifest)) // 4096)
    assert core.space_needed(manifest, 4096) == (2 + 1 + 1 + record) * 4096  # a, b, the directory, the record


STATUS = "Name:\tnginx\nSigBlk:\t{:016x}\nSigIgn:\t0000000000000000\nSigCgt:\t{:016x}\n"


@pytest.mark.parametrize(
    ("blocked", "handled", "expected"), [(0, 1, (True, False)), (1, 0, (False, True)), (0, 2, (False, False))]
)
def test_signal_masks(blocked, handled, expected):
    assert core.caught(STATUS.format(blocked, handled), signal.SIGHUP) == expected


@pytest.mark.parametrize(
    ("mounts", "inside"),
    [
        ([("/srv/config/nginx", "/etc/sixty")], "/etc/sixty"),
        ([("/srv", "/host"), ("/srv/config", "/c")], "/c/nginx"),
        ([("/", "/host")], "/host/srv/config/nginx"),
        ([("/srv/config/nginx/current", "/etc/sixty"), ("/srv/config/nginx2", "/x")], None),
        ([], None),
    ],
)
def test_where_a_container_sees_the_directory(mounts, inside):
    assert core.inside_path("/srv/config/nginx", mounts) == inside


# --- what a person sees ---


def test_secrets_are_masked():
    text = 'bad line 3: user app on >correct-horse-battery ~*\n"correct-horse-battery"'
    shown = core.mask(text, ["user default off\nuser app on >correct-horse-battery ~*\n"])
    assert "correct-horse" not in shown and shown.startswith("bad line 3: (secret)")
    assert core.mask("nothing", []) == "nothing"


def test_the_output_names_files_of_the_tree():
    output = "\x1b[31merror\x1b[0m in /etc/sixty/current/conf.d/a.conf:3\r\n\n" + "more\x07\n" * 3
    assert core.readable(output, "/etc/sixty/current") == "error in conf.d/a.conf:3\nmore\nmore\nmore"
    assert core.readable("1\n2\n3\n4", "/m", lines=2) == "3\n4"


def test_the_lines_that_an_output_points_at():
    contents = {"a.conf": b"one\n  two\n", "s": b"x"}
    lines = core.quoted_lines("a.conf:2 bad, a.conf:2 again, a.conf:9, other:1", contents, {"a.conf": "tpl/a.conf.j2"})
    assert lines == ["a.conf:2 (from tpl/a.conf.j2): two"]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"x\n", "x\n"),
        (b"", ""),
        (b"\xff\xfe", "(binary, 2 bytes"),
        (b"a\0b", "(binary, 3 bytes"),
        (b"x" * 200000, "(too long"),
    ],
)
def test_what_a_diff_shows_of_a_content(content, shown):
    assert core.text_or_note(content).startswith(shown)


def test_the_diff_hides_secrets_alone():
    rule = [{"pattern": "s/*", "secret": True}]
    old = build({"a": "old\n", "s/x": "old password", "s/gone": "older password"}, rule)
    new = build({"a": "new\n", "s/x": "new password", "b/c": "added\n"}, [*rule, {"pattern": "s/", "mode": "0700"}])
    hidden = core.hidden_names(old, old, new)
    after = {"a": b"new\n", "s/x": b"new password", "b/c": b"added\n"}
    diff = {
        (entry["after_header"], entry["before_header"]): entry
        for entry in core.diff_entries("/c", old, new, {"a": "old\n"}, after, hidden)
    }
    assert "password" not in str(diff)
    assert diff["/c/a", "/c/a"]["before"] == "old\n" and diff["/c/a", "/c/a"]["after"] == "new\n"
    assert diff["/c/s/x", "/c/s/x"]["before"] == core.HIDDEN and diff["/c/s/x", "/c/s/x"]["after"] == core.HIDDEN_NEW
    assert diff["/dev/null", "/c/s/gone"]["before"] == core.HIDDEN
    assert diff["/c/b/c", "/dev/null"]["after"] == "added\n"
    assert diff["/c/s/", "/c/s/"]["after"] == "mode 0700, owner 0, group 0\n"
    assert len(diff) == 5


def test_a_file_that_was_secret_stays_hidden_and_so_does_a_tree_without_a_record():
    was = build({"a": "old"}, [{"pattern": "a", "secret": True}])
    now = build({"a": "new", "b": ""})
    assert core.hidden_names(was, was, now) == {"a"}
    assert core.hidden_names(build({"a": "x", "old": "y"}), None, now) == {"a", "old", "."}
