import { useEffect, useState, type ComponentType } from 'react';

const RETRY_MS = 1_000;

/** A component whose code is loaded when it is wanted, once for all places that show it. */
export interface Part<P> {
  /** There once the code is. */
  readonly Component: ComponentType<P> | undefined;
  load: () => Promise<void>;
}

/** React.lazy keeps a failed import for ever; a part tries again by itself once, and whenever it is asked to. */
export function part<P>(fetch: () => Promise<{ default: ComponentType<P> }>): Part<P> {
  let Component: ComponentType<P> | undefined;
  let pending: Promise<void> | undefined;

  const attempt = async () => {
    try {
      Component = (await fetch()).default;
    } catch {
      // A short loss of the connection is over by now; anything else is told.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      Component = (await fetch()).default;
    }
  };
  return {
    get Component() {
      return Component;
    },
    load() {
      pending ??= attempt().catch((error: unknown) => {
        pending = undefined;
        throw error;
      });
      return pending;
    },
  };
}

/** Loads code ahead of its use. A failure is no matter yet: it is told when the part is wanted. */
export function prefetch({ load }: Pick<Part<never>, 'load'>): void {
  load().catch(() => undefined);
}

interface Lazy<P> {
  Component: ComponentType<P> | undefined;
  failed: boolean;
  retry: () => void;
}

/** `wanted` may come later, as when a place comes on screen. */
export function useLazy<P>(lazy: Part<P>, wanted = true): Lazy<P> {
  const [, setLoaded] = useState<Part<P>>();
  const [failed, setFailed] = useState<Part<P>>();
  const [attempt, setAttempt] = useState(0);
  // As it was rendered: it may have come since.
  const { Component } = lazy;
  const missing = wanted && Component === undefined;

  useEffect(() => {
    if (!missing) return;
    let current = true;
    lazy.load().then(
      () => {
        if (current) setLoaded(lazy);
      },
      (error: unknown) => {
        console.error('A part of the page could not be loaded', error);
        if (current) setFailed(lazy);
      },
    );
    return () => {
      current = false;
    };
  }, [lazy, missing, attempt]);

  return {
    Component,
    failed: failed === lazy && Component === undefined,
    retry: () => {
      setFailed(undefined);
      setAttempt((count) => count + 1);
    },
  };
}
