#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Dump a PostgreSQL database, verify the dump, copy it, and remove what is no longer kept
version_added: "0.1.0"
description:
  - Dumps as M(sixty_sales.memory_optimized.postgres_dump) does, restores the dump into a throw-away PostgreSQL,
    compares rows and checksums of every table, and hands an encrypted copy to a command.
  - What cannot be restored is set aside as C(.bad), counts for nothing, and removes nothing.
  - The timer of the role C(backup) runs the same functions without Ansible.
options:
  action:
    description: V(run) makes a backup. V(unpack) decrypts a copy and puts its dump among the others.
    type: str
    choices: [run, unpack]
    default: run
  container:
    description: Name of the container that PostgreSQL runs in. Not needed to unpack.
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
    description: What the dump is tied to. V(scheduled) ones are kept by days, weeks and months, others are counted.
    type: str
    default: by-hand
  keep:
    description: Dumps of other names that are kept, the new one among them. V(0) keeps all.
    type: int
    default: 5
  keep_daily:
    description: Days of which the newest scheduled dump is kept.
    type: int
    default: 7
  keep_weekly:
    description: Weeks of which the newest scheduled dump is kept.
    type: int
    default: 4
  keep_monthly:
    description: Months of which the newest scheduled dump is kept.
    type: int
    default: 3
  disk_budget:
    description:
      - Bytes that all dumps may take; the oldest scheduled ones go first. V(0) is no bound. The newest one and the last
        that was verified stay, whatever they take.
    type: int
    default: 0
  status:
    description: File that tells monitoring; JSON.
    type: path
  root:
    description: The stack's directory, where a deploy that is under way is on record.
    type: path
    required: true
  wait:
    description: Seconds to wait for PostgreSQL, which may start later than a timer.
    type: int
    default: 0
  migrations_table:
    description: Table that tells which migrations the database has had; empty where there is none.
    type: str
    default: schema_migrations
  timeout:
    description: Seconds that each program may take.
    type: int
    default: 3600
  verify:
    description: The throw-away PostgreSQL; without it a dump is only read to its end.
    type: dict
    suboptions:
      stack:
        description: Name of the stack; in its parent cgroup the container runs.
        type: str
        required: true
      image:
        description: The image of the stack's PostgreSQL.
        type: str
        required: true
      user:
        description: Numbers of user and group.
        type: str
        required: true
      memory:
        description: Limit in bytes, without swap.
        type: int
        required: true
      cpus:
        description: Limit of CPU time.
        type: float
        required: true
      pids_limit:
        description: Limit of processes.
        type: int
        required: true
      settings:
        description: Settings of PostgreSQL, such as its memory.
        type: dict
        default: {}
  copy:
    description: The copy on another host.
    type: dict
    suboptions:
      recipients:
        description: Public keys of age that can decrypt it.
        type: list
        elements: str
        default: []
      command:
        description: Program and arguments; C({}) stands for the file.
        type: list
        elements: str
        default: []
  source:
    description: A copy on this host to unpack.
    type: path
  identity:
    description: The secret key of age that decrypts it.
    type: str
attributes:
  check_mode:
    description: Says which dump would be made and which removed, and changes nothing.
    support: full
  diff_mode:
    description: The dumps before and after.
    support: full
requirements:
  - The docker command on the host, and age for copies
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Back up now
  sixty_sales.memory_optimized.backup:
    container: sixty-postgres
    directory: /srv/sixty/backups
    root: /srv/sixty
    status: /srv/sixty/status/backup.json
    verify:
      {stack: sixty, image: "sixty/postgres:1", user: "999:999", memory: 268435456, cpus: 0.5, pids_limit: 64}

- name: Take a dump out of a copy
  sixty_sales.memory_optimized.backup:
    action: unpack
    directory: /srv/sixty/backups
    root: /srv/sixty
    source: /root/20261124T211436.123Z-scheduled.tar.age
    identity: "{{ vault_backup_identity }}"
"""

RETURN = r"""
path:
  description: The dump that was made or unpacked; null for what would be unpacked.
  type: str
  returned: success
bytes:
  description: Its size.
  type: int
  returned: on run, but not in check mode
tables:
  description: Number of tables in it.
  type: int
  returned: on run, but not in check mode
rows:
  description: Number of rows in them.
  type: int
  returned: on run, but not in check mode
verified:
  description: Whether it was restored, and rows and checksums were the same.
  type: bool
  returned: on run
copied:
  description: Whether the command took its copy.
  type: bool
  returned: on run
removed:
  description: Dumps that were removed.
  type: list
  elements: str
  returned: on run
mended:
  description: What runs that were killed had left and this one removed.
  type: list
  elements: str
  returned: on run
seconds:
  description: What it took in all.
  type: float
  returned: on run
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import backup as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.postgres_dump import DumpError

VERIFY = {
    "stack": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "memory": {"type": "int", "required": True},
    "cpus": {"type": "float", "required": True},
    "pids_limit": {"type": "int", "required": True},
    "settings": {"type": "dict", "default": {}},
}
COPY = {
    "recipients": {"type": "list", "elements": "str", "default": []},
    "command": {"type": "list", "elements": "str", "default": []},
}


def main():
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["run", "unpack"], "default": "run"},
            "container": {"type": "str"},
            "database": {"type": "str", "default": "sixty"},
            "directory": {"type": "path", "required": True},
            "name": {"type": "str", "default": "by-hand"},
            "keep": {"type": "int", "default": 5},
            "keep_daily": {"type": "int", "default": 7},
            "keep_weekly": {"type": "int", "default": 4},
            "keep_monthly": {"type": "int", "default": 3},
            "disk_budget": {"type": "int", "default": 0},
            "status": {"type": "path"},
            "root": {"type": "path", "required": True},
            "wait": {"type": "int", "default": 0},
            "migrations_table": {"type": "str", "default": "schema_migrations"},
            "timeout": {"type": "int", "default": 3600},
            "verify": {"type": "dict", "options": VERIFY},
            "copy": {"type": "dict", "options": COPY},
            "source": {"type": "path"},
            "identity": {"type": "str", "no_log": True},
        },
        required_if=[("action", "run", ["container"]), ("action", "unpack", ["source", "identity"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = core.run(module) if params["action"] == "run" else core.unpack(module)
    except DumpError as failure:
        module.fail_json(msg=str(failure))
    except OSError as failure:
        module.fail_json(msg=f"{params['directory']} or the engine cannot be used: {failure}. The database is whole.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
