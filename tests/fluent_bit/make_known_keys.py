#!/usr/bin/env python3
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes known_keys.txt: each key of the sections and plugins of Fluent Bit that the role uses, with its type.

Usage: make_known_keys.py VERSION SCHEMA SOURCE > known_keys.txt

SCHEMA is what "fluent-bit -J" prints (in the image: /fluent-bit/etc/schema.json). It says nothing about the sections
service and parsers; those are read from SOURCE, the sources of that version.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

PLUGINS = {"inputs": "tail", "processors": "content_modifier", "outputs": "loki"}


def main() -> None:
    version, schema, source = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    lines = set()
    for kind, name in PLUGINS.items():
        [plugin] = [plugin for plugin in schema[kind] if plugin["name"] == name]
        for options in plugin["properties"].values():
            lines.update(f"{kind}.{name}.{option['name']} {option['type'].replace(' ', '_')}" for option in options)
    names = re.findall(r'#define FLB_CONF_\w+\s+"([\w.]+)"', (source / "include/fluent-bit/flb_config.h").read_text())
    lines.update(f"service.{name.lower()} any" for name in names)
    names = re.findall(r'get_parser_key\(config, cf, s,\s*"([\w.]+)"', (source / "src/flb_parser.c").read_text())
    lines.update(f"parsers.{name.lower()} any" for name in names)
    print(f"# Keys of the configuration of Fluent Bit {version}: path, type.")
    print('# Source: "fluent-bit -J" of that version, flb_config.h and flb_parser.c, by make_known_keys.py.')
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main()
