import { isStage, type Stage } from '../api/model';

export interface DealEvent {
  id: number;
  stage: Stage;
  kind: 'created' | 'updated' | 'moved' | 'deleted';
}

export type StreamState = 'connecting' | 'live' | 'offline';

interface StreamHandlers {
  onState: (state: StreamState) => void;
  onDeal: (event: DealEvent) => void;
  /** Events may be missing: read everything anew. */
  onResync: () => void;
}

const KINDS = ['created', 'updated', 'moved', 'deleted'];
const PAUSE_MIN_MS = 1_000;
const PAUSE_MAX_MS = 30_000;
/** The end of a stream is the usual course of things, when a release leaves; so many failures in a row are not. */
const FAILURES_OFFLINE = 3;

/** Doubles, and differs from client to client. */
function pauseAfter(failures: number): number {
  return Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}

function dealEvent(data: string): DealEvent | undefined {
  const { id, stage, kind } = JSON.parse(data) as Record<keyof DealEvent, unknown>;
  if (typeof id !== 'number' || !isStage(stage) || !KINDS.includes(kind as string)) return undefined;
  return { id, stage, kind: kind as DealEvent['kind'] };
}

/** Holds one stream of live updates open until the returned function is called. */
export function openStream({ onState, onDeal, onResync }: StreamHandlers): () => void {
  let source: EventSource;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;

  const connect = () => {
    timer = undefined;
    let known = false;
    source = new EventSource('/api/stream');
    source.onopen = () => {
      failures = 0;
      onState('live');
      // What happened before a new EventSource was open is in no event; one that comes back by itself is told.
      if (!known) onResync();
      known = true;
    };
    source.onerror = () => {
      failures += 1;
      onState(navigator.onLine && failures < FAILURES_OFFLINE ? 'connecting' : 'offline');
      // It tries again by itself, unless the answer was an error, such as a 503.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, pauseAfter(failures));
    };
    source.addEventListener('deal', ({ data }: MessageEvent<string>) => {
      const event = dealEvent(data);
      // A kind of a later release.
      if (event === undefined) onResync();
      else onDeal(event);
    });
    source.addEventListener('resync', onResync);
  };

  const onOnline = () => {
    if (timer === undefined) return;
    clearTimeout(timer);
    connect();
  };

  onState('connecting');
  connect();
  window.addEventListener('online', onOnline);
  return () => {
    clearTimeout(timer);
    source.close();
    window.removeEventListener('online', onOnline);
  };
}
