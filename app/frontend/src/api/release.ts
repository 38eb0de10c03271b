import { useSyncExternalStore } from 'react';

/** The release that answered first and the one that answered last; they differ after a deploy. */
export interface Releases {
  first: string | null;
  current: string | null;
}

let releases: Releases = { first: null, current: null };
const listeners = new Set<() => void>();

/** Takes the release id that an answer of the API carried. */
export function noteRelease(release: string | null): void {
  if (release === null || release === '' || release === releases.current) return;
  releases = { first: releases.first ?? release, current: release };
  for (const listener of listeners) listener();
}

export function resetReleases(): void {
  releases = { first: null, current: null };
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useReleases(): Releases {
  return useSyncExternalStore(subscribe, () => releases, () => releases);
}
