import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { connectionOptions } from './db.js';

/** Events kept for clients that come back, and at most told one by one at a time: beyond, clients read anew. */
const HISTORY_LENGTH = 256;
const PING_INTERVAL_MS = 15_000;
const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 5_000;

// The lock is that of the trigger (migration deal-events): no event is numbered and not yet committed.
const LAST_EVENT = `
  SELECT pg_advisory_xact_lock(60600002);
  SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last FROM deal_event_ids`;

/**
 * The changes of deals, of all API processes, by LISTEN on a connection of its own; it is one of DATABASE_POOL_MAX.
 *
 * `prepare()` is awaited before anything is told, and must not fail. `onEvents(events)` is told of committed changes,
 * each { event, id, stage, kind }, `event` rising. `onGap(reason, event)` says that events up to `event` may be
 * missing: 'database' (the connection was away) or 'bulk' (too many at once). `since(event)` are the later events, or
 * undefined when not all of them are known; `last()` is the newest event, undefined while not listening.
 */
export function createDealEvents({ database, release, log, prepare, onEvents, onGap }) {
  const closing = new AbortController();
  let history = [];
  let floor; // everything later is in the history
  let last;
  let listening = false;
  let queue = [];
  let gap;
  let delivering = false;
  let failures = 0;
  let session;

  // One delivery at a time keeps the order; what arrives meanwhile is told together.
  async function deliver() {
    if (delivering) return;
    delivering = true;
    while (gap !== undefined || queue.length > 0) {
      const missed = gap;
      const events = queue;
      gap = undefined;
      queue = [];
      await prepare();
      if (missed !== undefined) {
        history = [];
        floor = missed.at;
        last = missed.at;
        onGap(missed.reason, missed.at);
      }
      if (events.length > 0) {
        last = events.at(-1).event;
        history.push(...events);
        if (history.length > HISTORY_LENGTH) {
          const dropped = history.splice(0, history.length - HISTORY_LENGTH);
          floor = dropped.at(-1).event;
        }
        onEvents(events);
      }
    }
    delivering = false;
  }

  function declareGap(reason, at) {
    queue = [];
    gap = { reason: gap?.reason ?? reason, at };
    if (!delivering) setImmediate(deliver);
  }

  function receive({ payload }) {
    if (!listening) return; // committed before `last` was read
    const event = JSON.parse(payload);
    const newest = queue.at(-1)?.event ?? gap?.at ?? last;
    // Not later than the newest: the database was restored, and its numbers with it.
    if (queue.length === HISTORY_LENGTH || event.event <= newest) return declareGap('bulk', event.event);
    queue.push(event);
    if (!delivering) setImmediate(deliver);
  }

  async function listen() {
    const client = new pg.Client({
      ...connectionOptions(database, `sixty-api/${release}`),
      query_timeout: database.statementTimeoutMs + 1_000,
    });
    session = client;
    const lost = new Promise((_, reject) => {
      client.on('error', reject);
      client.on('end', () => reject(new Error('the connection has ended')));
    });
    lost.catch(() => {}); // also looked at below, but not before the connection stands
    client.on('notification', receive);
    try {
      await client.connect();
      await client.query('LISTEN deal_events');
      const [, { rows }] = await client.query(LAST_EVENT);
      listening = true;
      if (failures > 0) log.info('listening to the changes of deals again');
      failures = 0;
      declareGap('database', rows[0].last);
      const ping = async () => {
        // A connection that the network swallowed says nothing by itself.
        for (;;) {
          await sleep(PING_INTERVAL_MS, undefined, { signal: closing.signal, ref: false });
          await client.query('SELECT 1');
        }
      };
      await Promise.race([lost, ping()]);
    } finally {
      listening = false;
      last = undefined;
      client.end().catch(() => {}); // it is lost, or closed by close()
    }
  }

  async function run() {
    while (!closing.signal.aborted) {
      try {
        await listen();
      } catch (error) {
        if (closing.signal.aborted) return;
        if (failures === 0) log.warn({ err: error }, 'cannot listen to the changes of deals; trying again');
        const backoff = Math.min(BACKOFF_MIN_MS * 2 ** failures, BACKOFF_MAX_MS) * (0.75 + Math.random() / 2);
        failures += 1;
        await sleep(backoff, undefined, { signal: closing.signal, ref: false }).catch(() => {});
      }
    }
  }
  const running = run();

  async function close() {
    closing.abort();
    await session.end().catch(() => {}); // it may be lost already
    await running;
  }

  function since(event) {
    if (!listening || last === undefined || event < floor || event > last) return undefined;
    return history.filter((one) => one.event > event);
  }

  return { since, last: () => (listening ? last : undefined), isListening: () => listening, close };
}
