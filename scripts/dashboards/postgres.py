"""Does the database keep up, and is it backed up?"""

from __future__ import annotations

from .panels import GREEN, RED, YELLOW, Board, graph, memory_of, number, processor_of, query, up_of

RATE = "[$__rate_interval]"
# Not the templates, and not what belongs to none.
OURS = '{job="postgres",datname!~"template.*|postgres|"}'

BOARD = (
    Board("postgres", "PostgreSQL", "Connections, work, caches, growth and backups.", anchor="targetdown")
    .row("Now")
    .add(
        6,
        4,
        up_of("postgres", "pg_up"),
        number(
            "Connections",
            "Of all databases. The memory budget has the most there may be, max_connections.",
            "short",
            query('sum(pg_stat_database_numbackends{job="postgres"})', "", True),
        ),
        number(
            "Blocks from its own cache",
            "Read from shared_buffers in the time range; the rest came from the page cache or the disk.",
            "percent",
            query(
                f"100 * sum(increase(pg_stat_database_blks_hit{OURS}[$__range]))"
                f" / (sum(increase(pg_stat_database_blks_hit{OURS}[$__range]))"
                f" + sum(increase(pg_stat_database_blks_read{OURS}[$__range])) > 0)",
                "",
                True,
            ),
            steps=[(None, RED), (90, YELLOW), (98, GREEN)],
            decimals=1,
        ),
        number(
            "Last dump",
            "Since the last one that succeeded.",
            "s",
            query("time() - backup_last_success_timestamp_seconds", "", True),
            steps=[(None, GREEN), (26 * 3600, RED)],
        ),
    )
    .row("Work")
    .add(
        8,
        8,
        graph(
            "Transactions",
            "Per second.",
            "ops",
            query(f"sum(rate(pg_stat_database_xact_commit{OURS}{RATE}))", "committed"),
            query(f"sum(rate(pg_stat_database_xact_rollback{OURS}{RATE}))", "rolled back"),
        ),
        graph(
            "Rows",
            "Per second. Many returned for few fetched are scans of whole tables.",
            "ops",
            *(
                query(f"sum(rate(pg_stat_database_tup_{kind}{OURS}{RATE}))", kind)
                for kind in ("returned", "fetched", "inserted", "updated", "deleted")
            ),
        ),
        graph(
            "Connections by state",
            "Idle in transaction holds locks and keeps dead rows.",
            "short",
            query('sum by (state) (pg_stat_activity_count{job="postgres",state!=""})', "{{state}}"),
            stacked=True,
        ),
        graph(
            "Longest transaction",
            "Seconds that the oldest one has been open.",
            "s",
            query('max(pg_stat_activity_max_tx_duration{job="postgres"})', "oldest"),
        ),
        graph(
            "Locks and deadlocks",
            "Locks that are held, by mode; deadlocks in each step.",
            "short",
            query(f"sum by (mode) (pg_locks_count{OURS}) > 0", "{{mode}}"),
            query(f"sum(increase(pg_stat_database_deadlocks{OURS}{RATE}))", "deadlocks"),
        ),
        graph(
            "Temporary files",
            "Bytes per second of sorts and joins that did not fit into work_mem.",
            "Bps",
            query(f"sum(rate(pg_stat_database_temp_bytes{OURS}{RATE}))", "written"),
        ),
    )
    .row("Memory and disk")
    .add(8, 8, memory_of("postgres"), processor_of("postgres"))
    .add(
        8,
        8,
        graph(
            "Checkpoints",
            "Buffers per second that checkpoints wrote, and checkpoints that were asked for before their time.",
            "short",
            query(f"sum(rate(pg_stat_checkpointer_buffers_written_total{RATE}))", "buffers per second"),
            query(f"sum(increase(pg_stat_checkpointer_num_requested_total{RATE}))", "requested"),
        ),
        graph(
            "Size",
            "Of the database, of the write-ahead log and of the last dump.",
            "bytes",
            query(f"pg_database_size_bytes{OURS}", "{{datname}}"),
            query('sum(pg_wal_size_bytes{job="postgres"})', "write-ahead log"),
            query("backup_size_bytes", "last dump"),
        ),
        graph(
            "Dead rows",
            "Versions of rows that a vacuum has yet to remove; the five tables with the most.",
            "short",
            query('topk(5, sum by (relname) (pg_stat_user_tables_n_dead_tup{job="postgres"}))', "{{relname}}"),
        ),
        graph(
            "Scans of whole tables",
            "Rows per second read without an index; the five tables with the most.",
            "ops",
            query(
                f'topk(5, sum by (relname) (rate(pg_stat_user_tables_seq_tup_read{{job="postgres"}}{RATE})))',
                "{{relname}}",
            ),
        ),
    )
)
