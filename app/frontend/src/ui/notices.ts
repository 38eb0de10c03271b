import { createContext, use } from 'react';

export interface Notice {
  text: string;
  tone?: 'info' | 'error';
  action?: { label: string; run: () => void };
}

export const NoticeContext = createContext<((notice: Notice) => void) | undefined>(undefined);

/** Shows one notice at the foot of the page; the next one takes its place. */
export function useNotify(): (notice: Notice) => void {
  const notify = use(NoticeContext);
  if (notify === undefined) throw new Error('useNotify needs a NoticeProvider around it');
  return notify;
}
