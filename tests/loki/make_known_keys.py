#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes known_keys.txt: each key of Loki's configuration with its type and default.

Usage: make_known_keys.py VERSION < docs/sources/shared/configuration.md > known_keys.txt

The input is Loki's own reference of that version, which its build generates from the program's flags. Stores other than
the file system are left out, and so are sections of programs that a single Loki does not run.
"""

from __future__ import annotations

import re
import sys
import textwrap
import typing as t

# A block that ends here: nothing of it belongs into our file.
LEFT_OUT = re.compile(
    r"(alibabacloud|aws|azure|bos|cos|gcs|s3|swift|thanos_object_store|attributes|named_stores|memberlist|tls)(_\w+)?$|"
    r"(bigtable|cassandra|consul|etcd|memcached|memcached_client|redis|kafka\w*|dataobj\w*|ui|query_engine|boltdb\w*|bloom\w*|"
    r"ruler\w*|table_manager|ingest_limits\w*|grpc_store|object_store|index_gateway\w*|hedging|congestion_control)$"
)
OPTION = re.compile(r"\[(?P<key>\w+): <(?P<type>[^>]+)>(?: \| default = (?P<default>.*))?\]$")
GROUP = re.compile(r"(?P<key>\w+):$")
LIST = re.compile(r"list of (\w+)s$")


def blocks(text: str) -> t.Iterator[t.Tuple[str, str]]:
    """Name and YAML of the reference's sections; the first one, the file itself, is called "loki"."""
    for name, section in re.findall(r"^### (.+?)\n(.*?)(?=^###? |\Z)", text, re.MULTILINE | re.DOTALL):
        for body in re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
            yield ("loki" if name.startswith("Supported contents") else name), textwrap.dedent(body)


def options(known: t.Mapping[str, str], name: str, prefix: str = "") -> t.Iterator[str]:
    """One line "path type default" for each option below a block."""
    path: t.List[t.Tuple[int, str]] = []
    for line in known[name].splitlines():
        entry = line.strip()
        indent = len(line) - len(line.lstrip())
        path = [(depth, key) for depth, key in path if depth < indent] if entry else path
        if any(LEFT_OUT.match(key) for _depth, key in path):
            continue
        group, option = GROUP.match(entry), OPTION.match(entry)
        if group:
            path.append((indent, group["key"]))
        elif option and not LEFT_OUT.match(option["type"]):
            place = ".".join([*([prefix] if prefix else []), *(key for _depth, key in path), option["key"]])
            item = LIST.match(option["type"])
            if option["type"] in known:
                yield from options(known, option["type"], place)
            elif item and item[1] in known:
                yield from options(known, item[1], f"{place}[]")
            else:
                yield f"{place} {option['type'].replace(' ', '_')} {option['default'] or '-'}"


def main() -> None:
    known = dict(blocks(sys.stdin.read()))
    print(f"# Keys of the configuration of Loki {sys.argv[1]}: path, type, default.")
    print("# Source: grafana/loki docs/sources/shared/configuration.md at that tag, by make_known_keys.py.")
    print("\n".join(sorted(set(options(known, "loki")))))


if __name__ == "__main__":
    main()
