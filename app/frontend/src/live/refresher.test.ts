import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { concernedBy, createRefresher } from './refresher';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it.each([
  [{ kind: 'created', stage: 'lead' }, ['deals', 'pipeline', 'summary']],
  [{ kind: 'created', stage: 'won' }, ['deals', 'pipeline', 'summary', 'revenue']],
  [{ kind: 'updated', stage: 'lead' }, ['deals', 'pipeline', 'summary', 'activities']],
  [{ kind: 'moved', stage: 'lead' }, ['deals', 'pipeline', 'summary', 'revenue', 'activities']],
  [{ kind: 'deleted', stage: 'lost' }, ['deals', 'pipeline', 'summary', 'revenue', 'activities']],
] as const)('%o concerns %o', (event, resources) => {
  expect(concernedBy({ id: 1, ...event })).toEqual(resources);
});

it('refreshes once for a burst, and no more often than every two seconds', () => {
  const refresh = vi.fn();
  const refresher = createRefresher(refresh);
  for (let id = 0; id < 100; id += 1) {
    refresher.note({ id, stage: 'lead', kind: id % 2 === 0 ? 'created' : 'moved' });
    vi.advanceTimersByTime(50);
  }
  // 100 events in 5 seconds: after 0.25, 2.25 and 4.25 s.
  expect(refresh).toHaveBeenCalledTimes(3);
  expect(refresh).toHaveBeenLastCalledWith(expect.arrayContaining(['deals', 'revenue', 'activities']));
  vi.advanceTimersByTime(10_000);
  expect(refresh).toHaveBeenCalledTimes(4);
});

it('refreshes nothing after its end', () => {
  const refresh = vi.fn();
  const refresher = createRefresher(refresh);
  refresher.note({ id: 1, stage: 'lead', kind: 'created' });
  refresher.stop();
  vi.advanceTimersByTime(10_000);
  expect(refresh).not.toHaveBeenCalled();
});
