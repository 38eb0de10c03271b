import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FakeEventSource } from '../test/fakeEventSource';
import { openStream, type DealEvent, type StreamState } from './stream';

const states: StreamState[] = [];
const events: DealEvent[] = [];
let resyncs = 0;
let close: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  states.length = 0;
  events.length = 0;
  resyncs = 0;
  close = openStream({
    onState: (state) => states.push(state),
    onDeal: (event) => events.push(event),
    onResync: () => (resyncs += 1),
  });
});

afterEach(() => {
  close();
  vi.useRealTimers();
});

it('is live once it is open, and has what is shown read anew, since what came before is in no event', () => {
  expect(FakeEventSource.last.url).toBe('/api/stream');
  FakeEventSource.last.open();
  expect(states).toEqual(['connecting', 'live']);
  expect(resyncs).toBe(1);
});

it('passes on what happens to deals', () => {
  FakeEventSource.last.send('deal', { id: 7, stage: 'won', kind: 'moved' });
  expect(events).toEqual([{ id: 7, stage: 'won', kind: 'moved' }]);
});

it.each([{ id: 7, stage: 'won', kind: 'merged' }, { id: '7', stage: 'won', kind: 'moved' }, { id: 7, stage: 'frozen', kind: 'moved' }])(
  'reads anew what it does not understand: %o',
  (event) => {
    FakeEventSource.last.send('deal', event);
    expect(events).toEqual([]);
    expect(resyncs).toBe(1);
  },
);

it('reads anew when the API says so', () => {
  FakeEventSource.last.send('resync', { reason: 'bulk' });
  expect(resyncs).toBe(1);
});

it('lets the browser come back by itself when a release leaves: it is told what it missed', () => {
  FakeEventSource.last.open();
  FakeEventSource.last.fail(false);
  expect(states.at(-1)).toBe('connecting');
  vi.advanceTimersByTime(60_000);
  expect(FakeEventSource.all).toHaveLength(1);
  FakeEventSource.last.open();
  expect(states.at(-1)).toBe('live');
  expect(resyncs).toBe(1);
});

it('makes a new stream after a 503, with longer and longer pauses, and then reads anew', () => {
  vi.spyOn(Math, 'random').mockReturnValue(1);
  FakeEventSource.last.open();
  const pauses: number[] = [];
  for (let failure = 1; failure <= 7; failure += 1) {
    FakeEventSource.last.fail(true);
    const count = FakeEventSource.all.length;
    const before = Date.now();
    while (FakeEventSource.all.length === count) vi.advanceTimersByTime(500);
    pauses.push((Date.now() - before) / 1_000);
  }
  expect(pauses).toEqual([1, 2, 4, 8, 16, 30, 30]);
  expect(states.slice(-6)).toEqual(['connecting', 'offline', 'offline', 'offline', 'offline', 'offline']);
  FakeEventSource.last.open();
  expect(states.at(-1)).toBe('live');
  expect(resyncs).toBe(2);
});

it('does not wait when the connection is back', () => {
  FakeEventSource.last.fail(true);
  window.dispatchEvent(new Event('online'));
  expect(FakeEventSource.all).toHaveLength(2);
  vi.advanceTimersByTime(60_000);
  expect(FakeEventSource.all).toHaveLength(2);
});

it('ends for good when it is closed', () => {
  FakeEventSource.last.fail(true);
  close();
  vi.advanceTimersByTime(60_000);
  window.dispatchEvent(new Event('online'));
  expect(FakeEventSource.all).toHaveLength(1);
  expect(FakeEventSource.last.readyState).toBe(FakeEventSource.CLOSED);
});
