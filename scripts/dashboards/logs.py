"""What was said, by whom, and how bad is it?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import TextBoxVariable

from .panels import Board, graph, label_of_logs, lines_of_log, log_query

# Fluent Bit's labels. The API's own lines carry no slot, and lines that are no JSON no release.
CHOSEN = '{service=~"$service",slot=~"$slot",release=~"$release",level=~"$level"}'
REQUESTS = '{service="nginx",slot=~"$slot",release=~"$release"} | json'
STEP = "[$__auto]"

BOARD = (
    Board(
        "logs",
        "Logs",
        "The access log of nginx and the log of the API, by service, slot, release and level.",
        variables=(
            # Loki wants one label of a selector to match something.
            label_of_logs("service", "Service", ".+"),
            label_of_logs("slot", "Slot", ".*"),
            label_of_logs("release", "Release", ".*"),
            label_of_logs("level", "Level", ".*"),
            TextBoxVariable("search").label("Contains").default_value(""),
        ),
        hours=1,
        anchor="apierrorrate",
    )
    .row("How much")
    .add(
        12,
        7,
        graph(
            "Lines by level",
            "Of the chosen services. nginx: 5xx is error, 4xx is warn.",
            "short",
            log_query(f"sum by (level) (count_over_time({CHOSEN} |= `$search` {STEP}))", "{{level}}"),
            bars=True,
        ),
        graph(
            "Lines by service and release",
            "A release that suddenly talks more is worth a look.",
            "short",
            log_query(f"sum by (service, release) (count_over_time({CHOSEN} {STEP}))", "{{service}} {{release}}"),
            bars=True,
        ),
    )
    .row("Requests, as nginx saw them")
    .add(
        8,
        8,
        graph(
            "By status",
            "Requests in each step.",
            "short",
            log_query(f"sum by (status) (count_over_time({REQUESTS} | status >= 100 {STEP}))", "{{status}}"),
            bars=True,
        ),
        graph(
            "5xx by release",
            "Requests in each step that nginx answered with 5xx, by the release that it asked.",
            "short",
            log_query(
                f"sum by (slot, release) (count_over_time({REQUESTS} | status >= 500 {STEP}))", "{{slot}} {{release}}"
            ),
            bars=True,
        ),
        graph(
            "95th percentile by release",
            "From the first byte of the request to the last of the answer, static files too.",
            "s",
            log_query(
                f'quantile_over_time(0.95, {REQUESTS} | uri !~ "/api/stream.*" | unwrap request_time'
                f' | __error__="" {STEP}) by (release)',
                "{{release}}",
            ),
        ),
    )
    .row("Lines")
    .add(
        24,
        9,
        lines_of_log(
            "Errors",
            "Level error and fatal of the chosen services.",
            '{service=~"$service",slot=~"$slot",release=~"$release",level=~"error|fatal"} |= `$search`',
        ),
        lines_of_log("All", "Of the chosen services and levels.", f"{CHOSEN} |= `$search`"),
    )
)
