import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { ROUTES } from './shell/routes';
import { prefetch } from './ui/useLazy';

/** Draws the application into `container`; the page of the address comes while React starts. */
export function start(container: HTMLElement): void {
  const first = ROUTES.find(({ path }) => path === window.location.pathname);
  if (first !== undefined) prefetch(first.page);
  createRoot(container).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
