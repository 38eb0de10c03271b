import { render, screen, waitFor, type RenderResult } from '@testing-library/react';
import { expect } from 'vitest';
import { App } from '../App';

/** The application at `path`, once its page is there. */
export async function renderApp(path: string): Promise<RenderResult> {
  window.history.replaceState(null, '', path);
  const result = render(<App />);
  await waitFor(() => {
    expect(screen.getByRole('heading', { level: 1 }).closest('[data-page-loading]')).toBeNull();
  });
  return result;
}
