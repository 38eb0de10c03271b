import type { Resource } from '../api/queries';
import type { DealEvent } from './stream';

/** Events come in bursts, as when a whole list is edited: one refresh for those of this time. */
const GATHER_MS = 250;
/** However many events there are, the API is asked no more often. */
const PAUSE_MS = 2_000;

/** What shows something else after the event. */
export function concernedBy({ kind, stage }: DealEvent): Resource[] {
  const closed = stage === 'won' || stage === 'lost';
  return [
    'deals',
    'pipeline',
    'summary',
    // A moved deal may have been closed before.
    ...(closed || kind === 'moved' ? (['revenue'] as const) : []),
    // Activities carry the name of their deal.
    ...(kind === 'created' ? [] : (['activities'] as const)),
  ];
}

/** Calls `refresh` with what the events since the last call concern. */
export function createRefresher(refresh: (resources: Resource[]) => void) {
  const concerned = new Set<Resource>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = -Infinity;

  const run = () => {
    timer = undefined;
    last = Date.now();
    const resources = [...concerned];
    concerned.clear();
    refresh(resources);
  };

  return {
    note: (event: DealEvent) => {
      for (const resource of concernedBy(event)) concerned.add(resource);
      timer ??= setTimeout(run, Math.max(GATHER_MS, last + PAUSE_MS - Date.now()));
    },
    stop: () => {
      clearTimeout(timer);
    },
  };
}
