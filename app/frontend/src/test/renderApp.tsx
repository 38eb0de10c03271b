import { render, screen, type RenderResult } from '@testing-library/react';
import { App } from '../App';

/** The application at `path`, once its page is there. */
export async function renderApp(path: string): Promise<RenderResult> {
  window.history.replaceState(null, '', path);
  const result = render(<App />);
  await screen.findByRole('heading', { level: 1 });
  return result;
}
