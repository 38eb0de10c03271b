import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** The metrics of one application; gauges read their source when they are scraped. */
export function createMetrics({ release, db, cache, streams, dealEvents, inFlight }) {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const gauge = (name, help, read) =>
    new Gauge({ name, help, registers, collect() { this.set(Number(read())); } });

  new Gauge({ name: 'release_info', help: 'The release that runs; always 1', labelNames: ['release'], registers })
    .set({ release }, 1);
  new Gauge({
    name: 'postgres_pool_connections',
    help: 'Connections of the pool by state',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'idle' }, db.pool.idleCount);
      this.set({ state: 'used' }, db.pool.totalCount - db.pool.idleCount);
    },
  });
  gauge('postgres_pool_size_max', 'Connections the pool may open', () => db.pool.options.max);
  gauge('postgres_pool_waiting_requests', 'Requests that wait for a connection', () => db.pool.waitingCount);
  gauge('postgres_up', '1 unless the last use of PostgreSQL failed', db.isAvailable);
  gauge('cache_up', '1 while Redis is in use, 0 while it is bypassed', cache.isTrusted);
  gauge('cache_memory_entries', 'Entries of the in-process cache', cache.entries);
  gauge('http_requests_in_flight', 'Requests that are being answered, without the streams', inFlight);
  gauge('streams_open', 'Event streams that are open', streams.size);
  gauge('stream_listener_up', '1 while changes of deals are heard from PostgreSQL', dealEvents.isListening);

  return {
    registry,
    httpDuration: new Histogram({
      name: 'http_request_duration_seconds',
      help: 'Duration of requests; status 499 is a client that left before the answer',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    streamsDropped: new Counter({
      name: 'streams_dropped_total',
      help: 'Event streams cut because their client did not read',
      registers,
    }),
    cacheRequests: new Counter({
      name: 'cache_requests_total',
      help: 'Cacheable reads by result: hit-memory, hit-redis, miss or bypass',
      labelNames: ['result'],
      registers,
    }),
    gcRuns: new Counter({ name: 'explicit_gc_runs_total', help: 'Collections started while idle', registers }),
    gcFreed: new Counter({ name: 'explicit_gc_freed_bytes_total', help: 'Heap they freed', registers }),
    gcSeconds: new Counter({ name: 'explicit_gc_seconds_total', help: 'Time they took', registers }),
  };
}
