import { useCallback, useEffect, useState, type ComponentType } from 'react';

interface Lazy<P> {
  Component: ComponentType<P> | undefined;
  failed: boolean;
  retry: () => void;
}

/**
 * A component whose code is loaded once it is wanted. React.lazy keeps a failed import for ever; here it can be tried
 * again, as after a lost connection. `load` must be stable: define it outside the component.
 */
export function useLazy<P>(load: () => Promise<{ default: ComponentType<P> }>, wanted: boolean): Lazy<P> {
  const [module, setModule] = useState<{ default: ComponentType<P> }>();
  const [failedAttempt, setFailedAttempt] = useState<number>();
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    if (!wanted) return;
    let current = true;
    load().then(
      (loaded) => {
        if (current) setModule(loaded);
      },
      (error: unknown) => {
        console.error('A part of the page could not be loaded', error);
        if (current) setFailedAttempt(attempt);
      },
    );
    return () => {
      current = false;
    };
  }, [load, wanted, attempt]);

  const retry = useCallback(() => {
    setAttempt((count) => count + 1);
  }, []);
  return { Component: module?.default, failed: failedAttempt === attempt, retry };
}
