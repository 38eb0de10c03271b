import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { shouldCollect, startCollector } from '../src/memory.js';
import { eventually } from './support/env.js';

const MB = 2 ** 20;
const due = {
  heapUsed: 200 * MB, heapMark: 192 * MB, utilization: 0.1, inFlight: 0, now: 100_000, lastRunAt: -Infinity,
  lastFreed: Infinity, minIntervalMs: 10_000,
};

describe('whether to collect', () => {
  const cases = [
    ['over the mark and idle', {}, true],
    ['exactly at the mark', { heapUsed: 192 * MB }, true],
    ['below the mark', { heapUsed: 192 * MB - 1 }, false],
    ['no mark', { heapMark: 0 }, false],
    ['a request in flight', { inFlight: 1 }, false],
    ['a busy loop', { utilization: 0.3 }, false],
    ['a loop that is just idle', { utilization: 0.299 }, true],
    ['too soon after the last run', { lastRunAt: 90_001 }, false],
    ['long enough after the last run', { lastRunAt: 90_000 }, true],
    ['the last run freed too little: not yet', { lastRunAt: 90_000, lastFreed: 19 * MB }, false],
    ['the last run freed too little: later', { lastRunAt: 40_000, lastFreed: 19 * MB }, true],
    ['the last run freed enough', { lastRunAt: 90_000, lastFreed: 20 * MB }, true],
  ];
  for (const [name, change, expected] of cases) {
    test(`${name}: ${expected}`, () => assert.equal(shouldCollect({ ...due, ...change }), expected));
  }
});

test('the collector runs when the heap is over the mark, and reports each run', async () => {
  const runs = [];
  let collected = 0;
  const stop = startCollector({
    gc: { heapMarkMb: 1, minIntervalSeconds: 1 },
    collect: () => (collected += 1),
    inFlight: () => 0,
    onRun: (run) => runs.push(run),
    log: {},
  });
  await eventually(() => runs.length === 1);
  stop();
  assert.equal(collected, 1);
  assert.ok(runs[0].durationMs >= 0 && Number.isFinite(runs[0].freed));
});

test('a mark without --expose-gc is said to have no effect', () => {
  const warnings = [];
  const log = { warn: (line) => warnings.push(line) };
  startCollector({ gc: { heapMarkMb: 9, minIntervalSeconds: 1 }, collect: undefined, log })();
  assert.deepEqual(warnings, ['GC_HEAP_MARK_MB=9 has no effect: start node with --expose-gc']);
});
