import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';

const PREFIX = 'sixty:api';
const GENERATION = `${PREFIX}:generation`;
const COMMAND_TIMEOUT_MS = 250;
const SYNC_INTERVAL_MS = 500;

/**
 * Responses in two levels: this process's LRU, then Redis.
 *
 * Every key holds a generation that all API processes share through Redis. Each read asks for the generation, each
 * write sets a new random one after its commit, so a write in one process makes the entries of every process
 * unreachable at once. A generation is random, not counted: neither an eviction nor a Redis that came back with an
 * older snapshot can bring an old one to life with newer entries.
 *
 * `trusted` says whether that works. After any failure of Redis it is false and both levels are bypassed, until a
 * new generation was set; so an invalidation that Redis missed is made up for before this process serves an entry
 * again. Another process that still reached Redis meanwhile serves entries of at most `ttlSeconds` age.
 */
export function createCache({ redis: server, cache: { maxEntries, ttlSeconds }, release, log }) {
  const ttlMs = ttlSeconds * 1_000;
  const memory = new LRUCache({ max: maxEntries, ttl: ttlMs });
  const loading = new Map();
  let trusted = false;

  const redis = new Redis({
    host: server.host,
    port: server.port,
    username: server.password === undefined ? undefined : server.user,
    password: server.password,
    connectionName: `sixty-api/${release}`,
    disableClientInfo: true,
    connectTimeout: 1_000,
    commandTimeout: COMMAND_TIMEOUT_MS,
    // A command that cannot be sent now fails now: PostgreSQL has the answer.
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(100 * 2 ** Math.min(attempt, 5), 2_000) * (0.75 + Math.random() / 2),
  });

  let complaint;
  function complain(error) {
    if (complaint === error.message) return;
    complaint = error.message;
    log.warn({ err: error }, `Redis at ${server.host}:${server.port} cannot be used; serving from PostgreSQL`);
  }

  function distrust(error) {
    if (trusted) complain(error);
    trusted = false;
    memory.clear();
  }

  async function renew() {
    await redis.set(GENERATION, randomUUID());
  }

  async function sync() {
    if (trusted || redis.status !== 'ready') return;
    try {
      await renew();
      trusted = true;
      complaint = undefined;
      log.info('Redis answers; the cache is in use');
    } catch (error) {
      complain(error);
    }
  }

  redis.on('error', (error) => {
    complain(error);
    distrust(error);
  });
  redis.on('close', () => distrust(new Error('the connection to Redis is closed')));
  redis.on('ready', sync);
  const timer = setInterval(sync, SYNC_INTERVAL_MS).unref();

  async function generation() {
    const current = await redis.get(GENERATION);
    if (current !== null) return current;
    // Evicted. NX: when two processes notice at once, both must end with the same one.
    await redis.set(GENERATION, randomUUID(), 'NX');
    const renewed = await redis.get(GENERATION);
    if (renewed === null) throw new Error('Redis evicts the cache generation at once');
    return renewed;
  }

  // In Redis an entry carries its time of death, so that a copy in memory does not outlive it.
  async function fill(key, load) {
    let kept;
    try {
      kept = await redis.get(key);
    } catch (error) {
      distrust(error);
      return { payload: await load(), source: 'bypass' };
    }
    if (kept !== null) {
      const end = kept.indexOf('\n');
      const payload = kept.slice(end + 1);
      const ttl = Number(kept.slice(0, end)) - Date.now();
      if (ttl > 0) memory.set(key, payload, { ttl });
      return { payload, source: 'hit-redis' };
    }
    const payload = await load();
    memory.set(key, payload);
    redis.set(key, `${Date.now() + ttlMs}\n${payload}`, 'PX', ttlMs).catch(distrust);
    return { payload, source: 'miss' };
  }

  /**
   * The payload for a key, from the cache or from `load()`, whose errors are passed on and never kept.
   * `source` is what the header X-Cache says: hit-memory, hit-redis, miss or bypass.
   */
  async function fetch(name, load) {
    const current = trusted ? await generation().catch(distrust) : undefined;
    if (current === undefined) return { payload: await load(), source: 'bypass' };
    const key = `${PREFIX}:${release}:${current}:${name}`;
    const payload = memory.get(key);
    if (payload !== undefined) return { payload, source: 'hit-memory' };
    // Requests that miss together make one query; the generation in the key keeps those after a write apart.
    if (!loading.has(key)) loading.set(key, fill(key, load).finally(() => loading.delete(key)));
    return loading.get(key);
  }

  /** To be called after a commit and before its response. Never fails: see `trusted`. */
  async function invalidate() {
    await renew().catch(distrust);
  }

  /** Whether the cache is in use and Redis answers now. */
  async function check() {
    if (trusted) await generation().catch(distrust);
    return trusted ? 'ok' : 'unavailable';
  }

  function close() {
    clearInterval(timer);
    redis.removeAllListeners('close');
    redis.disconnect();
  }

  return { fetch, invalidate, check, isTrusted: () => trusted, entries: () => memory.size, close };
}
