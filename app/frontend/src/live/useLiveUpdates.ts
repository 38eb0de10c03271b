import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { isOffline } from '../api/connection';
import { refresh } from '../api/queries';
import { createRefresher } from './refresher';
import { openStream, type StreamState } from './stream';

export type LiveState = StreamState | 'off' | 'paused';

/** A tab that nobody looks at for so long gives its stream to others. */
const HIDDEN_MS = 5 * 60_000;

/** False once the tab has been hidden for `HIDDEN_MS`, until it is shown again. */
function useWatched(): boolean {
  const [watched, setWatched] = useState(true);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onChange = () => {
      clearTimeout(timer);
      if (document.visibilityState === 'visible') setWatched(true);
      else {
        timer = setTimeout(() => {
          setWatched(false);
        }, HIDDEN_MS);
      }
    };
    document.addEventListener('visibilitychange', onChange);
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onChange);
    };
  }, []);
  return watched;
}

/** Keeps what is shown up to date while `enabled`; to be used once in the application. */
export function useLiveUpdates(enabled: boolean): LiveState {
  const queryClient = useQueryClient();
  const watched = useWatched();
  const [state, setState] = useState<StreamState>('connecting');

  useEffect(() => {
    if (!enabled || !watched) return;
    const refresher = createRefresher((resources) => {
      refresh(queryClient, resources);
    });
    const close = openStream({
      onState: (next) => {
        setState(next);
        // The server is back, and nothing else may ask it for a while.
        if (next === 'live' && isOffline()) refresh(queryClient);
      },
      onDeal: refresher.note,
      onResync: () => {
        // Not again what is on its way already, as at the first load.
        void queryClient.invalidateQueries({}, { cancelRefetch: false });
      },
    });
    return () => {
      close();
      refresher.stop();
    };
  }, [queryClient, enabled, watched]);

  if (!enabled) return 'off';
  return watched ? state : 'paused';
}
