import { useSyncExternalStore } from 'react';

export const THEMES = ['system', 'light', 'dark'] as const;

export interface Settings {
  theme: (typeof THEMES)[number];
  /** Less motion than the system asks for; never more. */
  lessMotion: boolean;
  live: boolean;
}

/** src/pwa/beforePaint.js, which runs before the first paint, reads the same entry. */
const KEY = 'sixty.settings';

const DEFAULTS: Settings = { theme: 'system', lessMotion: false, live: true };

function load(): Settings {
  // Drawn by the build (src/pwa/boot.tsx), which has none.
  if (typeof localStorage === 'undefined') return DEFAULTS;
  try {
    const { theme, lessMotion, live } = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Record<keyof Settings, unknown>>;
    return {
      theme: THEMES.find((known) => known === theme) ?? DEFAULTS.theme,
      lessMotion: lessMotion === true,
      live: live !== false,
    };
  } catch (error) {
    console.warn('The settings cannot be read: the usual ones are used.', error);
    return DEFAULTS;
  }
}

let settings = load();
const listeners = new Set<() => void>();

function apply({ theme, lessMotion }: Settings): void {
  const { dataset } = document.documentElement;
  if (theme === 'system') delete dataset.theme;
  else dataset.theme = theme;
  if (lessMotion) dataset.motion = 'less';
  else delete dataset.motion;
}

function become(next: Settings): void {
  settings = next;
  apply(next);
  for (const listener of listeners) listener();
}

export function changeSettings(changes: Partial<Settings>): void {
  become({ ...settings, ...changes });
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch (error) {
    console.warn('The settings cannot be kept: they last until the page is left.', error);
  }
}

function onStorage({ key }: StorageEvent): void {
  // Another tab; no key: all was cleared.
  if (key === KEY || key === null) become(load());
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener('storage', onStorage);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener('storage', onStorage);
  };
}

export function useSettings(): Settings {
  return useSyncExternalStore(subscribe, () => settings, () => settings);
}
