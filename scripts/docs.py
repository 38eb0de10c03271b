"""Role READMEs and docs/variables.md out of the roles' argument specs, and the budget table of the main README.

`python scripts/docs.py` writes them. `--check` writes nothing and ends with 1 where one is out of date, where a spec
states another default than defaults/main.yml or one of the two lacks a variable, and where a link leads nowhere.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import jinja2
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLLECTION = "sixty_sales.memory_optimized"
# Longer defaults are linked, not shown.
SHOWN = 72
# The MemTotal of a machine with 2 GB, as measured.
HOST_MEMORY = 1978 << 20
# Its variables come from the roles that use it.
INTERNAL = {"container"}
BUDGET = re.compile(r"(?<=<!-- budget -->\n)```text\n.*?```\n", re.DOTALL)
LINK = re.compile(r"\[[^][]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)

README = """\
# {{ collection }}.{{ role }}

<!-- Made by "make docs" from meta/argument_specs.yml, meta/main.yml and defaults/main.yml. -->

{{ purpose }}

## Entry points

| Entry point | Purpose |
|---|---|
{% for name, entry in entries.items() -%}
| `{{ name }}` | {{ cell(entry.short_description) }} |
{% endfor %}
{%- for name, entry in entries.items() if entry.description %}
{% if entries | length > 1 %}`{{ name }}`:

{% endif %}
{%- for line in listed(entry.description) -%}
- {{ text(line) }}
{% endfor %}
{%- endfor %}
## Variables
{% if rows %}
| Name | Type | Default | Choices | Description |
|---|---|---|---|---|
{% for row in rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
{%- else %}
None.
{% endif %}
## Dependencies
{% if dependencies %}
{% for name in dependencies -%}
- [{{ collection }}.{{ name }}](../{{ name }}/README.md)
{% endfor %}
{%- else %}
None.
{% endif %}
{%- for example in examples %}
{%- if loop.first %}
## Example
{% endif %}
```yaml
{{ example.strip() }}
```
{% endfor %}
## License

{{ license }}
"""

VARIABLES = """\
# Variables

<!-- Made by "make docs" from each role's meta/argument_specs.yml and defaults/main.yml. -->

All that an inventory can set, by role; the role's page has choices and what is inside of dictionaries. Memory numbers
are no variables: they are entries of the [memory budget](../roles/memory_budget/README.md), changed by
`memory_budget_overrides`, which adds them up before a deploy. Secrets are in `stack_secrets`, out of Vault.
{% for role, purpose, rows in roles %}
## {{ role }}

{{ purpose }} [All of it](../roles/{{ role }}/README.md).

| Name | Default | Description |
|---|---|---|
{% for row in rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
{%- endfor %}"""


def listed(value: Any) -> list[Any]:
    """A description is a text or a list of texts."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def text(value: str) -> str:
    """Ansible's markup (docs.ansible.com, "Ansible markup") as Markdown, on one line."""
    value = " ".join(value.split())
    value = re.sub(r"\bL\(([^,()]+),\s*([^()]+)\)", r"[\1](\2)", value)
    value = re.sub(r"\bP\(([^()#]+)#[^()]+\)", r"`\1`", value)
    value = re.sub(r"\bB\(([^()]*)\)", r"**\1**", value)
    return re.sub(r"\b(?:C|E|I|M|O|RV|U|V)\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", value)


def cell(value: str) -> str:
    # Outside of code, <name> would be taken for HTML.
    parts = re.split(r"(`[^`]*`)", text(value).replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def code(value: Any) -> str:
    shown = value if isinstance(value, str) and value else json.dumps(value)
    return "`" + shown.replace("|", "\\|") + "`"


def shown_default(spec: dict[str, Any], name: str, defaults: dict[str, Any]) -> str:
    if spec.get("required"):
        return "required"
    if name not in defaults and "default" not in spec:
        return ""
    value = defaults.get(name, spec.get("default"))
    shown = code(value)
    return shown if len(shown) <= SHOWN and "\n" not in shown else "[defaults/main.yml](defaults/main.yml)"


def variable_rows(
    options: dict[str, Any], defaults: dict[str, Any], only: dict[str, str], prefix: str = ""
) -> Iterator[list[str]]:
    """One table row a variable, its suboptions below it."""
    for key, spec in options.items():
        name = prefix + key
        kind = spec["type"] + (f" of {spec['elements']}" if "elements" in spec else "")
        description = " ".join(cell(line) for line in listed(spec.get("description")))
        if name in only:
            description += f" Entry point {only[name]} only."
        choices = ", ".join(code(choice) for choice in spec.get("choices", []))
        yield [f"`{name}`", kind, shown_default(spec, name, defaults), choices, description]
        yield from variable_rows(spec.get("options", {}), defaults, only, f"{name}.")


def brief(
    role: str, entries: dict[str, Any], defaults: dict[str, Any], seen: set[str]
) -> Iterator[tuple[str, str, str]]:
    """A row a variable of the page of all variables, each where it is met first."""
    for entry in entries.values():
        for name, spec in (entry.get("options") or {}).items():
            if name in defaults and name not in seen:
                seen.add(name)
                default = shown_default(spec, name, defaults).replace("](defaults", f"](../roles/{role}/defaults")
                yield f"`{name}`", default, " ".join(cell(line) for line in listed(spec.get("description")))


def load(path: pathlib.Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def disagreements(role: str, entries: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """Where the spec and defaults/main.yml say different things, as messages."""
    specified: dict[str, Any] = {}
    for entry in entries.values():
        for name, spec in (entry.get("options") or {}).items():
            if specified.setdefault(name, spec) != spec:
                yield f"roles/{role}: {name} is specified differently in two entry points"
    for name, spec in specified.items():
        if name in defaults:
            if spec.get("required"):
                yield f"roles/{role}: {name} is required by the spec and has a default"
            elif "default" in spec and spec["default"] != defaults[name]:
                yield (
                    f"roles/{role}: the default of {name} is {spec['default']!r} in meta/argument_specs.yml, "
                    f"{defaults[name]!r} in defaults/main.yml"
                )
        elif "default" in spec:
            yield f"roles/{role}: {name} has a default in meta/argument_specs.yml, but none in defaults/main.yml"
    for name in defaults:
        if name not in specified and not name.startswith("__"):
            yield f"roles/{role}: {name} of defaults/main.yml is missing in meta/argument_specs.yml"


def render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.globals.update(cell=cell, listed=listed, text=text)
    return environment.from_string(template).render(**values)


def readme(role: str, meta: dict[str, Any], entries: dict[str, Any], defaults: dict[str, Any]) -> str:
    options: dict[str, Any] = {}
    takers: dict[str, list[str]] = {}
    for point, entry in entries.items():
        for name, spec in (entry.get("options") or {}).items():
            options.setdefault(name, spec)
            takers.setdefault(name, []).append(point)
    # Said only where entry points with variables of their own differ.
    several = sum(1 for entry in entries.values() if entry.get("options")) > 1
    only = {name: code(points[0]) for name, points in takers.items() if several and len(points) == 1}
    return render(
        README,
        collection=COLLECTION,
        role=role,
        purpose=meta["galaxy_info"]["description"],
        license=meta["galaxy_info"]["license"],
        entries={name: {"description": None, **entry} for name, entry in entries.items()},
        rows=list(variable_rows(options, defaults, only)),
        dependencies=[item["role"].removeprefix(f"{COLLECTION}.") for item in meta.get("dependencies") or []],
        examples=[entry["examples"] for entry in entries.values() if entry.get("examples")],
    )


def budget_table() -> str:
    """The table that a deploy prints for a host of 2 GB."""
    sys.path.insert(0, str(ROOT / ".dev/collections"))
    from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget import Host, judge
    from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_report import table

    [data] = load(ROOT / "roles/memory_budget/vars/main/documented.yml").values()
    return table(judge(data, data, {}, Host(HOST_MEMORY, 2), False), "documented")


def anchors(markdown: str) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: pathlib.Path) -> Iterator[str]:
    """Links of a page to files and headings that are not there, as messages."""
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: there is no {link}"
        elif fragment and fragment not in anchors(target.read_text(encoding="utf-8")):
            yield f"{page.relative_to(ROOT)}: {path or 'the page'} has no heading #{fragment}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where something is out of date")
    check = parser.parse_args().check
    problems: list[str] = []
    pages: dict[pathlib.Path, str] = {}
    seen: set[str] = set()
    variables: list[tuple[str, str, list[tuple[str, str, str]]]] = []
    for folder in sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/main.yml")):
        entries = load(folder / "meta/argument_specs.yml")["argument_specs"]
        defaults = load(folder / "defaults/main.yml")
        problems += disagreements(folder.name, entries, defaults)
        meta = load(folder / "meta/main.yml")
        pages[folder / "README.md"] = readme(folder.name, meta, entries, defaults)
        rows = list(brief(folder.name, entries, defaults, seen))
        if rows and folder.name not in INTERNAL:
            variables.append((folder.name, meta["galaxy_info"]["description"], rows))
    pages[ROOT / "docs/variables.md"] = render(VARIABLES, roles=variables)
    main_page = ROOT / "README.md"
    block = f"```text\n{budget_table()}\n```\n"
    pages[main_page], found = BUDGET.subn(lambda _: block, main_page.read_text(encoding="utf-8"))
    if not found:
        problems.append("README.md has no place for the budget table")

    for page, wanted in pages.items():
        if page.exists() and page.read_text(encoding="utf-8") == wanted:
            continue
        name = page.relative_to(ROOT)
        if check:
            problems.append(f"{name} is out of date: make docs")
        else:
            page.write_text(wanted, encoding="utf-8")
            print(name)
    for page in [main_page, *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md"), *ROOT.glob("app/*/README.md")]:
        if page.exists():
            problems += dead_links(page)
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
