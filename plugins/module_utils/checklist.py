# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployment checklist: its items, and how each is judged. Pure.

An item is judged by C(facts), plain data that the action plugin has collected. What cannot be told from them is "not
known", with the reason, and never "pass"; what only a person can know is "ask" until there is an answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
import urllib.parse

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.report_text import (
    Paint,
    duration,
    mebibytes,
    plain,
    printable,
    table,
)

Data = t.Dict[str, t.Any]
Facts = t.Mapping[str, t.Any]
PASS, FAIL, NOT_KNOWN, ASK = "pass", "fail", "not known", "ask"
LEVELS = {PASS: "ok", FAIL: "critical", NOT_KNOWN: "warning", ASK: "alert"}
PHASES = {
    "pre": "Pre-Deployment",
    "during": "During Deployment",
    "post": "Post-Deployment",
    "metrics": "Success Metrics",
}
# The success metrics are what is looked at last.
CHOICES = {"pre": ("pre",), "during": ("during",), "post": ("post", "metrics"), "all": tuple(PHASES)}
MIB = 1024**2
# The targets of the requirement, whatever the budget's profile and a report's own thresholds say.
SYSTEM_LIMIT, API_LIMIT, FRONTEND_LIMIT, BUNDLE_LIMIT = 2048 * MIB, 384 * MIB, 128 * MIB, 5 * MIB
REQUIRED = {
    "Lighthouse score": (">", 85),
    "Load time": ("<", 2000),
    "Largest Contentful Paint": ("<", 2000),
    "First Input Delay": ("<", 50),
    "Cumulative Layout Shift": ("<", 0.05),
    "Time to Interactive": ("<", 3000),
}
WATCHERS = ("Memory Monitor", "Prometheus", "Alertmanager")
PAGE = "amtool --alertmanager.url=http://127.0.0.1:9093 alert add TestPage severity=critical"


class Unknown(Exception):
    """Nobody can tell; the message says why."""


class Finding(t.NamedTuple):
    """What an item's check found."""

    verdict: str
    evidence: str


def passed(is_well: bool, evidence: str) -> Finding:
    """Pass or fail, with the same words."""
    return Finding(PASS if is_well else FAIL, evidence)


# -- what Prometheus is asked: since the release was switched to, but 5 minutes at least and a day at most

SHORTEST, LONGEST = 300, 86400
# What fails around a switch is put down to it: from a minute before it to ten minutes after.
BEFORE, AFTER = 60, 600
# HostOOMKill is of what is outside of the stack's containers.
MEMORY_ALERTS = "Memory.*|HighMemoryUsage|TotalMemory.*|ContainerOOMKilled"
QUERIES = {
    "memory_alerts": 'max_over_time(ALERTS{{alertstate="firing",alertname=~"' + MEMORY_ALERTS + '"}}[{window}s])',
    "highest": 'max by (service) (max_over_time(container_memory_unreclaimable_bytes{{stack="{stack}"}}[{window}s]))',
    "highest_total": 'max(max_over_time(stack_memory_unreclaimable_bytes{{stack="{stack}"}}[{window}s]))',
    "targets_down": 'up{{job!="api"}} == 0',
    "watched": 'avg(avg_over_time(up{{job="memory_monitor"}}[{window}s]))',
    # Below /api/ alone: a release that drains says by 503 at its health path that it is not ready.
    "requests": 'sum(increase(http_request_duration_seconds_count{{route=~"/api/.*"}}[{around}s] @ {end}))',
    "errors": 'sum(increase(http_request_duration_seconds_count{{route=~"/api/.*",status=~"5.."}}[{around}s] @ {end}))'
    " or vector(0)",
    "p95": "max(api:request_duration_seconds:p95 and on (slot) release_active == 1)",
    "undelivered": "sum(increase(alertmanager_notifications_failed_total[{window}s])) or vector(0)",
}


def window(switched: t.Optional[float], now: float) -> int:
    """Seconds that are looked back over."""
    return int(min(max(now - switched, SHORTEST), LONGEST)) if switched else SHORTEST


def query_urls(prometheus: str, stack: str, switched: t.Optional[float], now: float) -> t.Dict[str, str]:
    """Name of a query -> its address."""
    end = min((switched or now) + AFTER, now)
    words = {"stack": stack, "window": window(switched, now), "end": round(end, 3)}
    words["around"] = int(end - (switched or now)) + BEFORE
    return {
        name: f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": text.format(**words)})
        for name, text in QUERIES.items()
    }


def samples(answer: Facts) -> t.Optional[t.List[Data]]:
    """The samples of an instant query, each with C(labels) and C(value); None where Prometheus does not say."""
    document = decoded(answer)
    try:
        return [{"labels": each["metric"], "value": float(each["value"][1])} for each in document["data"]["result"]]
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def decoded(answer: Facts) -> t.Any:
    """JSON out of an answer of 200, or None."""
    try:
        return json.loads(answer["body"]) if answer.get("status") == 200 else None
    except ValueError:
        return None


def page_digest(answer: Facts) -> str:
    """Of the page, which names all of its files by their content; empty where it is not served."""
    return hashlib.sha256(answer["body"].encode()).hexdigest() if answer.get("status") == 200 else ""


def receivers(answer: Facts) -> t.Optional[t.List[str]]:
    """Who is told, by Alertmanager's own status: "slack", "email"; None where it does not say."""
    document = decoded(answer)
    try:
        text = document["config"]["original"]
    except (KeyError, TypeError):
        return None
    # The heartbeat tells a machine that all is well, the webhook the automatic rollback.
    return sorted(set(re.findall(r"^  (\w+)_configs:", text, re.MULTILINE)) - {"webhook"})


def has_watchdog(answer: Facts) -> t.Optional[bool]:
    """Whether the alert that always fires has come as far as Alertmanager; None where that does not say."""
    document = decoded(answer)
    try:
        return any(alert["labels"]["alertname"] == "Watchdog" for alert in document)
    except (KeyError, TypeError):
        return None


# -- what a check needs, or there is no verdict


def asked(facts: Facts, name: str) -> t.List[Data]:
    """The samples of a query."""
    found = facts["queries"].get(name)
    if found is None:
        raise Unknown("Prometheus does not say")
    return found


def number(facts: Facts, name: str) -> float:
    """The one sample of a query."""
    found = asked(facts, name)
    if not found or found[0]["value"] != found[0]["value"]:
        raise Unknown("Prometheus has no such sample yet")
    return found[0]["value"]


def deployed(facts: Facts) -> t.List[Data]:
    """The containers of the stack."""
    found = facts["resources"]["containers"]
    if not found:
        raise Unknown("nothing is deployed yet")
    return found


def report(facts: Facts, name: str) -> Data:
    """A report of a test: of what is served, and not older than C(max_age).

    Tests that have a stack of their own have a release of their own; theirs is of the same image and the same page.
    """
    found = written(facts, name)
    if found["age"] > facts["max_age"]:
        raise Unknown(f"the report is {duration(found['age'])} old")
    keys = ("release",) if found["release"] else ("image", "page")
    for key in keys:
        if not found[key]:
            raise Unknown("the report does not say what was tested")
        if found[key] != facts[key]:
            raise Unknown(f"the report is of {key} {found[key][:40]}, served is {facts[key][:40] or 'none'}")
    return found


def written(facts: Facts, name: str) -> Data:
    """A report of any release and age."""
    found = facts["reports"].get(name)
    if not found:
        raise Unknown("there is no report")
    if "problem" in found:
        raise Unknown(found["problem"])
    return found


def read_report(name: str, text: str, modified: float, now: float) -> Data:
    """A report's file, as the checks want it; one that cannot be read is C(problem)."""
    try:
        document = json.loads(text)
        if name == "bundle":
            return {"total_bytes": int(document["total_bytes"]), "files": len(document["chunks"])}
        ended = document["started"] + document["seconds"] if "seconds" in document else modified
        found: Data = {key: str(document.get(key) or "") for key in ("release", "image", "page")}
        found.update(ok=document["ok"] is True, age=max(0.0, now - ended))
        rows = {row["metric"]: row for row in document.get("rows", [])}
        return {**found, "rows": rows}
    except (KeyError, TypeError, ValueError) as error:
        return {"problem": f"the report is broken ({type(error).__name__}: {error})"}


def figure(found: Data, name: str) -> t.Tuple[bool, str]:
    """A figure of the report of performance: whether it is what was asked for, and as text."""
    row = found["rows"].get(f"mobile: {name}")
    if not row:
        raise Unknown(f"the report has no {name}")
    test, wanted = REQUIRED[name]
    holds = row["measured"] > wanted if test == ">" else row["measured"] < wanted
    value = row["measured"]
    return holds, f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# -- the items

Check = t.Callable[[Facts], Finding]


class Item(t.NamedTuple):
    """A line of the checklist. One without C(judge) is asked of a person; C(means) then is the question."""

    name: str
    phases: t.Tuple[str, ...]
    title: str
    means: str
    command: str
    judge: t.Optional[Check] = None


# In the order in which they are shown.
ITEMS: t.List[Item] = []


def item(name: str, phases: str, title: str, command: str) -> t.Callable[[Check], Check]:
    """Puts the decorated check on the list; its documentation says how it judges."""

    def listed(check: Check) -> Check:
        ITEMS.append(Item(name, tuple(phases.split()), title, check.__doc__ or "", command, check))
        return check

    return listed


def question(name: str, phase: str, title: str, text: str, command: str) -> None:
    """Puts a question on the list."""
    ITEMS.append(Item(name, (phase,), title, text, command))


@item("bundle-size", "pre metrics", "Bundle size < 5MB", "make ci-build")
def bundle_size(facts: Facts) -> Finding:
    """All files of the production build, uncompressed."""
    # Its file is named after the source that was built: it is never of another one.
    found = written(facts, "bundle")
    return passed(
        found["total_bytes"] < BUNDLE_LIMIT,
        f"{found['total_bytes'] / MIB:.2f} of {BUNDLE_LIMIT / MIB:g} MB in {found['files']} files",
    )


@item("memory-limits", "pre", "Memory limits configured", "make check-resources")
def memory_limits(facts: Facts) -> Finding:
    """The budget holds, and the kernel enforces it on what runs."""
    errors, containers = facts["budget_errors"], facts["resources"]["containers"]
    differences = [text for row in containers for text in row["differences"]]
    held = f"{len(containers)} containers have its limits" if containers else "nothing is deployed yet"
    return passed(
        not errors and not differences,
        "; ".join([f"the budget has {errors} errors", *(differences or [held])]),
    )


@item("health-checks", "pre", "Health checks working", "make check-health")
def health_checks(facts: Facts) -> Finding:
    """Each container has a probe that says healthy."""
    deployed(facts)
    running = [row for row in facts["health"]["services"] if row["state"] == "running"]
    starting = [row["name"] for row in running if row["health"] == "starting"]
    if starting:
        raise Unknown(f"{', '.join(starting)} is still starting")
    if not running:
        return Finding(FAIL, "no container runs")
    wrong = [f"{row['name']}: {row['health']}" for row in running if row["health"] != "healthy"]
    return passed(not wrong, ", ".join(wrong) or f"the probes of {len(running)} containers say healthy")


@item("monitoring-ready", "pre", "Monitoring setup ready", "make check-health")
def monitoring_ready(facts: Facts) -> Finding:
    """Memory Monitor, Prometheus and Alertmanager answer, and every target is scraped."""
    deployed(facts)
    answers = {row["name"]: row["ok"] for row in facts["health"]["requests"]}
    silent = [name for name in WATCHERS if not answers.get(name)]
    if silent:
        return Finding(FAIL, f"no answer from {', '.join(silent)}")
    down = [each["labels"].get("job", "?") for each in asked(facts, "targets_down")]
    return passed(
        not down, f"not scraped: {', '.join(down)}" if down else f"{', '.join(WATCHERS)} answer, no target is down"
    )


question(
    "on-call",
    "pre",
    "Somebody is on call",
    "Does somebody on call know of this deploy, and how to roll it back?",
    "make releases",
)


@item("memory-usage", "during", "Monitor memory usage", "make monitor-memory")
def memory_usage(facts: Facts) -> Finding:
    """No container, and not all together, at the critical threshold."""
    running = [row for row in deployed(facts) if row["running"]]
    if not running:
        return Finding(FAIL, "no container runs")
    total, worst = facts["resources"]["total"], max(running, key=lambda row: row["percent"])
    critical = [row["name"] for row in (*running, total) if row["level"] == "critical"]
    used = f"{mebibytes(total['unreclaimable'])} of {total['limit'] / MIB:.0f} MB"
    seen = f"{used}; {worst['name']} {worst['percent']:.0f} %"
    return passed(not critical, f"critical: {', '.join(critical)}; {seen}" if critical else seen)


@item("health-endpoints", "during", "Validate health endpoints", "make check-health")
def health_endpoints(facts: Facts) -> Finding:
    """Page, API, database and watchers answer 200 through nginx and on their ports."""
    deployed(facts)
    asked_for = facts["health"]["requests"]
    wrong = [f"{row['name']}: {row['error'] or row['status']}" for row in asked_for if not row["ok"]]
    return passed(not wrong, ", ".join(wrong) or f"{len(asked_for)} addresses answer 200")


@item("performance-metrics", "during", "Check performance metrics", "make monitor-deployment")
def performance_metrics(facts: Facts) -> Finding:
    """The API has a 95th percentile, and no alert of latency or errors."""
    alerts = facts["health"]["alerts"]
    if alerts is None:
        raise Unknown("Prometheus does not say")
    fires = [alert["name"] for alert in alerts if alert["name"] in ("ApiLatencyDegraded", "ApiErrorRate")]
    if fires:
        return Finding(FAIL, f"{', '.join(fires)} fires")
    return Finding(PASS, f"95th percentile {number(facts, 'p95') * 1000:.0f} ms, neither latency nor errors alert")


@item("alert-system", "during", "Verify alert system", "make check-health")
def alert_system(facts: Facts) -> Finding:
    """Watchdog comes as far as Alertmanager, and no message stays undelivered."""
    if facts["watchdog"] is None:
        raise Unknown("Alertmanager does not say")
    if not facts["watchdog"]:
        return Finding(FAIL, "Watchdog, which always fires, has not come to Alertmanager")
    lost = number(facts, "undelivered")
    return passed(lost < 0.5, f"Watchdog came to Alertmanager; {lost:.0f} messages were not delivered")


question(
    "page-received",
    "during",
    "A page is received",
    "Did the people on call receive a test page?",
    f"docker exec <stack>-alertmanager {PAGE}",
)


@item("memory-within-limits", "post", "Memory usage within limits", "make check-resources")
def memory_within_limits(facts: Facts) -> Finding:
    """The highest since the switch is below the critical threshold; no OOM kill."""
    killed = [row["name"] for row in deployed(facts) if row["oom_kills"]]
    limits = {row["service"]: row["limit"] for row in facts["resources"]["containers"] if row["running"]}
    shares = {
        each["labels"]["service"]: 100 * each["value"] / limits[each["labels"]["service"]]
        for each in asked(facts, "highest")
        if limits.get(each["labels"].get("service"))
    }
    if not shares:
        raise Unknown("Prometheus has no such sample yet")
    service, share = max(shares.items(), key=lambda entry: entry[1])
    critical = facts["resources"]["thresholds"]["critical_percent"]
    seen = f"highest since the switch: {service} {share:.0f} % of its limit"
    return passed(
        not killed and share < critical, f"killed for memory: {', '.join(killed)}; {seen}" if killed else seen
    )


@item("performance-score", "post metrics", "Performance score > 85", "make ci-performance")
def performance_score(facts: Facts) -> Finding:
    """Lighthouse, mobile, median, of the release that is served."""
    return measured(facts, "Lighthouse score")


@item("load-time", "metrics", "Load time < 2s", "make ci-performance")
def load_time(facts: Facts) -> Finding:
    """Lighthouse, mobile, median, of the release that is served."""
    return measured(facts, "Load time")


@item("thresholds", "metrics", "LCP < 2000, FID < 50, CLS < 0.05, TTI < 3000", "make ci-performance")
def thresholds(facts: Facts) -> Finding:
    """Lighthouse, mobile, median, of the release that is served."""
    return measured(facts, *(name for name in REQUIRED if name not in ("Lighthouse score", "Load time")))


def measured(facts: Facts, *names: str) -> Finding:
    """Whether all of these figures hold."""
    found = report(facts, "performance")
    figures = [figure(found, name) for name in names]
    texts = ", ".join(text for _holds, text in figures)
    return passed(all(holds for holds, _text in figures), f"{texts}; {duration(found['age'])} ago")


@item("memory-leaks", "post metrics", "Zero memory leaks detected", "make ci-memory")
def memory_leaks(facts: Facts) -> Finding:
    """Memory tests of the image and the page that are served, and the Memory Monitor."""
    suspected = [row["name"] for row in deployed(facts) if row["leak"]]
    if suspected:
        return Finding(FAIL, f"the Memory Monitor suspects {', '.join(suspected)}")
    if not facts["resources"]["monitor"]["answers"]:
        raise Unknown("the Memory Monitor does not answer")
    found = report(facts, "memory")
    said = "found none" if found["ok"] else "failed"
    return passed(found["ok"], f"memory tests {said}, {duration(found['age'])} ago; the Memory Monitor suspects none")


@item("services-healthy", "post", "All services healthy", "make check-health")
def services_healthy(facts: Facts) -> Finding:
    """Every container of the budget runs, is healthy, and answers."""
    deployed(facts)
    rows = [*facts["health"]["services"], *facts["health"]["requests"]]
    wrong = [row["name"] for row in rows if not row["ok"]]
    running = sum(row["state"] == "running" for row in facts["health"]["services"])
    return passed(not wrong, f"not well: {', '.join(wrong)}" if wrong else f"{running} containers run, all are healthy")


question(
    "looked-at",
    "post",
    "The dashboard was looked at",
    "Does the dashboard in your browser look right, with current data?",
    "make check-health",
)


@item("system-memory", "metrics", "Total system memory < 2GB", "make check-resources")
def system_memory(facts: Facts) -> Finding:
    """The highest of all containers together since the switch."""
    return below(number(facts, "highest_total"), SYSTEM_LIMIT)


@item("api-memory", "metrics", "API backend < 384MB", "make check-resources")
def api_memory(facts: Facts) -> Finding:
    """Its highest since the switch."""
    return below(highest(facts, "api"), API_LIMIT)


@item("frontend-memory", "metrics", "Frontend < 128MB", "make check-resources")
def frontend_memory(facts: Facts) -> Finding:
    """Nginx's highest since the switch."""
    return below(highest(facts, "nginx"), FRONTEND_LIMIT)


def highest(facts: Facts, service: str) -> float:
    found = [each["value"] for each in asked(facts, "highest") if each["labels"].get("service") == service]
    if not found:
        raise Unknown("Prometheus has no such sample yet")
    return found[0]


def below(size: float, limit: int) -> Finding:
    return passed(size < limit, f"at most {mebibytes(size)} of {limit / MIB:.0f} MB since the switch")


@item("memory-alerts", "metrics", "Memory alerts: 0", "make check-health")
def memory_alerts(facts: Facts) -> Finding:
    """No alert about the stack's memory has fired since the switch."""
    fired = sorted({each["labels"].get("alertname", "?") for each in asked(facts, "memory_alerts")})
    return passed(not fired, f"{len(fired)} since the switch" + (f": {', '.join(fired)}" if fired else ""))


@item("zero-downtime", "metrics", "Zero-downtime deployment", "make test-switch")
def zero_downtime(facts: Facts) -> Finding:
    """No request to the API ended with 5xx from a minute before the switch to ten minutes after it."""
    if not facts["switched"]:
        raise Unknown("when the release was switched to is not known")
    total, failed = number(facts, "requests"), number(facts, "errors")
    if total < 1:
        raise Unknown("no request came around the switch")
    return passed(failed < 0.5, f"{failed:.0f} of {total:.0f} API requests around the switch ended with 5xx")


@item("monitoring-active", "metrics", "24/7 monitoring active", "make check-health")
def monitoring_active(facts: Facts) -> Finding:
    """The Memory Monitor was scraped all the time since the switch."""
    share = 100 * number(facts, "watched")
    seconds = facts["window"]
    return passed(share >= 99, f"the Memory Monitor was scraped in {share:.1f} % of the last {duration(seconds)}")


@item("rollback-ready", "metrics", "Instant rollback capability", "make releases")
def rollback_ready(facts: Facts) -> Finding:
    """An earlier release is kept."""
    if facts["releases"] is None:
        raise Unknown("the releases could not be listed")
    kept = [row for row in facts["releases"] if row["state"].startswith("kept")]
    if not kept and len([row for row in facts["releases"] if row["served_first"]]) <= 1:
        raise Unknown("there is no release before this one")
    return passed(bool(kept), f"{kept[0]['release']} is {kept[0]['state']}" if kept else "no earlier release is kept")


@item("automated-alerting", "metrics", "Automated alerting", "make check-health")
def automated_alerting(facts: Facts) -> Finding:
    """Alertmanager has somebody to tell."""
    told = facts["receivers"]
    if told is None:
        raise Unknown("Alertmanager does not say")
    if not told:
        return Finding(ASK, "no receiver is configured (alertmanager_slack, alertmanager_mail): who is told?")
    return Finding(PASS, f"Alertmanager tells {', '.join(told)}")


# -- answers and verdicts


def read_answers(text: str) -> t.Dict[str, bool]:
    """Answers of the form C(on-call=yes page-received=no). Raises ValueError for what is none."""
    names = {entry.name for entry in ITEMS}
    found = {}
    for word in filter(None, re.split(r"[\s,]+", text)):
        name, _sign, value = word.partition("=")
        if name not in names or value.lower() not in ("yes", "no"):
            raise ValueError(f"'{word}' is no answer. Write <item>=yes or <item>=no, of {', '.join(sorted(names))}.")
        found[name] = value.lower() == "yes"
    return found


def judge(entry: Item, facts: Facts, answers: t.Mapping[str, bool]) -> Finding:
    """An item's verdict. A person's answer counts where the facts leave it to a person, and nowhere else."""
    try:
        found = entry.judge(facts) if entry.judge else Finding(ASK, entry.means)
    except Unknown as reason:
        return Finding(NOT_KNOWN, str(reason))
    if found.verdict == ASK and entry.name in answers:
        return passed(answers[entry.name], f"answered: {'yes' if answers[entry.name] else 'no'}")
    return found


def evaluate(facts: Facts, answers: t.Mapping[str, bool], phase: str) -> t.List[Data]:
    """A row for each item of a phase: C(name), C(phases), C(title), C(verdict), C(evidence), C(command)."""
    rows = []
    for entry in ITEMS:
        phases = [name for name in entry.phases if name in CHOICES[phase]]
        if phases:
            verdict, evidence = judge(entry, facts, answers)
            row = {"name": entry.name, "phases": phases, "title": entry.title}
            rows.append({**row, "verdict": verdict, "evidence": evidence, "command": entry.command})
    return rows


def counts(rows: t.Iterable[Data]) -> t.Dict[str, int]:
    """Verdict -> number of items."""
    verdicts = [row["verdict"] for row in rows]
    return {verdict: verdicts.count(verdict) for verdict in LEVELS}


def lines(rows: t.Sequence[Data], paint: Paint = plain) -> t.List[str]:
    """The checklist as tables, a phase each, and its sum."""
    found: t.List[str] = []
    for phase, title in PHASES.items():
        cells = [
            [
                (row["verdict"], LEVELS[row["verdict"]]),
                (row["title"], ""),
                (printable(row["evidence"]), ""),
                (row["command"], ""),
            ]
            for row in rows
            if phase in row["phases"]
        ]
        if cells:
            found += [*table(["verdict", title, "evidence", "command"], cells, paint), ""]
    total = counts(rows)
    found.append(
        ", ".join(paint(f"{count} {verdict}", LEVELS[verdict]) for verdict, count in total.items() if count) + "."
    )
    return found
