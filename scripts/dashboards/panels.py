"""The few kinds of panel that the dashboards use, on the builders of grafana-foundation-sdk.

A panel is made without a place; Board lays out rows from left to right. Colours of thresholds come from the budget.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

import yaml
from grafana_foundation_sdk.builders import common, dashboard, logs, loki, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as values
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTED = ROOT / "roles/memory_budget/vars/main/documented.yml"
BUDGET = yaml.safe_load(DOCUMENTED.read_text(encoding="utf-8"))["__memory_budget_documented"]["thresholds"]
RUNBOOK = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["repository"] + "/blob/main/docs/runbook.md"

# Provisioned under these names by roles/grafana/templates/provisioning/datasources.
PROMETHEUS = values.DataSourceRef(type_val="prometheus", uid="prometheus")
LOKI = values.DataSourceRef(type_val="loki", uid="loki")

TAG = "sixty"
WIDTH = 24
# Points of a series in a panel, whatever the screen: over 24 hours a step of 5 minutes.
POINTS = 300
GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
PERCENT_OF_LIMIT = [
    (None, GREEN),
    (BUDGET["warning_percent"], YELLOW),
    (BUDGET["container_percent"], ORANGE),
    (BUDGET["critical_percent"], RED),
]
GOOD_WHEN_ZERO = [(None, GREEN), (1, RED)]
GOOD_WHEN_ONE = [(None, RED), (1, GREEN)]
PLAIN = [(None, "text")]
UP_OR_DOWN = {0: ("down", RED), 1: ("up", GREEN)}

Steps = Iterable[tuple[float | None, str]]
Target = prometheus.Dataquery | loki.Dataquery


def query(expression: str, legend: str = "", instant: bool = False) -> prometheus.Dataquery:
    """PromQL over the time range, or its value at the end of it."""
    target = prometheus.Dataquery().datasource(PROMETHEUS).expr(expression).legend_format(legend)
    return target.instant() if instant else target.range()


def column(expression: str) -> prometheus.Dataquery:
    """PromQL as a column of a table."""
    return query(expression, instant=True).format(PromQueryFormat.TABLE)


def log_query(expression: str, legend: str = "") -> loki.Dataquery:
    """LogQL over the time range."""
    return loki.Dataquery().datasource(LOKI).expr(expression).legend_format(legend).query_type("range")


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Colours from each value on."""
    made = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def mappings(texts: dict[int, tuple[str, str]]) -> list[Any]:
    """Numbers as coloured words."""
    options = {
        str(number): models.ValueMappingResult(text=text, color=color, index=index)
        for index, (number, (text, color)) in enumerate(texts.items())
    }
    return [models.ValueMap(options=options)]


def targets(panel: Any, made: Iterable[Target]) -> Any:
    """A panel with its queries, named A, B and so on."""
    for index, target in enumerate(made):
        panel.with_target(target.ref_id(chr(ord("A") + index)))
    return panel


def base(panel: Any, title: str, description: str, unit: str, made: Iterable[Target]) -> Any:
    """What all panels with values have."""
    listed = list(made)
    source = LOKI if isinstance(listed[0], loki.Dataquery) else PROMETHEUS
    panel.title(title).description(description).datasource(source).unit(unit).max_data_points(POINTS)
    return targets(panel, listed)


def graph(
    title: str,
    description: str,
    unit: str,
    *made: Target,
    stacked: bool = False,
    bars: bool = False,
    lines: str = "",
    least: float | None = 0,
) -> timeseries.Panel:
    """Lines over time.

    Args:
        stacked: Areas on top of each other.
        bars: For counts in each step.
        lines: Pattern of the series that are limits: dashed, in red shades, never stacked.
        least: Where the axis begins; None is where the values begin.
    """
    panel = base(timeseries.Panel(), title, description, unit, made)
    panel.line_width(1).fill_opacity(25 if stacked else 60 if bars else 5).show_points(values.VisibilityMode.NEVER)
    panel.draw_style(values.GraphDrawStyle.BARS if bars else values.GraphDrawStyle.LINE)
    panel.stacking(
        common.StackingConfig().mode(values.StackingMode.NORMAL if stacked or bars else values.StackingMode.NONE)
    )
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(values.LegendDisplayMode.LIST)
        .placement(values.LegendPlacement.BOTTOM)
    )
    panel.tooltip(common.VizTooltipOptions().mode(values.TooltipDisplayMode.MULTI).sort(values.SortOrder.DESCENDING))
    if least is not None:
        panel.min(least)
    if lines:
        properties = {
            "color": {"mode": "fixed", "fixedColor": RED},
            "custom.lineStyle": {"fill": "dash", "dash": [6, 6]},
            "custom.fillOpacity": 0,
            "custom.stacking": {"mode": "none"},
        }
        panel.override_by_regexp(
            f"/{lines}/", [models.DynamicConfigValue(id_val=key, value=value) for key, value in properties.items()]
        )
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    *made: Target,
    steps: Steps = PLAIN,
    texts: dict[int, tuple[str, str]] | None = None,
    names: bool = False,
    decimals: int | None = None,
) -> stat.Panel:
    """One value, large; with names, what the legend says in its place."""
    panel = base(stat.Panel(), title, description, unit, made).thresholds(thresholds(steps))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.graph_mode(values.BigValueGraphMode.NONE).color_mode(values.BigValueColorMode.VALUE)
    panel.text_mode(values.BigValueTextMode.NAME if names else values.BigValueTextMode.AUTO)
    panel.no_value("-")
    if texts:
        panel.mappings(mappings(texts))
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def listing(
    title: str, description: str, key: str, columns: dict[str, tuple[str, str]], coloured: dict[str, Steps]
) -> table.Panel:
    """A row for each value of the label key.

    Args:
        columns: Title to PromQL, an instant vector with that label alone, and the unit.
        coloured: Title of a column to the steps that colour its text.
    """
    panel = base(table.Panel(), title, description, "short", [column(found) for found, _unit in columns.values()])
    letters = [chr(ord("A") + index) for index in range(len(columns))]
    panel.with_transformation(
        models.DataTransformerConfig(id_val="joinByField", options={"byField": key, "mode": "outer"})
    )
    names = {f"Value #{letter}": name for letter, name in zip(letters, columns, strict=True)}
    times = ["Time", *(f"Time {index + 1}" for index in range(len(columns)))]
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": dict.fromkeys(times, True), "renameByName": {**names, key: key.capitalize()}},
        )
    )
    for name, (_expression, unit) in columns.items():
        properties = [models.DynamicConfigValue(id_val="unit", value=unit)]
        if name in coloured:
            steps = {"mode": "absolute", "steps": [{"value": at, "color": color} for at, color in coloured[name]]}
            properties += [
                models.DynamicConfigValue(id_val="thresholds", value=steps),
                models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
            ]
        panel.override_by_name(name, properties)
    return panel


def lines_of_log(title: str, description: str, expression: str) -> logs.Panel:
    """Log lines, the newest first."""
    panel = logs.Panel().title(title).description(description).datasource(LOKI)
    panel.show_time(True).show_labels(False).wrap_log_message(True).enable_log_details(True)
    panel.sort_order(values.LogsSortOrder.DESCENDING).dedup_strategy(values.LogsDedupStrategy.NONE)
    return targets(panel, [log_query(expression).max_lines(200)])


def label_of_logs(name: str, label: str, everything: str) -> dashboard.QueryVariable:
    """Values of a label in Loki to choose from, at first all of them: everything is the pattern of "All"."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(LOKI)
        .query({"type": 1, "label": name, "stream": "", "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(everything)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


SWITCHES = (
    dashboard.AnnotationQuery()
    .name("Switches")
    .datasource(PROMETHEUS)
    .enable(True)
    .icon_color("purple")
    .expr("release_active * on (job, instance) group_left () (release_switched_timestamp_seconds * 1000)")
    .step("60s")
    .use_value_for_time(True)
    .title_format("{{release}} on {{slot}}")
    .text_format("The active release was switched")
)


class Board:
    """A dashboard that is filled row by row.

    Args:
        uid: Also the name of its file.
        variables: In the order in which they are shown.
        anchor: Section of the runbook to which its link leads.
    """

    def __init__(
        self,
        uid: str,
        title: str,
        description: str,
        *,
        variables: Iterable[dashboard.QueryVariable | dashboard.TextBoxVariable] = (),
        hours: int = 3,
        anchor: str = "",
    ) -> None:
        self.uid = uid
        self.made = (
            dashboard.Dashboard(title)
            .uid(uid)
            .description(description)
            .tags([TAG])
            .refresh("30s")
            .time(f"now-{hours}h", "now")
            .timezone("browser")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .readonly()
            .annotation(SWITCHES)
            .link(
                dashboard.DashboardLink("Dashboards")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(True)
                .include_vars(True)
                .keep_time(True)
            )
            .link(
                dashboard.DashboardLink("Runbook")
                .type(models.DashboardLinkType.LINK)
                .icon("doc")
                .tooltip("What to do about an alert")
                .url(RUNBOOK + (f"#{anchor}" if anchor else ""))
                .target_blank(True)
            )
        )
        for variable in variables:
            self.made.with_variable(variable)
        self.count = self.x = self.y = self.height = 0

    def _next(self) -> int:
        self.count += 1
        return self.count

    def row(self, title: str) -> Board:
        """A title across the dashboard; what follows is below it."""
        self.x, self.y = 0, self.y + self.height
        place = models.GridPos(x=0, y=self.y, w=WIDTH, h=1)
        self.made.with_row(dashboard.Row(title).id(self._next()).grid_pos(place))
        self.y, self.height = self.y + 1, 0
        return self

    def add(self, width: int, height: int, *panels: Any) -> Board:
        """Panels of the same size beside each other; a line that is full is followed by the next."""
        for panel in panels:
            if self.x + width > WIDTH:
                self.x, self.y, self.height = 0, self.y + self.height, 0
            place = models.GridPos(x=self.x, y=self.y, w=width, h=height)
            self.made.with_panel(panel.id(self._next()).grid_pos(place))
            self.x, self.height = self.x + width, max(self.height, height)
        return self


def memory_of(service: str) -> timeseries.Panel:
    """A service's memory against its budget."""
    selector = f'{{service="{service}"}}'
    return graph(
        "Memory against the budget",
        "Unreclaimable memory is what counts against the limit when it is scarce: without the file cache. The limit "
        "kills; the target is where it should stay.",
        "bytes",
        query(f"max by (slot) (container_memory_usage_bytes{selector})", "usage {{slot}}"),
        query(f"max by (slot) (container_memory_unreclaimable_bytes{selector})", "unreclaimable {{slot}}"),
        query(f'memory_budget_usage_target_bytes{{service="{service}"}}', "target"),
        query(f'memory_budget_alert_bytes{{service="{service}"}}', "alert"),
        query(f'memory_budget_limit_bytes{{service="{service}"}}', "limit"),
        lines="^(target|alert|limit)$",
    )


def processor_of(service: str) -> timeseries.Panel:
    """A service's CPU against its limit, and how much of the time it was held back."""
    selector = f'{{service="{service}"}}'
    return graph(
        "CPU",
        "Cores in use, against the quota. Throttled is the share of periods in which it was held back.",
        "short",
        query(f"max by (slot) (rate(container_cpu_usage_seconds_total{selector}[$__rate_interval]))", "cores {{slot}}"),
        query(
            f"max by (slot) (rate(container_cpu_cfs_throttled_periods_total{selector}[$__rate_interval])"
            f" / (rate(container_cpu_cfs_periods_total{selector}[$__rate_interval]) > 0))",
            "throttled {{slot}}",
        ),
        query(
            f"max by (service) (container_spec_cpu_quota{selector} / container_spec_cpu_period{selector})",
            "quota",
        ),
        lines="^quota$",
    )


def up_of(job: str, metric: str) -> stat.Panel:
    """Whether an exporter answers, and whether what it reads answers."""
    return number(
        "Up",
        "down: the exporter cannot reach it. -: the exporter itself does not answer.",
        "short",
        query(f'max({metric}{{job="{job}"}})', "", instant=True),
        steps=GOOD_WHEN_ONE,
        texts=UP_OR_DOWN,
    )
