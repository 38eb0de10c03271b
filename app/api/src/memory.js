import { performance } from 'node:perf_hooks';

const CHECK_INTERVAL_MS = 1_000;
/** Share of the last interval in which the event loop may have been busy and still counts as idle. */
const IDLE_UTILIZATION = 0.3;
/** A run that freed less than this share of the mark found live data: the next one comes this many times later. */
const USEFUL_SHARE = 0.1;
const USELESS_BACKOFF = 6;

/**
 * Whether to collect now. Sizes in bytes, times in milliseconds; `lastRunAt` is -Infinity before the first run.
 */
export function shouldCollect({
  heapUsed, heapMark, utilization, inFlight, now, lastRunAt, lastFreed, minIntervalMs,
}) {
  if (heapMark === 0 || heapUsed < heapMark) return false;
  if (inFlight > 0 || utilization >= IDLE_UTILIZATION) return false;
  const useless = lastFreed < heapMark * USEFUL_SHARE;
  return now - lastRunAt >= minIntervalMs * (useless ? USELESS_BACKOFF : 1);
}

/**
 * Collects explicitly while nobody waits, so that the heap returns below the mark before V8 would do it under load.
 * Needs --expose-gc. `onRun({ freed, durationMs })` is called after each run. Returns a function that stops it.
 */
export function startCollector({ gc, collect = globalThis.gc, inFlight, onRun, log }) {
  if (gc.heapMarkMb === 0) return () => {};
  if (collect === undefined) {
    log.warn(`GC_HEAP_MARK_MB=${gc.heapMarkMb} has no effect: start node with --expose-gc`);
    return () => {};
  }
  const heapMark = gc.heapMarkMb * 2 ** 20;
  let lastRunAt = -Infinity;
  let lastFreed = Infinity;
  let before = performance.eventLoopUtilization();

  const timer = setInterval(() => {
    const current = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(current, before);
    before = current;
    const { heapUsed } = process.memoryUsage();
    const now = performance.now();
    const minIntervalMs = gc.minIntervalSeconds * 1_000;
    const state = { heapUsed, heapMark, utilization, inFlight: inFlight(), now, lastRunAt, lastFreed, minIntervalMs };
    if (!shouldCollect(state)) return;
    collect();
    lastFreed = heapUsed - process.memoryUsage().heapUsed;
    lastRunAt = performance.now();
    onRun({ freed: lastFreed, durationMs: lastRunAt - now });
  }, CHECK_INTERVAL_MS).unref();
  return () => clearInterval(timer);
}
