import { useCallback, useEffect, useState } from 'react';
import { ApiError, get } from './client';

export interface Resource<T> {
  /** The last answer. While another path loads it is still the answer of the path before. */
  data: T | undefined;
  error: ApiError | undefined;
  loading: boolean;
  /** When `data` arrived, milliseconds since the epoch. */
  loadedAt: number | undefined;
  retry: () => void;
}

interface Settled<T> {
  token: string | undefined;
  path: string | undefined;
  data: T | undefined;
  error: ApiError | undefined;
  loadedAt: number | undefined;
}

/**
 * Reads `path`, and reads it again when `revision` changes. A refresh that fails keeps what was shown; another path
 * that fails does not, since the old answer would be taken for the new one.
 */
export function useResource<T>(path: string, revision: number): Resource<T> {
  const [attempt, setAttempt] = useState(0);
  const [settled, setSettled] = useState<Settled<T>>({
    token: undefined,
    path: undefined,
    data: undefined,
    error: undefined,
    loadedAt: undefined,
  });
  const token = `${revision} ${attempt} ${path}`;

  useEffect(() => {
    const controller = new AbortController();
    get<T>(path, controller.signal).then(
      (data) => {
        if (controller.signal.aborted) return;
        setSettled({ token, path, data, error: undefined, loadedAt: Date.now() });
      },
      (reason: unknown) => {
        if (controller.signal.aborted) return;
        const error = reason instanceof ApiError ? reason : new ApiError(String(reason), 'unknown', 0);
        setSettled((before) =>
          before.path === path
            ? { ...before, token, error }
            : { token, path, data: undefined, error, loadedAt: undefined },
        );
      },
    );
    return () => {
      controller.abort();
    };
  }, [path, token]);

  const retry = useCallback(() => {
    setAttempt((count) => count + 1);
  }, []);
  const loading = settled.token !== token;
  return { data: settled.data, error: loading ? undefined : settled.error, loading, loadedAt: settled.loadedAt, retry };
}
