/** The service worker, as the page sees it: registered once the page has loaded, updated when the user says so. */

const CHECK_INTERVAL_MS = 60 * 60_000;
/** Looks that nobody asked for, such as at each return to the tab, are at least so far apart. */
const CHECK_PAUSE_MS = 60_000;
const ANSWER_TIMEOUT_MS = 3_000;

let registration: ServiceWorkerRegistration | undefined;
let waiting = false;
let checkedAt = 0;
const listeners = new Set<(waiting: boolean) => void>();

function setWaiting(value: boolean): void {
  if (value === waiting) return;
  waiting = value;
  for (const listener of listeners) listener(waiting);
}

/** Tells whether a new release waits to be loaded, now and at every change. Returns the way to stop it. */
export function subscribeUpdate(listener: (waiting: boolean) => void): () => void {
  listeners.add(listener);
  listener(waiting);
  return () => {
    listeners.delete(listener);
  };
}

/** Loads the new release: its worker takes over, then this page is loaded again, once. Other tabs keep what they show. */
export async function applyUpdate(): Promise<void> {
  const worker = registration?.waiting;
  if (worker) {
    const controls = new Promise((resolve) => {
      navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true });
    });
    worker.postMessage({ type: 'SKIP_WAITING' });
    await controls;
  }
  // Without a worker that waits, another tab has let it in already: this page is an old one all the same.
  location.reload();
}

/** Looks for a new release now, as when an answer of the API came from another one. */
export function checkForUpdate(): void {
  if (registration === undefined) return;
  checkedAt = Date.now();
  // Offline, or nginx is not there: the next look will tell.
  registration.update().catch(() => undefined);
}

/** Hands the worker of a first visit what was read before it was there, or a second visit would have no figures offline. */
async function catchUp(): Promise<void> {
  const { active } = await navigator.serviceWorker.ready;
  const read = performance
    .getEntriesByType('resource')
    .map(({ name }) => new URL(name))
    .filter(({ origin, pathname }) => origin === location.origin && pathname.startsWith('/api/') && pathname !== '/api/stream');
  active?.postMessage({ type: 'CACHE_URLS', payload: { urlsToCache: [...new Set(read.map(({ href }) => href))] } });
}

/** Whether `worker` belongs to the release of this page, which it does after a reload that was not asked for here. */
function isOfThisPage(worker: ServiceWorker): Promise<boolean> {
  const script = document.querySelector<HTMLScriptElement>('script[type="module"][src]')?.src;
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }: MessageEvent<unknown>) => {
      resolve(data === true);
    };
    worker.postMessage({ type: 'IS_YOURS', url: script }, [port2]);
    setTimeout(resolve, ANSWER_TIMEOUT_MS, false);
  });
}

async function onInstalled(worker: ServiceWorker): Promise<void> {
  // The first worker has nobody to wait for.
  if (navigator.serviceWorker.controller === null) return;
  const mine = await isOfThisPage(worker);
  if (mine) worker.postMessage({ type: 'SKIP_WAITING' });
  setWaiting(!mine);
}

function follow(worker: ServiceWorker): void {
  const look = () => {
    if (worker.state === 'installed') void onInstalled(worker);
    // Replaced by a newer one. One that another tab has let in says nothing here: this page is old all the same.
    if (worker.state === 'redundant') setWaiting(registration?.waiting != null);
  };
  worker.addEventListener('statechange', look);
  look();
}

async function register(): Promise<void> {
  if (navigator.serviceWorker.controller === null) void catchUp();
  registration = await navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' });
  checkedAt = Date.now();
  const { waiting: before } = registration;
  if (before) follow(before);
  registration.addEventListener('updatefound', () => {
    if (registration?.installing) follow(registration.installing);
  });
  setInterval(checkForUpdate, CHECK_INTERVAL_MS);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible' && Date.now() - checkedAt > CHECK_PAUSE_MS) checkForUpdate();
  });
}

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  const start = () => {
    register().catch((error: unknown) => {
      console.warn('No service worker: this page needs a connection.', error);
    });
  };
  // Not while the page loads: precaching would take its bandwidth.
  if (document.readyState === 'complete') start();
  else window.addEventListener('load', start, { once: true });
}
