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
  - Beside a dump, a file C(.json) says what it holds, which is rows and a checksum of each table, read in the snapshot
    of the dump, the version of PostgreSQL and the migrations. A restore compares with it before anything is exchanged.
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
    description:
      - Dumps that are kept, the new one among them. V(0) keeps all. Those named V(scheduled) are not counted;
        M(sixty_sales.memory_optimized.backup) removes them.
    type: int
    default: 5
  status:
    description:
      - File that tells monitoring of the last dump; JSON with C(finished) (unix time), C(bytes), C(path). What else is
        in it stays.
    type: path
  source:
    description:
      - The dump to restore, as a path, a file's name or a dump's O(name), of which the newest one is taken.
      - Empty is the newest that is not called V(before-restore), unless there are only such.
    type: str
    default: ""
  across_versions:
    description: Restore a dump of an older major version of PostgreSQL, which is an upgrade.
    type: bool
    default: false
  migrations_table:
    description: Table that tells which migrations the database has had; empty where there is none.
    type: str
    default: schema_migrations
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
  - The docker command on the host
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
rows:
  description: Number of rows in them; null where that is not on record.
  type: int
  returned: on dump and restore, but not for a dump in check mode
compared:
  description: Tables whose rows and checksums were compared with the record; in check mode, that would be.
  type: int
  returned: on restore
plan:
  description: Age, size, migrations, and the rows of each table now and in the dump, as lines.
  type: list
  elements: str
  returned: on restore in check mode
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import postgres_dump as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import postgres_dump_host as host

ACTIONS = {"dump": host.dump, "list": host.listing, "restore": host.restore}


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
            "across_versions": {"type": "bool", "default": False},
            "migrations_table": {"type": "str", "default": "schema_migrations"},
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
    directory = host.Directory(params["directory"])
    try:
        if params["action"] == "dump" and not module.check_mode:
            directory.make()
        with contextlib.nullcontext() if params["action"] == "list" else directory.locked():
            result = ACTIONS[params["action"]](module, directory)
    except core.DumpError as failure:
        module.fail_json(msg=str(failure))
    except OSError as failure:
        module.fail_json(
            msg=f"{params['directory']} or the engine cannot be used: {failure}. {params['database']} is whole."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
