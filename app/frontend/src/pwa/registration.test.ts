import { beforeEach, expect, it, vi } from 'vitest';
import { markFromCache } from './worker/fromCache';

const SCRIPT = 'http://localhost/assets/index-12345678.js';

/** A worker of the release whose files are `files`. */
class FakeWorker extends EventTarget {
  state = 'installing';
  readonly posted: string[] = [];
  readonly payloads: unknown[] = [];

  constructor(private readonly files: string[] = []) {
    super();
  }

  postMessage({ type, url, payload }: { type: string; url?: string; payload?: unknown }, ports?: MessagePort[]): void {
    this.posted.push(type);
    if (payload !== undefined) this.payloads.push(payload);
    if (type === 'IS_YOURS') ports?.[0]?.postMessage(url !== undefined && this.files.includes(url));
  }

  become(state: string): void {
    this.state = state;
    this.dispatchEvent(new Event('statechange'));
  }
}

class FakeRegistration extends EventTarget {
  installing: FakeWorker | null = null;
  waiting: FakeWorker | null = null;
  active: FakeWorker | null = null;
  update = vi.fn(() => Promise.resolve());

  find(worker: FakeWorker): void {
    this.installing = worker;
    this.dispatchEvent(new Event('updatefound'));
    this.waiting = worker;
    worker.become('installed');
  }
}

let registration: FakeRegistration;
let container: EventTarget & { controller: FakeWorker | null; ready: Promise<FakeRegistration>; register: () => Promise<FakeRegistration> };
const reload = vi.fn();

/** The module as a page of the release with SCRIPT loads it, once everything else is there. */
async function load({ controlled = true } = {}) {
  vi.resetModules();
  vi.stubEnv('PROD', true);
  vi.stubGlobal('location', { origin: 'http://localhost', reload });
  document.head.innerHTML = `<script type="module" src="${SCRIPT}"></script>`;
  registration = new FakeRegistration();
  registration.active = new FakeWorker();
  container = Object.assign(new EventTarget(), {
    controller: controlled ? registration.active : null,
    ready: Promise.resolve(registration),
    register: vi.fn(() => Promise.resolve(registration)),
  });
  Object.defineProperty(navigator, 'serviceWorker', { value: container, configurable: true });
  const module = await import('./registration');
  await vi.waitFor(() => {
    expect(container.register).toHaveBeenCalledWith('/sw.js', { updateViaCache: 'none' });
  });
  await Promise.resolve();
  return module;
}

beforeEach(() => {
  reload.mockReset();
  vi.unstubAllEnvs();
});

it('tells that a new release waits, and loads it when asked to, once it is in control', async () => {
  const { subscribeUpdate, applyUpdate } = await load();
  const seen: boolean[] = [];
  const stop = subscribeUpdate((waiting) => seen.push(waiting));
  const worker = new FakeWorker(['http://localhost/assets/index-abcdefgh.js']);
  registration.find(worker);
  await vi.waitFor(() => {
    expect(seen).toEqual([false, true]);
  });
  expect(worker.posted).toEqual(['IS_YOURS']);

  const applied = applyUpdate();
  expect(worker.posted).toEqual(['IS_YOURS', 'SKIP_WAITING']);
  await Promise.resolve();
  expect(reload).not.toHaveBeenCalled();
  container.dispatchEvent(new Event('controllerchange'));
  container.dispatchEvent(new Event('controllerchange'));
  await applied;
  expect(reload).toHaveBeenCalledTimes(1);
  stop();
});

it('lets the worker of its own release in without a word, as after a reload that nobody asked for here', async () => {
  const { subscribeUpdate } = await load();
  const seen: boolean[] = [];
  subscribeUpdate((waiting) => seen.push(waiting));
  const worker = new FakeWorker([SCRIPT]);
  registration.find(worker);
  await vi.waitFor(() => {
    expect(worker.posted).toEqual(['IS_YOURS', 'SKIP_WAITING']);
  });
  expect(seen).toEqual([false]);
});

it('has nothing to tell of the first worker, and hands it what was read before', async () => {
  vi.spyOn(performance, 'getEntriesByType').mockReturnValue(
    ['/api/summary', '/api/summary', '/api/stream', '/assets/x.js'].map((path) => ({ name: `http://localhost${path}` })) as PerformanceEntryList,
  );
  const { subscribeUpdate } = await load({ controlled: false });
  const seen: boolean[] = [];
  subscribeUpdate((waiting) => seen.push(waiting));
  registration.find(new FakeWorker());
  await vi.waitFor(() => {
    expect(registration.active?.posted).toEqual(['CACHE_URLS']);
  });
  expect(registration.active?.payloads).toEqual([{ urlsToCache: ['http://localhost/api/summary'] }]);
  expect(seen).toEqual([false]);
});

it('is loaded again where another tab has let the new release in', async () => {
  const { applyUpdate } = await load();
  await applyUpdate();
  expect(reload).toHaveBeenCalledTimes(1);
});

it('marks an answer of the cache, and takes the release away that no longer answers', async () => {
  const answer = markFromCache(new Response('{}', { headers: { 'X-Release': 'r1', Date: 'Wed, 25 Nov 2026 04:00:00 GMT' } }));
  expect(answer?.headers.get('X-From-Cache')).toBe('1');
  expect(answer?.headers.get('X-Release')).toBeNull();
  expect(answer?.headers.get('Date')).toBe('Wed, 25 Nov 2026 04:00:00 GMT');
  expect(await answer?.text()).toBe('{}');
  expect(markFromCache(undefined)).toBeUndefined();
});
