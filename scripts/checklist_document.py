"""PRODUCTION_DEPLOYMENT_CHECKLIST.md out of the items of `make checklist`. `--check` writes nothing and ends with 1
where the document is out of date."""

from __future__ import annotations

import pathlib
import sys

import jinja2
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import checklist

PATH = pathlib.Path(__file__).resolve().parent.parent / "PRODUCTION_DEPLOYMENT_CHECKLIST.md"
DOCUMENT = """\
# Production Deployment Checklist

<!-- Made by "make checklist-document" from plugins/module_utils/checklist.py. -->

`make checklist` goes through all of it and prints, for each item, the verdict, the evidence, and the command that looks
closer or makes the evidence. It ends with an error where an item fails.

```sh
make checklist PHASE=pre INVENTORY=inventories/production      # before the deploy
make deploy-production
make checklist PHASE=during INVENTORY=inventories/production   # from another terminal, while the release is watched
make checklist PHASE=post INVENTORY=inventories/production     # afterwards, with the success metrics
make -s checklist OUTPUT=json ANSWERS="on-call=yes page-received=yes" | jq .
```

- **pass** and **fail** have evidence. **not known** says what is missing: a report that is not there, that is older
  than a day (`ARGS="-e checklist_max_age=<seconds>"`), or that is of another release than the served one, never passes.
- **ask** is for a person, who is asked in a terminal. Elsewhere `ANSWERS` has the answers.
- "Since the switch" begins where the served release was switched to, five minutes ago at least and a day at most.
- `INVENTORY` names the hosts; without it they are this machine. `<stack>` is `stack_name`, `sixty` by default.
{% for phase, title in phases.items() %}

## {{ title }}

{% for item in items if phase in item.phases %}
- [ ] **{{ item.title }}** (`{{ item.name }}`). {{ "" if item.judge else "Ask: " }}{{ item.means }}
  `{{ item.command }}`
{% endfor %}
{% endfor %}

## When something fails

- **Before the deploy**: do not deploy. The item's command names what is wrong.
- **During it**: do nothing. While the release is watched, its four triggers go back by themselves; follow it with
  `make monitor-deployment`.
- **After it**: `make rollback-emergency`, then look for the reason. Each alert links to its section of the
  [runbook](docs/runbook.md).
"""


def render() -> str:
    environment = jinja2.Environment(keep_trailing_newline=True, trim_blocks=True)
    return environment.from_string(DOCUMENT).render(items=checklist.ITEMS, phases=checklist.PHASES)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PATH.write_text(render())
    elif not PATH.exists() or PATH.read_text() != render():
        sys.exit(f'{PATH.name} is not what the items say. Run "make checklist-document".')
