import { afterPaint } from '../lib/afterPaint';

const TYPE = 'largest-contentful-paint';
/** A slow device paints before its scripts are there; a fast one must not wait for a frame that does not come. */
const LONGEST_MS = 100;

/**
 * Once the title of the page before the scripts (boot.tsx) is on screen. Replaced in the frame in which it was painted,
 * it would be work for nothing, and the browser measures only what is still there. Where it cannot tell, a frame is left.
 */
export function painted(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, LONGEST_MS);
    if (document.visibilityState === 'hidden' || !PerformanceObserver.supportedEntryTypes.includes(TYPE)) afterPaint(resolve);
    else {
      const observer = new PerformanceObserver((list) => {
        const seen = list.getEntries() as (PerformanceEntry & { element: Element | null })[];
        if (!seen.some(({ element }) => element?.closest('[data-boot]'))) return;
        observer.disconnect();
        resolve();
      });
      observer.observe({ type: TYPE, buffered: true });
    }
  });
}
