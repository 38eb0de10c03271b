"""Does the front door take what comes?"""

from __future__ import annotations

from .panels import Board, graph, memory_of, number, processor_of, query, up_of

RATE = "[$__rate_interval]"

BOARD = (
    Board(
        "nginx",
        "nginx",
        "Connections and requests. Status and latency of each request are in the logs.",
        anchor="targetdown",
    )
    .row("Now")
    .add(
        6,
        4,
        up_of("nginx", "nginx_up"),
        number("Connections", "Open now.", "short", query("sum(nginx_connections_active)", "", True)),
        number(
            "Requests now",
            "Per second, over the last five minutes.",
            "reqps",
            query("sum(rate(nginx_http_requests_total[5m]))", "", True),
            decimals=1,
        ),
        number(
            "Certificate",
            "Until it expires; - without TLS here.",
            "s",
            query("certificate_not_after_timestamp_seconds - time()", "", True),
            steps=[(None, "red"), (7 * 86400, "orange"), (21 * 86400, "green")],
        ),
    )
    .row("Traffic")
    .add(
        8,
        8,
        graph(
            "Requests",
            "Per second, static files and the API.",
            "reqps",
            query(f"sum(rate(nginx_http_requests_total{RATE}))", "requests"),
        ),
        graph(
            "Connections by state",
            "Waiting ones are kept alive and cost little.",
            "short",
            query("sum(nginx_connections_reading)", "reading"),
            query("sum(nginx_connections_writing)", "writing"),
            query("sum(nginx_connections_waiting)", "waiting"),
            stacked=True,
        ),
        graph(
            "New connections",
            "Per second. Dropped ones were accepted and not handled: worker_connections is too small.",
            "cps",
            query(f"sum(rate(nginx_connections_accepted{RATE}))", "accepted"),
            query(
                f"sum(rate(nginx_connections_accepted{RATE})) - sum(rate(nginx_connections_handled{RATE}))",
                "dropped",
            ),
        ),
    )
    .row("Resources")
    .add(12, 8, memory_of("nginx"), processor_of("nginx"))
)
