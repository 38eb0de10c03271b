"""Which release serves, and is it any worse than the one before?"""

from __future__ import annotations

from .panels import GREEN, RED, YELLOW, Board, graph, number, query

# Probes and scrapes are not what users feel.
SERVED = '{job="api",route!~"/health/.*|/metrics"}'
# Which release is in a slot, from the program that runs there.
NAMED = "* on (slot) group_left (release) max by (slot, release) (release_info)"
RATE = "[$__rate_interval]"
FIVE_HUNDREDS = SERVED.replace("}", ',status=~"5.."}')


def by_release(expression: str, also: str = "") -> str:
    """A rate summed per slot, with the slot's release."""
    return f"sum by (slot{also}) ({expression}) {NAMED}"


BOARD = (
    Board(
        "release",
        "Release and switch",
        "The active release beside the one before; switches are marked.",
        hours=1,
        anchor="apilatencydegraded",
    )
    .row("Now")
    .add(
        6,
        4,
        number(
            "Serving",
            "The release that nginx routes to, as the Memory Monitor reads it from the link.",
            "short",
            query("release_active == 1", "{{release}} on {{slot}}", True),
            names=True,
        ),
        number(
            "Since the last switch",
            "Automatic rollback acts in the time after a switch.",
            "s",
            query("time() - release_switched_timestamp_seconds", "", True),
        ),
        number(
            "5xx",
            "Part of the requests of the last five minutes.",
            "percent",
            query(
                f"100 * (sum(rate(http_request_duration_seconds_count{FIVE_HUNDREDS}[5m])) or vector(0))"
                f" / (sum(rate(http_request_duration_seconds_count{SERVED}[5m])) > 0)",
                "",
                True,
            ),
            steps=[(None, GREEN), (1, YELLOW), (5, RED)],
            decimals=2,
        ),
        number(
            "Last dump",
            "Since the database was last dumped. A restore goes back to it.",
            "s",
            query("time() - backup_last_success_timestamp_seconds", "", True),
            steps=[(None, GREEN), (26 * 3600, RED)],
        ),
    )
    .row("Of each release")
    .add(
        12,
        8,
        graph(
            "Requests",
            "Per second, without probes. During a switch they move from one slot to the other.",
            "reqps",
            query(by_release(f"rate(http_request_duration_seconds_count{SERVED}{RATE})"), "{{slot}} {{release}}"),
        ),
        graph(
            "95th percentile of the latency",
            "A release that is more than 20 % slower than the hour before is rolled back.",
            "s",
            query(
                "histogram_quantile(0.95, "
                + by_release(f"rate(http_request_duration_seconds_bucket{SERVED}{RATE})", ", le")
                + ")",
                "{{slot}} {{release}}",
            ),
        ),
        graph(
            "Answers with 5xx",
            "Per second.",
            "reqps",
            query(
                by_release(f"rate(http_request_duration_seconds_count{FIVE_HUNDREDS}{RATE})"), "{{slot}} {{release}}"
            ),
        ),
        graph(
            "Clients that left",
            "Requests per second whose client closed the connection before the answer (499).",
            "reqps",
            query(
                by_release(
                    "rate(http_request_duration_seconds_count" + SERVED.replace("}", ',status="499"}') + f"{RATE})"
                ),
                "{{slot}} {{release}}",
            ),
        ),
        graph(
            "Memory of blue and green",
            "Unreclaimable, against the limit of one. More than 90 % for two minutes is rolled back.",
            "bytes",
            query(
                'max by (slot, release) (container_memory_unreclaimable_bytes{service="api"})', "{{slot}} {{release}}"
            ),
            query('memory_budget_alert_bytes{service="api"}', "alert"),
            query('memory_budget_limit_bytes{service="api"}', "limit"),
            lines="^(alert|limit)$",
        ),
        graph(
            "Slots that answer",
            "1: Prometheus reaches the API in this slot. Outside of a switch there is one.",
            "short",
            query('max by (slot) (up{job="api"})', "{{slot}}"),
            query("max by (slot) (release_active) * 0.5", "{{slot}} is routed"),
        ),
    )
)
