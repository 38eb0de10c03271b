"""Is the cache worth its memory?"""

from __future__ import annotations

from .panels import GREEN, RED, YELLOW, Board, graph, memory_of, number, processor_of, query, up_of

RATE = "[$__rate_interval]"

BOARD = (
    Board("redis", "Redis", "Hits, evictions, memory and commands of the cache.", anchor="targetdown")
    .row("Now")
    .add(
        6,
        4,
        up_of("redis", "redis_up"),
        number(
            "Hits",
            "Part of the reads in the time range that found their key.",
            "percent",
            query(
                "100 * sum(increase(redis_keyspace_hits_total[$__range]))"
                " / (sum(increase(redis_keyspace_hits_total[$__range]))"
                " + sum(increase(redis_keyspace_misses_total[$__range])) > 0)",
                "",
                True,
            ),
            steps=[(None, RED), (50, YELLOW), (80, GREEN)],
            decimals=0,
        ),
        number(
            "Of maxmemory",
            "A full cache evicts, which is what it is for; its overhead comes on top.",
            "percent",
            query("100 * max(redis_memory_used_bytes) / (max(redis_memory_max_bytes) > 0)", "", True),
            decimals=0,
        ),
        number(
            "Keys",
            "In all databases.",
            "short",
            query("sum(redis_db_keys)", "", True),
        ),
    )
    .row("Cache")
    .add(
        8,
        8,
        graph(
            "Reads",
            "Per second.",
            "ops",
            query(f"sum(rate(redis_keyspace_hits_total{RATE}))", "hits"),
            query(f"sum(rate(redis_keyspace_misses_total{RATE}))", "misses"),
            stacked=True,
        ),
        graph(
            "Keys that went",
            "Per second. Evicted ones had to make room before they expired.",
            "ops",
            query(f"sum(rate(redis_evicted_keys_total{RATE}))", "evicted"),
            query(f"sum(rate(redis_expired_keys_total{RATE}))", "expired"),
        ),
        graph(
            "Commands",
            "Per second; the five most frequent.",
            "ops",
            query(f"topk(5, sum by (cmd) (rate(redis_commands_total{RATE})))", "{{cmd}}"),
        ),
        graph(
            "Time of a command",
            "Mean, inside Redis; the five slowest.",
            "s",
            query(
                f"topk(5, sum by (cmd) (rate(redis_commands_duration_seconds_total{RATE}))"
                f" / (sum by (cmd) (rate(redis_commands_total{RATE})) > 0))",
                "{{cmd}}",
            ),
        ),
        graph(
            "Clients",
            "Connections, and those that were refused in each step.",
            "short",
            query("sum(redis_connected_clients)", "connected"),
            query(f"sum(increase(redis_rejected_connections_total{RATE}))", "rejected"),
        ),
        graph(
            "Refused by its access list",
            "In each step: a wrong password, or a command or key that the user may not use.",
            "short",
            query(f"sum(increase(redis_acl_access_denied_auth_total{RATE}))", "password"),
            query(f"sum(increase(redis_acl_access_denied_cmd_total{RATE}))", "command"),
            query(f"sum(increase(redis_acl_access_denied_key_total{RATE}))", "key"),
            bars=True,
        ),
    )
    .row("Memory")
    .add(
        8,
        8,
        memory_of("redis"),
        graph(
            "As Redis counts it",
            "maxmemory bounds what is used. Resident memory is more, by fragmentation, and doubles during a save.",
            "bytes",
            query("max(redis_memory_used_bytes)", "used"),
            query("max(redis_memory_used_rss_bytes)", "resident"),
            query("max(redis_memory_max_bytes)", "maxmemory"),
            lines="^maxmemory$",
        ),
        processor_of("redis"),
        graph(
            "Fragmentation",
            "Resident by used memory. Below 1 it is swapped; at a few MB the ratio says little.",
            "none",
            query("max(redis_mem_fragmentation_ratio)", "ratio"),
        ),
        graph(
            "Saves",
            "Changes that a crash would lose, and what the last save copied (copy-on-write).",
            "short",
            query("max(redis_rdb_changes_since_last_save)", "changes"),
            query("max(redis_rdb_last_cow_size_bytes)", "copied bytes"),
        ),
        graph(
            "Last save",
            "1: it succeeded.",
            "short",
            query("min(redis_rdb_last_bgsave_status)", "succeeded"),
        ),
    )
)
