# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards and configuration of Grafana, by the programs that read them; Grafana itself is in molecule/grafana.

Queries: the parsers of Prometheus (promtool, and the running server) and of Loki; every metric and label is one that
was scraped. Dashboards: Grafana's own types. Configuration: every setting is one that Grafana knows.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import stat
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHECKS = ROOT / "tests/dashboards"
FILES = sorted((ROOT / "roles/grafana/templates/dashboards").glob("*.json"))
PROMETHEUS = os.environ.get("SIXTY_PROMETHEUS_URL", "http://127.0.0.1:9090")
# What Grafana puts in place of its variables; for a panel over three hours.
VARIABLES = {"$__rate_interval": "1m", "$__range": "3h", "$__auto": "1m", "$search": "text"}
RECORDED = json.loads((CHECKS / "metrics.json").read_text())
# Not always there: without TLS, before the first dump, before there is a slope.
SOMETIMES = {
    "certificate_not_after_timestamp_seconds",
    "backup_last_success_timestamp_seconds",
    "backup_size_bytes",
    "container_memory_growth_bytes_per_hour",
    "container_memory_growth_confidence",
}
# Of a value in a panel, of a key in a panel, in its options, and of the type of a value of the dashboard.
MISTAKES = {
    '"showPoints": "never"': '"showPoints": "nevr"',
    '"maxDataPoints"': '"maxDatapoints"',
    '"graphMode": "none"': '"graphMod": "none"',
    '"schemaVersion": 42': '"schemaVersion": "42"',
}
LABELS = {"service", "slot", "release", "level"}


def queries():
    """(language, expression, whether over time) of all panels and annotations, with the name of each."""
    for path in FILES:
        board = json.loads(path.read_text())
        for annotation in board["annotations"]["list"]:
            yield pytest.param("promql", annotation["expr"], True, id=f"{path.stem}, {annotation['name']}")
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                language = {"prometheus": "promql", "loki": "logql"}[target["datasource"]["type"]]
                name = f"{path.stem}, {panel['title']} {target['refId']}"
                yield pytest.param(language, target["expr"], target.get("range", True), id=name)


QUERIES = list(queries())
PROMQL = [param for param in QUERIES if param.values[0] == "promql"]
LOGQL = [param for param in QUERIES if param.values[0] == "logql"]


def filled(expression):
    """A query as it is sent."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$(service|slot|release|level)\b", ".+", expression)


def node(script, *arguments, **options):
    command = ["node", CHECKS / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def inspect(language, expressions):
    """What the language's parser says of each expression."""
    asked = [{"language": language, "expression": expression} for expression in expressions]
    done = node("parse.mjs", input=json.dumps(asked))
    assert done.returncode == 0, done.stderr
    return dict(zip(expressions, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def parsed():
    """Expression, filled -> what its parser says."""
    found = {}
    for language, params in (("promql", PROMQL), ("logql", LOGQL)):
        found.update(inspect(language, [filled(param.values[1]) for param in params]))
    return found


def promtool(groups):
    """promtool's verdict on a rule file."""
    image = os.environ["SIXTY_PROMETHEUS_IMAGE"]
    command = ["docker", "run", "--rm", "--interactive", "--network=none", "--memory=128m", "--entrypoint=promtool"]
    command += [image, "check", "rules", "--lint=none"]
    return subprocess.run(
        command, input=yaml.safe_dump({"groups": groups}), capture_output=True, text=True, timeout=60, check=False
    )


def test_promtool_parses_every_query():
    rules = [
        {"record": "dashboards:query", "expr": filled(param.values[1]), "labels": {"panel": param.id}}
        for param in PROMQL
    ]
    done = promtool([{"name": "dashboards", "rules": rules}])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout + done.stderr


def test_promtool_would_say_so():
    done = promtool([{"name": "broken", "rules": [{"record": "x", "expr": "sum by (slot (rate(up[1m]))"}]}])
    assert done.returncode != 0


def test_the_parsers_would_say_so():
    for language, broken in (("promql", "sum(rate(up[1m])"), ("logql", '{service="nginx" | json')):
        assert inspect(language, [broken])[broken]["errors"]


@pytest.mark.parametrize(("language", "expression", "over_time"), QUERIES)
def test_a_parser_understands_it(parsed, language, expression, over_time):
    assert not re.search(r"\$", filled(expression)), "a variable that no dashboard has"
    assert parsed[filled(expression)]["errors"] == []


@pytest.mark.parametrize(("language", "expression", "over_time"), PROMQL)
def test_its_metrics_and_labels_are_scraped(parsed, language, expression, over_time):
    found = parsed[filled(expression)]
    known = set()
    for selector in found["selectors"]:
        labels = [set(metrics[selector["metric"]]) for metrics in RECORDED.values() if selector["metric"] in metrics]
        assert labels, f"{selector['metric']} is scraped from nobody"
        known.update(*labels)
        assert set(selector["labels"]) <= set().union(*labels), selector
    assert set(found["groupings"]) <= known


@pytest.mark.parametrize(("language", "expression", "over_time"), LOGQL)
def test_its_labels_and_fields_are_logged(parsed, language, expression, over_time):
    """Labels are Fluent Bit's, fields those of nginx's log format."""
    [form] = re.findall(r"log_format json.*?;", (ROOT / "roles/nginx/templates/conf.d/log.conf.j2").read_text(), re.S)
    fields = set(re.findall(r'"(\w+)":', form))
    assert {"status", "uri", "request_time"} <= fields
    found = parsed[filled(expression)]
    assert found["selectors"]
    for selector in found["selectors"]:
        assert set(selector["labels"]) <= LABELS
    assert set(found["fields"]) <= fields | {"__error__"}
    assert set(found["groupings"]) <= fields | LABELS


def ask(path, **parameters):
    """An answer of the stack's Prometheus; an error is its text."""
    data = urllib.parse.urlencode(parameters).encode()
    try:
        with urllib.request.urlopen(f"{PROMETHEUS}/api/v1/{path}", data or None, timeout=20) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error


@pytest.fixture(scope="module")
def scraped(stack):
    """Names of all metrics that the running Prometheus has."""
    return set(ask("label/__name__/values"))


def test_every_metric_is_scraped_now(scraped, parsed):
    used = {selector["metric"] for found in parsed.values() for selector in found["selectors"]} - {""}
    assert used - scraped <= SOMETIMES


@pytest.mark.parametrize(("language", "expression", "over_time"), PROMQL)
def test_the_running_prometheus_answers_within_its_samples(stack, language, expression, over_time):
    """As many steps as a panel has over 24 hours; twice the series, for what else deploys and routes bring."""
    budget = yaml.safe_load((ROOT / "roles/memory_budget/vars/main/documented.yml").read_text())
    most = budget["__memory_budget_documented"]["services"]["prometheus"]["settings"]["query_max_samples"]
    end = time.time()
    if over_time:
        steps = {"start": end - 144, "end": end, "step": 0.5}
        answer = ask("query_range", query=filled(expression), stats="all", **steps)
    else:
        answer = ask("query", query=filled(expression), time=end, stats="all")
    assert answer["stats"]["samples"]["peakSamples"] * 2 <= most


def test_they_fit_grafanas_types():
    done = node("types.mjs", *FILES)
    assert done.returncode == 0, done.stderr


def test_the_types_would_say_so(tmp_path):
    text = (ROOT / "roles/grafana/templates/dashboards/memory.json").read_text()
    for index, (right, wrong) in enumerate(MISTAKES.items()):
        assert right in text
        (tmp_path / f"{index}.json").write_text(text.replace(right, wrong))
    done = node("types.mjs", *sorted(tmp_path.iterdir()))
    assert done.returncode == 1
    for index, wrong in enumerate(MISTAKES.values()):
        found = [line for line in done.stderr.splitlines() if line.startswith(str(tmp_path / f"{index}.json"))]
        assert found and wrong in found[0]


@pytest.fixture(scope="module", params=["with loki", "without loki"])
def landed(request, tmp_path_factory):
    """What the role lands, and the container that it would run: (tree, container, whether with Loki)."""
    folder = tmp_path_factory.mktemp("grafana")
    with_loki = request.param == "with loki"
    variables = {
        "stack_config_dir": str(folder),
        "__image_absent": [] if with_loki else ["fluent_bit", "loki"],
        "grafana_root_url": "http://localhost:3000/" if with_loki else "https://grafana.example.com/",
    }
    play = ROOT / "tests/integration/playbooks/grafana_tree.yml"
    command = ["ansible-playbook", play, "--extra-vars", json.dumps(variables)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    container = json.loads((folder / "container.json").read_text())
    return folder / "grafana/current", container, with_loki


@pytest.fixture
def ini(landed):
    """grafana.ini, read as its library reads it: names keep their case, nothing is interpolated."""
    parser = configparser.ConfigParser(interpolation=None, strict=True, delimiters="=", comment_prefixes=(";", "#"))
    parser.optionxform = str
    parser.read_string("[DEFAULT]\n" + (landed[0] / "grafana.ini").read_text())
    own = {name: {key: value for key, value in parser[name].items() if key not in parser.defaults()} for name in parser}
    return {**own, "DEFAULT": dict(parser.defaults())}


def test_grafana_knows_every_setting(ini):
    known = yaml.safe_load((CHECKS / "grafana_ini_keys.yml").read_text())
    unknown = {f"{section}.{key}" for section, keys in ini.items() for key in keys if key not in known.get(section, [])}
    assert not unknown


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("auth.anonymous.enabled", "false"),
        ("users.allow_sign_up", "false"),
        ("users.allow_org_create", "false"),
        ("unified_alerting.enabled", "false"),
        ("plugins.preinstall_disabled", "true"),
        ("plugins.plugin_admin_enabled", "false"),
        ("plugins.public_key_retrieval_disabled", "true"),
        ("analytics.reporting_enabled", "false"),
        ("analytics.check_for_updates", "false"),
        ("analytics.check_for_plugin_updates", "false"),
        ("news.news_feed_enabled", "false"),
        ("security.disable_gravatar", "true"),
        ("security.allow_embedding", "false"),
        ("security.content_security_policy", "true"),
        ("security.cookie_samesite", "strict"),
        ("snapshots.enabled", "false"),
        ("snapshots.external_enabled", "false"),
        ("public_dashboards.enabled", "false"),
        ("cloud_migration.enabled", "false"),
        ("live.max_connections", "0"),
        ("server.enable_gzip", "false"),
        ("metrics.disable_total_stats", "true"),
        ("log.mode", "console"),
        ("log.level", "warn"),
    ],
)
def test_what_is_off_is_off(ini, setting, value):
    section, key = setting.rsplit(".", 1)
    assert ini[section][key] == value


def test_the_cookie_needs_tls_where_there_is_tls(landed, ini):
    plain = ini["server"]["root_url"].startswith("http:")
    assert plain == landed[2]
    assert ini["security"]["cookie_secure"] == ini["security"]["strict_transport_security"] == str(not plain).lower()


def test_the_policy_names_nobody_else(ini):
    policy = ini["security"]["content_security_policy_template"]
    assert policy.startswith('"""') and policy.endswith('"""'), "; would begin a comment"
    directives = dict(part.strip().split(" ", 1) for part in policy.strip('"').split(";") if part.strip())
    sources = {source for value in directives.values() for source in value.split()}
    assert sources <= {
        "'self'", "'none'", "'unsafe-eval'", "'unsafe-inline'", "'strict-dynamic'", "$NONCE", "data:", "blob:"
    }  # fmt: skip
    assert directives["frame-ancestors"] == "'none'"
    assert directives["connect-src"] == "'self'"


def test_secrets_are_files_that_its_group_reads(landed, ini):
    tree, container, _with_loki = landed
    for key, name in (("admin_password", "admin_password"), ("secret_key", "secret_key")):
        assert ini["security"][key] == f"$__file{{/etc/sixty/current/secrets/{name}}}"
        found = (tree / "secrets" / name).stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 472, 0o440)
    password, key = ((tree / "secrets" / name).read_text().strip() for name in ("admin_password", "secret_key"))
    assert password == "a-long-and-random-password"
    assert re.fullmatch(r"[0-9a-f]{64}", key)
    assert password not in json.dumps(container) + (tree / "grafana.ini").read_text()


@pytest.mark.parametrize("kind", ["datasources", "dashboards", "plugins", "alerting"])
def test_provisioning_fits_its_schema(landed, kind):
    schemas = yaml.safe_load((CHECKS / "provisioning.schema.yml").read_text())
    [path] = (landed[0] / "provisioning" / kind).iterdir()
    jsonschema.validate(yaml.safe_load(path.read_text()), schemas[kind])


def test_every_dashboard_finds_its_data_sources(landed):
    tree, _container, with_loki = landed
    [path] = (tree / "provisioning/datasources").iterdir()
    sources = {source["uid"]: source for source in yaml.safe_load(path.read_text())["datasources"]}
    assert [source["name"] for source in sources.values() if source.get("isDefault")] == ["Prometheus"]
    assert set(sources) == {"prometheus", "loki"} if with_loki else {"prometheus"}
    names = {found.stem for found in (tree / "dashboards").iterdir()}
    assert names == {found.stem for found in FILES} - (set() if with_loki else {"logs"})
    for found in (tree / "dashboards").iterdir():
        uids = set(re.findall(r'"uid": "(\w+)"', found.read_text())) - {found.stem}
        assert uids <= set(sources), found.name
        # Braces of legends are Grafana's, not the template engine's.
        assert found.read_bytes() == (ROOT / "roles/grafana/templates/dashboards" / found.name).read_bytes()


def test_the_container_finds_its_files(landed, ini):
    tree, container, _with_loki = landed
    mounted = "/etc/sixty/current/"
    environment = container["environment"]
    [path] = (tree / "provisioning/dashboards").iterdir()
    provider = yaml.safe_load(path.read_text())["providers"][0]["options"]["path"]
    for text in (
        environment["GF_PATHS_CONFIG"],
        environment["GF_PATHS_PROVISIONING"],
        provider,
        ini["dashboards"]["default_home_dashboard_path"],
    ):
        assert text.startswith(mounted)
        assert (tree / text.removeprefix(mounted)).exists(), text
    # All that it writes: the root is read-only, and /tmp is a tmpfs.
    writable = [volume.split(":")[1] for volume in container["volumes"] if not volume.endswith(":ro")]
    assert writable == ["/var/lib/grafana"]
    assert ini["unified_storage"]["index_path"].startswith("/var/lib/grafana/")
    assert environment["GOMEMLIMIT"] == "102MiB"
    assert {type(value) for value in environment.values()} == {str}
    assert container["ports"] == ["127.0.0.1:3000:3000"]
