import '@testing-library/jest-dom/vitest';
import { cleanup } from '@testing-library/react';
import { afterEach, beforeEach, vi } from 'vitest';
import { resetConnection } from '../api/connection';
import { resetReleases } from '../api/release';
import { FakeEventSource } from './fakeEventSource';

const nothing = () => undefined;

// What jsdom lacks: here everything is on screen, has one size and keeps it, and motion is reduced.
class VisibleAtOnce {
  disconnect = nothing;

  constructor(private readonly callback: (entries: { isIntersecting: boolean }[]) => void) {}

  observe(): void {
    this.callback([{ isIntersecting: true }]);
  }
}

class NeverResized {
  observe = nothing;
  unobserve = nothing;
  disconnect = nothing;
}

beforeEach(() => {
  vi.stubGlobal('IntersectionObserver', VisibleAtOnce);
  vi.stubGlobal('ResizeObserver', NeverResized);
  vi.stubGlobal('EventSource', FakeEventSource);
  FakeEventSource.all.length = 0;
  vi.stubGlobal('matchMedia', (query: string) => ({
    matches: query.includes('reduced-motion'),
    media: query,
    addEventListener: nothing,
    removeEventListener: nothing,
  }));
  vi.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockReturnValue(new DOMRect(0, 0, 520, 280));
  Element.prototype.scrollIntoView = nothing;
  Element.prototype.scrollTo = nothing;
  window.scrollTo = nothing;
  document.documentElement.lang = 'en';
  window.history.replaceState(null, '', '/');
  resetReleases();
  resetConnection();
  localStorage.clear();
});

afterEach(cleanup);
