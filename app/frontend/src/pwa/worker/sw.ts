import { CacheableResponsePlugin } from 'workbox-cacheable-response';
import { clientsClaim } from 'workbox-core';
import { ExpirationPlugin } from 'workbox-expiration';
import * as navigationPreload from 'workbox-navigation-preload';
import { cleanupOutdatedCaches, precacheAndRoute, PrecacheFallbackPlugin, type PrecacheEntry } from 'workbox-precaching';
import { NavigationRoute, registerRoute } from 'workbox-routing';
import { NetworkFirst, NetworkOnly } from 'workbox-strategies';
import { markFromCache } from './fromCache';

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: (PrecacheEntry | string)[] };

/** A page that the network is too slow for is shown from the cache. */
const PAGE_TIMEOUT_S = 3;
/** Below the 15 seconds after which the page gives a request up. */
const API_TIMEOUT_S = 5;
const API_ENTRIES = 60;
const API_AGE_S = 24 * 60 * 60;

const manifest = self.__WB_MANIFEST;

/** The files of this release; those of the release before are kept until this worker takes over. */
const mine = new Set(manifest.map((entry) => new URL(typeof entry === 'string' ? entry : entry.url, self.location.origin).href));

// A page comes from the network, so that a rollback or a maintenance page reaches everybody at the next load whatever
// this worker has; offline it comes from the cache.
navigationPreload.enable();
registerRoute(
  new NavigationRoute(
    new NetworkOnly({
      networkTimeoutSeconds: PAGE_TIMEOUT_S,
      plugins: [new PrecacheFallbackPlugin({ fallbackURL: '/index.html' })],
    }),
    { denylist: [/^\/(api|health|healthz|metrics)(\/|$)/, /\/[^/?]+\.[^/]+$/] },
  ),
);
precacheAndRoute(manifest, { ignoreURLParametersMatching: [] });
cleanupOutdatedCaches();

// Only reads: everything else, and the stream, goes past this worker.
registerRoute(
  ({ url, sameOrigin }) => sameOrigin && url.pathname.startsWith('/api/') && url.pathname !== '/api/stream',
  new NetworkFirst({
    cacheName: 'api',
    networkTimeoutSeconds: API_TIMEOUT_S,
    plugins: [
      new CacheableResponsePlugin({ statuses: [200] }),
      new ExpirationPlugin({ maxEntries: API_ENTRIES, maxAgeSeconds: API_AGE_S, purgeOnQuotaError: true }),
      { cachedResponseWillBeUsed: ({ cachedResponse }) => Promise.resolve(markFromCache(cachedResponse)) },
    ],
  }),
  'GET',
);

// The first visit is served by this worker as soon as it is there; an update waits for SKIP_WAITING.
clientsClaim();

self.addEventListener('message', (event) => {
  const { type, url } = (event.data ?? {}) as { type?: unknown; url?: unknown };
  if (type === 'SKIP_WAITING') void self.skipWaiting();
  if (type === 'IS_YOURS') event.ports[0]?.postMessage(typeof url === 'string' && mine.has(url));
});
