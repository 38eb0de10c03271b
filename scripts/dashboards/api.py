"""Is the API fast and right, and what holds it up?"""

from __future__ import annotations

from .panels import Board, graph, memory_of, processor_of, query

SERVED = '{job="api",route!~"/health/.*|/metrics"}'
RATE = "[$__rate_interval]"
COUNT = f"rate(http_request_duration_seconds_count{SERVED}{RATE})"
BUCKET = f"rate(http_request_duration_seconds_bucket{SERVED}{RATE})"

BOARD = (
    Board("api", "API", "Requests, the runtime and what the API depends on.", anchor="apierrorrate")
    .row("Requests")
    .add(
        8,
        8,
        graph(
            "By status",
            "Per second. 499 is a client that left before the answer.",
            "reqps",
            query(f"sum by (status) ({COUNT})", "{{status}}"),
            stacked=True,
        ),
        graph(
            "Latency",
            "Half, 95 % and 99 % of the requests are faster.",
            "s",
            *(
                query(f"histogram_quantile({quantile}, sum by (le) ({BUCKET}))", legend)
                for quantile, legend in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
        ),
        graph(
            "Mean latency by route",
            "The five slowest in each step.",
            "s",
            query(
                f"topk(5, sum by (method, route) (rate(http_request_duration_seconds_sum{SERVED}{RATE}))"
                f" / (sum by (method, route) ({COUNT}) > 0))",
                "{{method}} {{route}}",
            ),
        ),
    )
    .row("Runtime")
    .add(8, 8, memory_of("api"), processor_of("api"))
    .add(
        8,
        8,
        graph(
            "Heap",
            "Used by JavaScript, and outside of it (buffers).",
            "bytes",
            query("nodejs_heap_size_used_bytes", "used {{slot}}"),
            query("nodejs_heap_size_total_bytes", "reserved {{slot}}"),
            query("nodejs_external_memory_bytes", "external {{slot}}"),
        ),
        graph(
            "Event loop lag",
            "The longest in 99 % of the measurements: how long a request waits behind computation.",
            "s",
            query("nodejs_eventloop_lag_p99_seconds", "{{slot}}"),
        ),
        graph(
            "Time in garbage collection",
            "Seconds per second, by kind; explicit ones are started above the mark while idle.",
            "percentunit",
            query(f"sum by (kind) (rate(nodejs_gc_duration_seconds_sum{RATE}))", "{{kind}}"),
            query(f"sum(rate(explicit_gc_seconds_total{RATE}))", "explicit"),
            stacked=True,
        ),
        graph(
            "In flight",
            "Requests that are being answered, and open event streams.",
            "short",
            query("http_requests_in_flight", "requests {{slot}}"),
            query("streams_open", "streams {{slot}}"),
        ),
    )
    .row("What it depends on")
    .add(
        8,
        8,
        graph(
            "PostgreSQL pool",
            "Connections by state, the most there may be, and requests that wait for one.",
            "short",
            query("sum by (slot, state) (postgres_pool_connections)", "{{state}} {{slot}}"),
            query("sum by (slot) (postgres_pool_waiting_requests)", "waiting {{slot}}"),
            query("max(postgres_pool_size_max)", "most"),
            lines="^most$",
        ),
        graph(
            "Cache",
            "Reads per second by where they were answered. bypass: Redis is not in use.",
            "reqps",
            query(f"sum by (result) (rate(cache_requests_total{RATE}))", "{{result}}"),
            stacked=True,
        ),
        graph(
            "Reachable",
            "1 while it is in use, 0 while the API does without.",
            "short",
            query("min by (slot) (postgres_up)", "PostgreSQL {{slot}}"),
            query("min by (slot) (cache_up)", "Redis {{slot}}"),
            query("min by (slot) (stream_listener_up)", "changes of deals {{slot}}"),
        ),
    )
)
