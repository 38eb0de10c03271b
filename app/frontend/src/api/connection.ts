import { useSyncExternalStore } from 'react';

export interface Connection {
  offline: boolean;
  /** When the oldest of the shown figures that the service worker had kept were made, milliseconds since the epoch. */
  figuresFrom: number | undefined;
}

/** Of a page that the build draws (src/pwa/boot.tsx): nothing is known, so nothing is said. */
const UNKNOWN: Connection = { offline: false, figuresFrom: undefined };

let reachable = true;
/** The paths that are shown with an old answer, and its time. */
const kept = new Map<string, number>();
let connection: Connection = read();
const listeners = new Set<() => void>();

function read(): Connection {
  return {
    offline: !navigator.onLine || !reachable || kept.size > 0,
    figuresFrom: kept.size === 0 ? undefined : Math.min(...kept.values()),
  };
}

function changed(): void {
  const next = read();
  if (next.offline === connection.offline && next.figuresFrom === connection.figuresFrom) return;
  connection = next;
  for (const listener of listeners) listener();
}

/** Takes from an answer whether it came from the server, or from what the service worker had kept (X-From-Cache). */
export function noteAnswer(path: string, headers: Headers): void {
  const fromCache = headers.get('X-From-Cache') === '1';
  if (fromCache) {
    const made = Date.parse(headers.get('Date') ?? '');
    kept.set(path, Number.isNaN(made) ? Date.now() : made);
  } else {
    reachable = true;
    // One of them is new again: the server is back, and whoever watches reads the others anew.
    if (kept.has(path)) kept.clear();
  }
  changed();
}

/** Its answer is no longer shown. Returns whether it was an old one. */
export function noteHidden(path: string): boolean {
  const wasKept = kept.delete(path);
  changed();
  return wasKept;
}

export function noteUnreachable(): void {
  reachable = false;
  changed();
}

export function resetConnection(): void {
  reachable = true;
  kept.clear();
  changed();
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) {
    window.addEventListener('online', changed);
    window.addEventListener('offline', changed);
  }
  listeners.add(listener);
  // It may have changed while nobody listened.
  changed();
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    window.removeEventListener('online', changed);
    window.removeEventListener('offline', changed);
  };
}

export function isOffline(): boolean {
  return read().offline;
}

export function useConnection(): Connection {
  return useSyncExternalStore(subscribe, () => connection, () => UNKNOWN);
}
