"""Does everything fit, what does not, and since when?"""

from __future__ import annotations

from .panels import (
    BUDGET,
    GOOD_WHEN_ZERO,
    GREEN,
    ORANGE,
    PERCENT_OF_LIMIT,
    RED,
    YELLOW,
    Board,
    graph,
    listing,
    number,
    query,
)

# Containers of the stack; the Memory Monitor also sees others on the host.
OURS = '{service!=""}'
PERCENT = f"100 * container_memory_unreclaimable_bytes{OURS} / (container_spec_memory_limit_bytes{OURS} > 0)"
OF_BUDGET = [(None, GREEN), (BUDGET["warning_percent"], YELLOW), (BUDGET["critical_percent"], RED)]

BOARD = (
    Board(
        "memory",
        "Memory overview",
        "The budget against what is in use: in all, per service, and where it is heading.",
        anchor="highmemoryusage",
    )
    .row("Now")
    .add(
        4,
        4,
        number(
            "Of the budget",
            "Unreclaimable memory of all containers, in percent of the total budget.",
            "percent",
            query("100 * sum(stack_memory_unreclaimable_bytes) / sum(memory_budget_total_bytes)", "", True),
            steps=OF_BUDGET,
            decimals=0,
        ),
        number(
            "Closest to its limit",
            "The service whose unreclaimable memory is the largest part of its limit.",
            "percent",
            query(f"topk(1, max by (service) ({PERCENT}))", "{{service}}", True),
            steps=PERCENT_OF_LIMIT,
            decimals=0,
        ),
        number(
            "Phase",
            "overlap while both colours of the API are up, which is when the budget is tightest.",
            "short",
            query("memory_budget_phase == 1", "{{phase}}", True),
            names=True,
        ),
        number(
            "OOM kills",
            "Of the stack's containers in the time range. One is too many.",
            "short",
            query("sum(increase(container_oom_events_total[$__range]))", "", True),
            steps=GOOD_WHEN_ZERO,
            decimals=0,
        ),
        number(
            "Restarts",
            "Of the stack's containers in the time range, deploys left out: they make new containers.",
            "short",
            query(f"sum(increase(container_restarts_total{OURS}[$__range]))", "", True),
            steps=GOOD_WHEN_ZERO,
            decimals=0,
        ),
        number(
            "Alerts",
            "That fire now. Alertmanager shows them and the runbook says what to do.",
            "short",
            query('count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)', "", True),
            steps=GOOD_WHEN_ZERO,
        ),
    )
    .row("Budget against use")
    .add(
        12,
        9,
        graph(
            "Unreclaimable memory in all",
            "What cannot be taken back when memory is scarce, per service, against the total budget and its alerts.",
            "bytes",
            query(f"sum by (service) (container_memory_unreclaimable_bytes{OURS})", "{{service}}"),
            query("memory_budget_total_alert_bytes", "alert"),
            query("memory_budget_total_critical_bytes", "critical"),
            query("memory_budget_total_bytes", "budget"),
            stacked=True,
            lines="^(alert|critical|budget)$",
        ),
        graph(
            "Part of the limit",
            "Unreclaimable memory of each container in percent of its limit, with the thresholds of the alerts.",
            "percent",
            query(f"max by (service, slot) ({PERCENT})", "{{service}} {{slot}}"),
            query("memory_budget_threshold_percent", "{{level}}"),
            lines="^(warning|container|critical)$",
        ),
    )
    .add(
        24,
        11,
        listing(
            "Services",
            "Of a service with two containers the larger value. Growth is a robust slope, and a leak is suspected when "
            "it is steady.",
            "service",
            {
                "Unreclaimable": (f"max by (service) (container_memory_unreclaimable_bytes{OURS})", "bytes"),
                "Usage": (f"max by (service) (container_memory_usage_bytes{OURS})", "bytes"),
                "Target": ("max by (service) (memory_budget_usage_target_bytes)", "bytes"),
                "Alert": ("max by (service) (memory_budget_alert_bytes)", "bytes"),
                "Limit": ("max by (service) (memory_budget_limit_bytes)", "bytes"),
                "Of the limit": (f"max by (service) ({PERCENT})", "percent"),
                "Growth per hour": (f"max by (service) (container_memory_growth_bytes_per_hour{OURS})", "bytes"),
                "Leak": (f"max by (service) (container_memory_leak_suspected{OURS})", "bool_yes_no"),
                "OOM kills": (f"sum by (service) (increase(container_oom_events_total{OURS}[$__range]))", "none"),
                "Restarts": (f"sum by (service) (increase(container_restarts_total{OURS}[$__range]))", "none"),
            },
            {
                "Of the limit": PERCENT_OF_LIMIT,
                "Leak": GOOD_WHEN_ZERO,
                "OOM kills": GOOD_WHEN_ZERO,
                "Restarts": [(None, GREEN), (1, ORANGE)],
            },
        ),
    )
    .row("Where it is heading")
    .add(
        8,
        8,
        graph(
            "Growth",
            "Bytes per hour, where the slope explains at least half of what was seen.",
            "bytes",
            query(
                f"max by (service, slot) (container_memory_growth_bytes_per_hour{OURS}"
                f" and container_memory_growth_confidence{OURS} >= 0.5)",
                "{{service}} {{slot}}",
            ),
            least=None,
        ),
        graph(
            "OOM kills and restarts",
            "In each step. A restart loop is one of the reasons to roll back.",
            "short",
            query(
                f"sum by (service) (increase(container_oom_events_total{OURS}[$__rate_interval])) > 0",
                "{{service}} killed",
            ),
            query(
                f"sum by (service) (increase(container_restarts_total{OURS}[$__rate_interval])) > 0",
                "{{service}} restarted",
            ),
            query("increase(host_oom_kills_total[$__rate_interval]) > 0", "host, all kills"),
            bars=True,
        ),
        graph(
            "Usage with page cache",
            "The documented alert reads this. A database's file cache fills it up to the limit and is taken back.",
            "bytes",
            query(f"sum by (service) (container_memory_usage_bytes{OURS})", "{{service}}"),
            stacked=True,
        ),
    )
    .row("Host")
    .add(
        8,
        8,
        graph(
            "Memory of the host",
            "Available is what can be had without swapping.",
            "bytes",
            query("host_memory_total_bytes", "total"),
            query("host_memory_available_bytes", "available"),
            query("host_swap_total_bytes - host_swap_free_bytes", "swap in use"),
            lines="^total$",
        ),
        graph(
            "Free disk space",
            "The engine's data, the stack's directory and the logs; they may be one filesystem.",
            "percent",
            query(
                "100 * host_filesystem_available_bytes / (host_filesystem_size_bytes > 0)",
                "{{filesystem}}",
            ),
        ),
        graph(
            "Targets",
            "1: Prometheus could read it. The standby's API is normally absent.",
            "short",
            query("min by (job, slot) (up)", "{{job}} {{slot}}"),
        ),
    )
)
