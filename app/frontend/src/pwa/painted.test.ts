import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { painted } from './painted';

let report: (...elements: (Element | null)[]) => void;
const disconnect = vi.fn();

class FakeObserver {
  static supportedEntryTypes = ['paint', 'largest-contentful-paint'];
  disconnect = disconnect;
  observe = vi.fn();
  constructor(callback: (list: { getEntries: () => unknown[] }) => void) {
    report = (...elements) => {
      callback({ getEntries: () => elements.map((element) => ({ element })) });
    };
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  disconnect.mockClear();
  FakeObserver.supportedEntryTypes = ['paint', 'largest-contentful-paint'];
  vi.stubGlobal('PerformanceObserver', FakeObserver);
  document.body.innerHTML = '<p>Sixty</p><div data-boot="/"><h1>Overview</h1></div>';
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

async function isOver(promise: Promise<void>): Promise<boolean> {
  await vi.advanceTimersByTimeAsync(0);
  return Promise.race([promise.then(() => true), Promise.resolve().then(() => Promise.resolve(false))]);
}

it('waits until the title is on screen', async () => {
  const promise = painted();
  report(document.querySelector('p'));
  report(null);
  expect(await isOver(promise)).toBe(false);
  report(document.querySelector('h1'));
  expect(await isOver(promise)).toBe(true);
  expect(disconnect).toHaveBeenCalledOnce();
});

it('does not wait for long', async () => {
  const promise = painted();
  await vi.advanceTimersByTimeAsync(99);
  expect(await isOver(promise)).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(await isOver(promise)).toBe(true);
});

it('leaves a frame where the browser does not tell', async () => {
  FakeObserver.supportedEntryTypes = ['paint'];
  const promise = painted();
  expect(await isOver(promise)).toBe(false);
  await vi.advanceTimersByTimeAsync(20);
  expect(await isOver(promise)).toBe(true);
});

it('does not wait in the background', async () => {
  vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden');
  expect(await isOver(painted())).toBe(true);
});
