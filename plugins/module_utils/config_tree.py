# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning of a configuration tree: no file, no network, no engine is touched here.

A tree is described by its manifest (name -> L(Entry)), and named by the digest of that manifest. Whoever knows
the manifest can therefore tell by reading whether a tree on disk is the one its name says.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Union

Owner = Union[int, str]

ROOT = "."
DIGEST_LENGTH = 32
TREE_NAME = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}(\.[1-9][0-9]*)?")
# The engine's start time is taken a little after the process began to read its files.
START_MARGIN_SECONDS = 5.0
SHOWN_BYTES = 104448  # ansible-core's own limit for a file in a diff (MAX_FILE_SIZE_FOR_DIFF)
HIDDEN = "(secret, content hidden)\n"
HIDDEN_NEW = "(secret, new content hidden)\n"


class ConfigTreeError(ValueError):
    """What was asked for cannot be done; the message is for the person who has to act on it."""


class Entry(NamedTuple):
    """A file, or a directory (then ``sha256`` is None). ``mode`` is octal text such as 0644, ``size`` in bytes."""

    mode: str
    owner: Owner
    group: Owner
    sha256: str | None = None
    size: int = 0
    secret: bool = False

    @property
    def access(self) -> tuple[str, Owner, Owner]:
        """Mode, owner and group."""
        return self.mode, self.owner, self.group

    @property
    def state(self) -> tuple[str, Owner, Owner, str | None]:
        """What can be read back from a disk (``secret`` is only a rule for display)."""
        return self.mode, self.owner, self.group, self.sha256


Manifest = dict[str, Entry]
PLAIN_DIRECTORY = Entry("0755", 0, 0)


class Rule(NamedTuple):
    """One entry of ``permissions``; it applies to directories when its pattern ended in a slash, else to files."""

    pattern: str
    directory: bool
    owner: Owner
    group: Owner
    mode: str
    secret: bool


class Container(NamedTuple):
    """What the engine says of a container; ``started`` in seconds since 1970, ``mounts`` as (host, container) paths."""

    name: str
    id: str
    running: bool
    started: float
    pid: int
    mounts: tuple[tuple[str, str], ...] = ()


class Changes(NamedTuple):
    """Names that differ; a directory's name ends in a slash."""

    added: list[str]
    changed: list[str]
    removed: list[str]

    def __bool__(self) -> bool:
        return any(self)

    def names(self) -> list[str]:
        """All of them, in order."""
        return sorted(self.added + self.changed + self.removed)


class Plan(NamedTuple):
    """``action``: none (current is right), reuse (a kept tree is right), land (the files are needed)."""

    action: str
    tree: str
    changes: Changes
    drift: list[str]


# --- names, owners, modes -------------------------------------------------------------------------------------


def check_name(name: str) -> str:
    """The name of a file in a tree, unchanged; raises L(ConfigTreeError) for one that could leave the tree."""
    parts = name.split("/")
    if not name or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ConfigTreeError(f"{name!r} is no name for a file in a tree: relative, without '.', '..' or '//'")
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise ConfigTreeError(f"{name!r} is no name for a file in a tree: it holds a control character")
    too_long = [part for part in parts if len(part.encode()) > 255]
    if too_long:
        raise ConfigTreeError(f"{too_long[0][:40]}... is longer than the 255 bytes a file system takes for one name")
    return name


def check_path(path: str) -> str:
    """The host's directory of a service, unchanged; raises L(ConfigTreeError) when it is unusable."""
    if not path.startswith("/") or path.rstrip("/") == "" or ".." in path.split("/"):
        raise ConfigTreeError(f"path is {path!r}: it must be an absolute directory, without '..'")
    return path.rstrip("/")


def parse_mode(value: Any) -> str:
    """Permission bits as four octal digits; no set-user-id, set-group-id or sticky bit (a configuration needs none)."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ConfigTreeError(f'mode is {value!r}: write it as quoted octal digits, such as "0640"')
    if isinstance(value, int):
        raise ConfigTreeError(f'mode is the number {value} (YAML reads 0640 as 416): quote it, such as "0640"')
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ConfigTreeError(f'mode is {value!r}: it must be three octal digits, such as "0640"')
    return value.rjust(4, "0")


def parse_owner(value: Any, what: str) -> Owner:
    """A numeric id, or a name that is looked up on the host."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return value
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*\$?", value):
        return value
    raise ConfigTreeError(f"{what} is {value!r}: it must be a numeric id (0 or more) or a name")


def parse_rules(raw: Any) -> list[Rule]:
    """``permissions`` as given by the user; raises L(ConfigTreeError) naming the entry."""
    if not isinstance(raw, (list, tuple)):
        raise ConfigTreeError(f"permissions is {type(raw).__name__}: it must be a list")
    rules = []
    for index, item in enumerate(raw):
        where = f"permissions[{index}]"
        if not isinstance(item, Mapping) or not isinstance(item.get("pattern"), str) or not item["pattern"]:
            raise ConfigTreeError(f"{where}: it must be a dictionary with a pattern")
        where += f" ({item['pattern']})"
        unknown = set(item) - set(Rule._fields) | set(item) & {"directory"}
        if unknown:
            raise ConfigTreeError(
                f"{where}: unknown {', '.join(sorted(unknown))} (known: group, mode, owner, pattern, secret)"
            )
        if not isinstance(item.get("secret", False), bool):
            raise ConfigTreeError(f"{where}: secret is {item['secret']!r}: it must be true or false")
        directory = item["pattern"].endswith("/")
        secret = item.get("secret", False)
        usual = ("0750" if secret else "0755") if directory else ("0440" if secret else "0644")
        try:
            rules.append(
                Rule(
                    item["pattern"].rstrip("/"),
                    directory,
                    parse_owner(item.get("owner", 0), "owner"),
                    parse_owner(item.get("group", 0), "group"),
                    parse_mode(item.get("mode", usual)),
                    secret,
                )
            )
        except ConfigTreeError as error:
            raise ConfigTreeError(f"{where}: {error}") from error
    return rules


def check_signal(name: str) -> int:
    """The number of a signal such as HUP or SIGHUP."""
    full = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return int(signal.Signals[full])
    except KeyError:
        raise ConfigTreeError(f"reload.signal is {name!r}: no such signal; HUP, USR1 or USR2 are usual") from None


def check_reload(options: Mapping[str, Any] | None) -> None:
    """Raises L(ConfigTreeError) where there is not exactly one way in which a container comes to read a new tree."""
    ways = [way for way in ("signal", "command", "restart") if options and options[way]]
    if options and len(ways) != 1:
        said = f"has {' and '.join(ways)}" if ways else "says no way"
        raise ConfigTreeError(f"reload {said}: it takes one of signal, command and restart")
    if options and options["signal"]:
        check_signal(options["signal"])


# --- the manifest ---------------------------------------------------------------------------------------------


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _matching(name: str, rules: Sequence[Rule], directory: bool) -> Rule | None:
    return next((rule for rule in rules if rule.directory == directory and fnmatchcase(name, rule.pattern)), None)


def build_manifest(
    files: Mapping[str, bytes],
    rules: Sequence[Rule],
    secret: Iterable[str] = (),
    directories: Iterable[str] = (),
) -> Manifest:
    """The manifest of a tree.

    The first matching rule wins (patterns of ``fnmatch``, whose ``*`` also matches a slash); without one a file is
    0:0 0644, one of the names in ``secret`` 0440, a directory 0755. A directory without a rule that holds nothing
    but secret files is closed like them: 0750 with their group, 0711 when their groups differ.
    """
    if not files:
        raise ConfigTreeError("the tree has no files: nothing would be left to serve")
    hidden = set(secret)
    manifest: Manifest = {}
    for name, content in files.items():
        rule = _matching(check_name(name), rules, directory=False)
        is_secret = name in hidden or (rule is not None and rule.secret)
        access = (rule.mode, rule.owner, rule.group) if rule else ("0440" if is_secret else "0644", 0, 0)
        manifest[name] = Entry(*access, hashlib.sha256(content).hexdigest(), len(content), is_secret)

    holds: dict[str, list[Entry]] = {ROOT: []}
    for name in directories:
        for directory in [*_parents(check_name(name)), name]:
            holds.setdefault(directory, [])
    for name, entry in list(manifest.items()):
        for directory in _parents(name):
            holds.setdefault(directory, []).append(entry)
    for directory, entries in holds.items():
        if directory in manifest:
            raise ConfigTreeError(f"{directory} is a file and a directory at once")
        rule = _matching(directory, rules, directory=True)
        if rule:
            manifest[directory] = Entry(rule.mode, rule.owner, rule.group)
        elif entries and all(entry.secret for entry in entries):
            groups = {entry.group for entry in entries}
            manifest[directory] = Entry("0750", 0, groups.pop()) if len(groups) == 1 else Entry("0711", 0, 0)
        else:
            manifest[directory] = PLAIN_DIRECTORY
    return manifest


def digest_of(manifest: Manifest) -> str:
    """Names a tree by names, contents, modes and owners; the order in which files were found is without effect."""
    text = json.dumps(["config_tree 1", [[name, *manifest[name].state] for name in sorted(manifest)]])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def to_data(manifest: Manifest) -> dict[str, list[Any]]:
    """As plain data."""
    return {name: list(manifest[name]) for name in sorted(manifest)}


def from_data(data: Any) -> Manifest:
    """The inverse of L(to_data); raises L(ConfigTreeError) for data that is none."""
    try:
        return {name: Entry(*values) for name, values in data.items()}
    except (TypeError, AttributeError) as error:
        raise ConfigTreeError(f"this is no manifest of a tree: {error}") from error


def dump_manifest(manifest: Manifest) -> str:
    """As JSON, for a file or an argument."""
    return json.dumps(to_data(manifest), separators=(",", ":"))


def load_manifest(text: str) -> Manifest:
    """The inverse of L(dump_manifest); raises L(ConfigTreeError) for text that is none."""
    try:
        return from_data(json.loads(text))
    except ValueError as error:
        raise ConfigTreeError(f"this is no manifest of a tree: {error}") from error


def _shown(name: str, entry: Entry) -> str:
    return name if entry.sha256 is not None else f"{name}/"


def compare(old: Manifest, new: Manifest) -> Changes:
    """What differs between two trees."""
    return Changes(
        sorted(_shown(name, new[name]) for name in new if name not in old),
        sorted(_shown(name, new[name]) for name in new if name in old and old[name].state != new[name].state),
        sorted(_shown(name, old[name]) for name in old if name not in new),
    )


# --- what is to be done ---------------------------------------------------------------------------------------


def plan(
    manifest: Manifest,
    current: str | None,
    live: Manifest,
    recorded: Manifest | None,
    trees: Iterable[str],
    intact: Iterable[str],
) -> Plan:
    """Decides from what was read on the host.

    ``current`` is the name of the tree that is served, ``live`` what it holds now, ``recorded`` what it held when it
    landed. ``trees`` are the names that are taken, ``intact`` those of them that hold exactly ``manifest``.
    """
    digest = digest_of(manifest)
    reference = manifest if current and current.split(".")[0] == digest else recorded
    drift = compare(reference, live).names() if reference is not None and current else []
    good = sorted(intact)
    changes = compare(live, manifest)
    if current in good:
        return Plan("none", str(current), changes, drift)
    if good:
        return Plan("reuse", good[0], changes, drift)
    # A tree that was edited is replaced, but not in place: the link has to move in one step to a whole tree.
    taken = set(trees)
    name, turn = digest, 0
    while name in taken:
        turn += 1
        name = f"{digest}.{turn}"
    return Plan("land", name, changes, drift)


def is_loaded(record: Mapping[str, Any], tree: str, container: str) -> bool:
    """Whether the record ends the question without asking the engine.

    It also does when it says that no container ran after the swap: whatever started since has read this tree.
    """
    return record.get("tree") == tree and record.get("name") == container


def reload_due(container: Container | None, swapped_at: float) -> bool:
    """Whether a container without a matching record may still serve an older tree than the one swapped in then."""
    return container is not None and container.running and container.started < swapped_at + START_MARGIN_SECONDS


def prunable(trees: Mapping[str, float], current: str, keep: int) -> list[str]:
    """The trees to remove, given when each landed: all but the current one and the ``keep`` last landed."""
    return sorted((name for name in trees if name != current), key=lambda name: (-trees[name], name))[keep:]


def space_needed(manifest: Manifest, block: int) -> int:
    """Bytes on a file system with that block size: each file and directory takes whole blocks."""
    blocks = sum(max(1, -(-entry.size // block)) for entry in manifest.values())
    record = -(-len(dump_manifest(manifest)) // block)
    return (blocks + record) * block


def caught(status: str, number: int) -> tuple[bool, bool]:
    """(handled, blocked) of a signal, from the text of /proc/<pid>/status (proc(5): SigCgt, SigBlk)."""
    masks = dict(re.findall(r"^(SigCgt|SigBlk):\s*([0-9a-f]+)$", status, re.MULTILINE))
    bit = 1 << (number - 1)
    return bool(int(masks["SigCgt"], 16) & bit), bool(int(masks["SigBlk"], 16) & bit)


def inside_path(path: str, mounts: Iterable[tuple[str, str]]) -> str | None:
    """Where a container with these mounts sees the host's ``path``; None when it does not."""
    for source, target in sorted(mounts, key=lambda mount: -len(mount[0])):
        source = source.rstrip("/")
        if path == source or path.startswith(f"{source}/"):
            return target.rstrip("/") + path[len(source) :]
    return None


# --- what a person sees ---------------------------------------------------------------------------------------


def mask(text: str, secrets: Iterable[str]) -> str:
    """Text without the lines, and the words of eight letters or more, of secret files."""
    words: set[str] = set()
    for secret in secrets:
        words.update(line.strip() for line in secret.splitlines() if len(line.strip()) >= 4)
        words.update(word for word in re.split(r"[\s=\"'>:@]+", secret) if len(word) >= 8)
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "(secret)")
    return text


def readable(output: str, mount: str, lines: int = 15) -> str:
    """The end of a checker's output, printable, with names as they are in the tree instead of the staged path."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output).replace(mount.rstrip("/") + "/", "")
    kept = ["".join(char if char.isprintable() else " " for char in line).rstrip() for line in text.splitlines()]
    return "\n".join([line for line in kept if line][-lines:])


def quoted_lines(output: str, contents: Mapping[str, bytes], origins: Mapping[str, str]) -> list[str]:
    """The lines of rendered files that a checker's output points at as name:number, with where they come from."""
    found = []
    for name, number in dict.fromkeys(re.findall(r"([\w./@+-]+):(\d+)", output)):
        lines = contents.get(name, b"").decode("utf-8", "replace").splitlines()
        if 0 < int(number) <= len(lines):
            found.append(f"{name}:{number} (from {origins.get(name, 'extra_files')}): {lines[int(number) - 1].strip()}")
    return found


def text_or_note(content: bytes) -> str:
    """Content for a diff, or a line that says why it is not shown."""
    about = f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:12]}"
    if len(content) > SHOWN_BYTES:
        return f"(too long to show, {about})\n"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    return f"(binary, {about})\n" if "\0" in text else text


def hidden_names(live: Manifest, recorded: Manifest | None, manifest: Manifest) -> set[str]:
    """Names whose content must not be shown: secret now, secret when landed, or of a tree without a record."""
    hidden = {name for known in (manifest, recorded or {}) for name, entry in known.items() if entry.secret}
    return hidden if recorded is not None else hidden | set(live)


def diff_entries(
    base: str,
    old: Manifest,
    new: Manifest,
    before: Mapping[str, str],
    after: Mapping[str, bytes],
    hidden: Iterable[str],
) -> list[dict[str, str]]:
    """Ansible's ``diff``: an entry per changed file, one per changed mode or owner, none for a plain new directory."""
    out = []
    secret = set(hidden)
    for shown in compare(old, new).names():
        name = shown.rstrip("/")
        was, now = old.get(name), new.get(name)
        label = f"{base}/" if name == ROOT else f"{base}/{shown}"
        heads = {"before_header": label if was else "/dev/null", "after_header": label if now else "/dev/null"}
        access = ["mode {}, owner {}, group {}\n".format(*entry.access) if entry else "" for entry in (was, now)]
        if access[0] != access[1] and ((was and now) or (shown.endswith("/") and (was or now) != PLAIN_DIRECTORY)):
            out.append({**heads, "before": access[0], "after": access[1]})
        if shown.endswith("/") or (was and now and was.sha256 == now.sha256):
            continue
        if name in secret:
            out.append({**heads, "before": HIDDEN if was else "", "after": HIDDEN_NEW if now else ""})
        else:
            out.append(
                {
                    **heads,
                    "before": before.get(name, "") if was else "",
                    "after": text_or_note(after[name]) if now else "",
                }
            )
    return out
