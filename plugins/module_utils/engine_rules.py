# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each program needs besides its own caps: one small pure function per program.

A rule takes a service of the budget and yields findings. Each names its source; "measured" means on Debian 12,
Docker Engine 20.10, real memory limits and no swap. A setting that could not be read is a finding of its own, so a
rule is silent about it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.budget_schema import (
    ERROR,
    WARNING,
    Finding,
    Service,
)
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import KIB, MIB, exact, human

Findings = t.Iterator[Finding]
Rule = t.Callable[[Service], Findings]

REDIS_FRAGMENTATION = 1.29
REDIS_POLICIES = (
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)
NODE_OLD_SPACE_SHARE = 0.75
POSTGRES_SHARE = 0.9
POSTGRES_CONNECTION = 10 * MIB
NGINX_IDLE_CONNECTION = int(0.4 * KIB)
NGINX_PROXIED_REQUEST = 36 * KIB
GO_SHARE = 0.9
PROMETHEUS_SERIES = 5 * KIB
PROMETHEUS_SAMPLE = 512
GRAFANA_FLOOR = 200 * MIB
LOKI_CACHES = 6
LOKI_HEAD_BLOCKS = 2
LOKI_MESSAGE_COPIES = 3
FLUENT_BIT_IDLE = 5 * MIB
FLUENT_BIT_BUFFER_FACTOR = 4.6


def _find(severity: str, service: Service, rule: str, message: str, arithmetic: str, mend: str) -> Finding:
    return Finding(rule, severity, service.name, message, arithmetic, mend)


def _cap(
    service: Service, engine: str, setting: str, at_limit: str, mend: str, hint: str = "", key: str = ""
) -> Findings:
    """The cap a program sets itself: above the container's limit is an error, equal to it a warning (with a hint)."""
    cap, limit = service.settings.get(setting), service.limit
    key = key or setting.replace("_", "-")
    if cap is None or limit is None:
        return
    if cap > limit:
        yield _find(
            ERROR,
            service,
            f"{engine}/{key}-above-limit",
            f"{setting} is above the container's limit: the kernel kills the process before it reaches its own cap.",
            f"{human(cap)} > {human(limit)}, {human(cap - limit)} too much",
            mend,
        )
    elif cap == limit:
        yield _find(
            WARNING,
            service,
            f"{engine}/{key}-at-limit",
            at_limit,
            f"{human(cap)} = {human(limit)}, nothing left",
            f"{mend}{hint}",
        )


def redis(service: Service) -> Findings:
    """Redis as a cache: fragmentation and the copy-on-write of a save come on top of maxmemory.

    Neither counts in maxmemory (redis src/evict.c); a save may need twice the memory (redis/docs admin.md).
    Measured in 64 MB: with maxmemory 64mb OOM-killed after 1.4 s of writes to a full cache; without a save, 48mb gave
    59.2 MB and 40mb 51.0 MB of RSS (factor 1.24 to 1.29); with saves and saturating writes even 32mb was OOM-killed.
    """
    maxmemory, limit, save = (service.settings.get("maxmemory"), service.limit, service.settings.get("save"))
    fits = int((limit or 0) / REDIS_FRAGMENTATION) // MIB
    mend = f"maxmemory of {fits}M at most, without saves."
    yield from _cap(
        service,
        "redis",
        "maxmemory",
        "A full cache takes all of the container's memory and is OOM-killed.",
        mend,
        hint=" memory_budget_profile: hardened has a measured pair.",
    )
    if maxmemory is not None and limit is not None:
        full = int(maxmemory * REDIS_FRAGMENTATION)
        sum_full = f"{human(maxmemory)} x {REDIS_FRAGMENTATION} = {human(full)}"
        if maxmemory < limit < full:
            yield _find(
                WARNING,
                service,
                "redis/fragmentation",
                "A full cache with usual fragmentation does not fit into the container.",
                f"{sum_full} > {human(limit)}",
                mend,
            )
        if save and 2 * full > limit:
            yield _find(
                WARNING,
                service,
                "redis/save-copy-on-write",
                "A save forks, and under writes the copy can double the memory of a full cache.",
                f"2 x {human(maxmemory)} x {REDIS_FRAGMENTATION} = {human(2 * full)} > {human(limit)}",
                'save: "" for a cache that may start empty, or maxmemory of '
                f"{int(limit / 2 / REDIS_FRAGMENTATION) // MIB}M at most.",
            )
        if service.alert is not None and full > service.alert:
            yield _find(
                WARNING,
                service,
                "redis/full-cache-alerts",
                "The alert fires for ever as soon as the cache is full, which is the normal state of a cache.",
                f"{sum_full} > alert at {human(service.alert)}",
                f"maxmemory of {int(service.alert / REDIS_FRAGMENTATION) // MIB}M at most, or more limit and alert.",
            )
    policy = service.settings.get("maxmemory_policy")
    if policy is not None and policy not in REDIS_POLICIES:
        yield _find(
            ERROR,
            service,
            "redis/maxmemory-policy",
            f"maxmemory_policy {policy!r} is unknown, and Redis would not start.",
            "",
            f"One of {', '.join(REDIS_POLICIES)}.",
        )
    clients = service.settings.get("maxmemory_clients")
    if clients is not None and not re.fullmatch(r"[0-9]{1,2}%|0|[0-9]+[kmg]b", clients, re.IGNORECASE):
        yield _find(
            ERROR,
            service,
            "redis/maxmemory-clients",
            f"maxmemory_clients {clients!r} is neither a share nor a size, and Redis would not start.",
            "",
            "A share of maxmemory such as 5%, or a size such as 4mb.",
        )
    if save and not re.fullmatch(r"[1-9][0-9]* [1-9][0-9]*( [1-9][0-9]* [1-9][0-9]*)*", save):
        yield _find(
            ERROR,
            service,
            "redis/save",
            f"save {save!r} is no list of pairs, and Redis would not start.",
            "",
            'Pairs of seconds and changes, such as "900 1 300 10", or "" for no saves.',
        )


def node(service: Service) -> Findings:
    """Node.js: --max-old-space-size covers the old generation only.

    Buffers, the young generation, code and stacks come on top; nodejs/node doc/api/cli.md advises 1.5 GB of 2 GB
    (75 %); nodejs/node#24225. At the limit the kernel kills (137) before V8's own heap error can say why.
    """
    limit, old_space = service.limit, service.settings.get("max_old_space_size")
    if limit is None or old_space is None:
        return
    most = int(limit * NODE_OLD_SPACE_SHARE)
    mend = f"max_old_space_size of {most // MIB}M at most, 75 % of the limit."
    yield from _cap(
        service,
        "node",
        "max_old_space_size",
        "The heap alone may fill the container: the kernel kills it before V8 can report a full heap.",
        mend,
        hint=" memory_budget_profile: hardened has less.",
        key="old-space",
    )
    if most < old_space < limit:
        yield _find(
            WARNING,
            service,
            "node/old-space-headroom",
            "Too little is left for what lives beside the old generation: buffers, young generation, code.",
            f"{human(old_space)} > {NODE_OLD_SPACE_SHARE:.0%} of {human(limit)} = {human(most)}",
            mend,
        )
    mark = service.settings.get("gc_heap_mark")
    if mark is not None and mark >= old_space:
        yield _find(
            WARNING,
            service,
            "node/gc-mark-never-reached",
            "The explicit collection never runs: V8 gives up before the heap passes its mark.",
            f"mark {human(mark)} >= old generation {human(old_space)}",
            f"gc_heap_mark of {int(old_space * 0.75) // MIB}M or so.",
        )


def postgresql(service: Service) -> Findings:
    """PostgreSQL: what all processes may take together should stay within 90 % of the limit.

    1.1 x shared_buffers (with the tables beside it) + autovacuum workers x their memory + shared memory of parallel
    workers + connections x (10 MB + work_mem x 2 for hash_mem_multiplier x 2 nodes of a plan). Shared memory of
    parallel workers lives in /dev/shm, 64 MB by default, and must hold maintenance_work_mem
    (docker-library/postgres#416). PostgreSQL documentation, 19.4 "Resource Consumption".
    """
    s, limit = service.settings, service.limit
    names = ("shared_buffers", "autovacuum_max_workers", "autovacuum_work_mem", "max_connections", "work_mem")
    if limit is None or any(s.get(name) is None for name in names):
        return
    shared, vacuum = int(1.1 * s["shared_buffers"]), s["autovacuum_max_workers"] * s["autovacuum_work_mem"]
    parallel = s.get("max_parallel_workers") or s.get("max_parallel_maintenance_workers") or 0
    shm = (service.shm_size or 64 * MIB) if parallel else 0
    each = POSTGRES_CONNECTION + 4 * s["work_mem"]
    needed, most = shared + vacuum + shm + s["max_connections"] * each, int(limit * POSTGRES_SHARE)
    fixed = f"1.1 x {human(s['shared_buffers'])} + {s['autovacuum_max_workers']} x {human(s['autovacuum_work_mem'])}"
    if shared + vacuum > limit:
        yield _find(
            ERROR,
            service,
            "postgres/shared-buffers-above-limit",
            "shared_buffers and autovacuum alone do not fit into the container.",
            f"{fixed} = {human(shared + vacuum)} > {human(limit)}",
            "shared_buffers of a quarter of the limit or less.",
        )
    elif needed > most:
        room = max(0, (most - shared - vacuum - shm) // each)
        yield _find(
            WARNING,
            service,
            "postgres/memory-at-peak",
            "With all connections at work PostgreSQL may need more than 90 % of its container.",
            f"{fixed} + {human(shm)} shared + {s['max_connections']} x (10 MB + 4 x {human(s['work_mem'])}) = "
            f"{human(needed)} > 90 % of {human(limit)} = {human(most)}",
            f"max_connections of {room}, or less work_mem.",
        )
    cache = s.get("effective_cache_size")
    if cache is not None and cache > limit:
        yield _find(
            WARNING,
            service,
            "postgres/effective-cache-above-limit",
            "The planner counts on a file cache that the container cannot hold.",
            f"{human(cache)} > {human(limit)}",
            f"effective_cache_size of half the limit, {human(limit // 2)}.",
        )
    maintenance = s.get("maintenance_work_mem")
    if parallel and maintenance is not None and shm <= maintenance:
        yield _find(
            WARNING,
            service,
            "postgres/shm-size",
            "A parallel index build needs maintenance_work_mem in /dev/shm and fails there.",
            f"shm_size {human(shm)} <= maintenance_work_mem {human(maintenance)}",
            "A larger shm_size, or no parallel workers.",
        )


def nginx(service: Service) -> Findings:
    """nginx: a connection is about 0.4 KB when idle; a proxied request holds two and up to 36 KB of buffers.

    8 proxy buffers and one header buffer of 4 KB each (ngx_http_proxy_module, defaults); "auto" counts the host's
    CPUs and ignores the container's quota (nginxinc/docker-nginx#31), hence a whole number of workers.
    """
    workers, connections = (service.settings.get(name) for name in ("worker_processes", "worker_connections"))
    if service.limit is None or workers is None or connections is None:
        return
    tmpfs = sum(service.tmpfs.values())
    needed = workers * (connections * NGINX_IDLE_CONNECTION + connections // 2 * NGINX_PROXIED_REQUEST) + tmpfs
    if needed > service.limit:
        yield _find(
            WARNING,
            service,
            "nginx/connections-at-peak",
            "With all connections proxying and a full tmpfs, nginx does not fit into its container.",
            f"{workers} workers x ({connections} x 0.4 KB + {connections // 2} x 36 KB) + {human(tmpfs)} tmpfs = "
            f"{human(needed)} > {human(service.limit)}",
            "Fewer worker_connections, fewer workers or a smaller tmpfs.",
        )


def go(service: Service) -> Findings:
    """Programs in Go: GOMEMLIMIT leaves room for what the runtime does not manage.

    "A good rule of thumb is to leave an additional 5-10% of headroom" (go.dev/doc/gc-guide).
    """
    cap, limit = service.settings.get("gomemlimit"), service.limit
    if cap is None or limit is None:
        return
    most = int(limit * GO_SHARE)
    mend = f"gomemlimit of {exact(int(limit * 0.8) // MIB * MIB)}, 80 % of the limit."
    yield from _cap(
        service, "go", "gomemlimit", "The collector only starts to save memory when there is none left.", mend
    )
    if most < cap < limit:
        yield _find(
            WARNING,
            service,
            "go/gomemlimit-headroom",
            "Too little is left for what the Go runtime does not manage.",
            f"{human(cap)} > {GO_SHARE:.0%} of {human(limit)} = {human(most)}",
            mend,
        )


def prometheus(service: Service) -> Findings:
    """Prometheus: about 5 KB per series in the head, the program included, and 512 bytes per sample of a query.

    A sample is 16 bytes (promql's FPoint), and much more as part of an answer with its labels, for which no flag is a
    bound. Measured (2.53, 128 MB, 9,900 series, 16 clients that ask for everything): 50 MB without queries; with
    --query.max-samples 100,000 and --query.max-concurrency 1 at most 106 MB, with 2 at most 127 MB and killed in one
    run of three. The defaults are 50,000,000 and 20; sample_limit bounds the series of a scrape.
    """
    yield from go(service)
    s, limit = service.settings, service.limit
    if limit is None or any(s.get(n) is None for n in ("series_max", "query_max_samples", "query_max_concurrency")):
        return
    head = s["series_max"] * PROMETHEUS_SERIES
    queries = s["query_max_samples"] * PROMETHEUS_SAMPLE * s["query_max_concurrency"]
    if head + queries > limit:
        yield _find(
            ERROR,
            service,
            "prometheus/queries-above-limit",
            "The series and the largest queries that are allowed do not fit into the container.",
            f"{s['series_max']:,} series x 5 KB + {s['query_max_concurrency']} x {s['query_max_samples']:,} samples x "
            f"{PROMETHEUS_SAMPLE} B = {human(head + queries)} > {human(limit)}",
            "Smaller query_max_samples, query_max_concurrency or series_max.",
        )


def grafana(service: Service) -> Findings:
    """Grafana: no current version is known to live in 128 MB.

    100 Mi fails and 200 Mi works for 9 and later (mesosphere/kommander-applications#2142); about 124 Mi live and
    OOM-killed at 128 Mi (siutsin/otaru#2547); 12.4.3 idles at 180 Mi, 13.0.1 at 330 Mi (grafana/grafana#123017).
    """
    yield from go(service)
    if service.limit is not None and service.limit < GRAFANA_FLOOR:
        yield _find(
            WARNING,
            service,
            "grafana/below-floor",
            "Grafana 9 and later are known to be OOM-killed at 128 MB and to work from 200 MB.",
            f"{human(service.limit)} < {human(GRAFANA_FLOOR)}, {human(GRAFANA_FLOOR - service.limit)} short",
            f"limit: {exact(GRAFANA_FLOOR)}; memory_budget_profile: hardened has it and pays for it elsewhere.",
        )


def loki(service: Service) -> Findings:
    """Loki: what its parts may hold, each by its own cap; on top comes what the program is.

    - Six caches of results of 100 MB each switch themselves on (pkg/loki/config_wrapper.go; the seventh, of chunks,
      the role switches off).
    - A stream holds a compressed chunk up to ingester.chunk_target_size and the lines of a block that is not compressed
      yet, which take twice their size as nodes of a tree (pkg/chunkenc/unordered.go).
    - A part of a query holds storage_config.max_chunk_batch_size chunks, each with an unpacked block
      (pkg/storage/batch.go), and a result up to a gRPC message, at the querier, the front end and as JSON.
    - A message that comes in is there as it came, decoded, and as it goes to the ingester.
    - The replay of the write-ahead log may hold ingester.wal.replay_memory_ceiling of lines (4 GB by default;
      pkg/ingester/replay_controller.go), in the same tree, before anything else runs.

    GOMEMLIMIT is not automatic (grafana/loki#23514), and above it the collector only collects.
    """
    yield from go(service)
    s, limit = service.settings, service.limit
    names = ("embedded_cache_size", "streams_max", "chunk_target_size", "chunk_block_size", "query_concurrency")
    if limit is None or any(s.get(n) is None for n in (*names, "query_chunks", "message_size")):
        return
    block, message, copies = s["chunk_block_size"], s["message_size"], LOKI_MESSAGE_COPIES
    stream = s["chunk_target_size"] + LOKI_HEAD_BLOCKS * block
    query = s["query_chunks"] * (s["chunk_target_size"] + block) + copies * message
    caches = LOKI_CACHES * s["embedded_cache_size"]
    needed = caches + s["streams_max"] * stream + s["query_concurrency"] * query + copies * message
    arithmetic = (
        f"{LOKI_CACHES} x {human(s['embedded_cache_size'])} caches + {s['streams_max']} streams x {human(stream)} + "
        f"{s['query_concurrency']} queries x {human(query)} + {copies} x {human(message)} coming in = {human(needed)}"
    )
    mend = "Smaller caches, fewer streams, fewer or smaller chunks of a query, or a smaller message_size."
    goal = s.get("gomemlimit")
    if needed > limit:
        yield _find(
            ERROR,
            service,
            "loki/memory-above-limit",
            "What Loki may hold at its own caps does not fit into the container.",
            f"{arithmetic} > {human(limit)}",
            mend,
        )
    elif goal is not None and needed > goal:
        yield _find(
            WARNING,
            service,
            "loki/memory-above-gomemlimit",
            "At its own caps Loki holds more than gomemlimit, and spends its time on collecting garbage.",
            f"{arithmetic} > gomemlimit {human(goal)}",
            mend,
        )
    replay = s.get("wal_replay_memory_ceiling")
    if replay is not None and LOKI_HEAD_BLOCKS * replay > limit:
        yield _find(
            ERROR,
            service,
            "loki/replay-above-limit",
            "After a crash the replay of the write-ahead log does not fit, and Loki is killed at each start.",
            f"{LOKI_HEAD_BLOCKS} x {human(replay)} = {human(LOKI_HEAD_BLOCKS * replay)} > {human(limit)}",
            f"wal_replay_memory_ceiling of {limit // 4 // MIB}M, a quarter of the limit.",
        )


def fluent_bit(service: Service) -> Findings:
    """Fluent Bit: 4.6 times the buffers of its inputs, and 5 MB.

    Measured with 5.1.1 in 32 MB, built with the plugins in use alone, two inputs, Loki away and then back: idle
    4.2 MB, held 13.3 MB at a mem_buf_limit of 2M and 22.4 MB at 4M. The manual ("Memory management", "Estimating")
    has 3 x 1.2 = 3.6 times.
    """
    buffers = service.settings.get("mem_buf_limit")
    if service.limit is None or buffers is None:
        return
    needed = FLUENT_BIT_IDLE + int(buffers * FLUENT_BIT_BUFFER_FACTOR)
    if needed > service.limit:
        yield _find(
            ERROR,
            service,
            "fluent_bit/buffers-above-limit",
            "Full buffers do not fit into the container.",
            f"{human(FLUENT_BIT_IDLE)} + {FLUENT_BIT_BUFFER_FACTOR} x {human(buffers)} = {human(needed)} > "
            f"{human(service.limit)}",
            "A smaller mem_buf_limit.",
        )


RULES: t.Dict[str, Rule] = {
    "nginx": nginx,
    "api": node,
    "redis": redis,
    "postgres": postgresql,
    "prometheus": prometheus,
    "alertmanager": go,
    "grafana": grafana,
    "loki": loki,
    "fluent_bit": fluent_bit,
    "redis_exporter": go,
    "postgres_exporter": go,
    "nginx_exporter": go,
}


def check_engine(service: Service) -> Findings:
    """The findings of the rule for this service's program; none for a program without one."""
    rule = RULES.get(service.name)
    return rule(service) if rule else iter(())
