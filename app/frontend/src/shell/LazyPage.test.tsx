import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, it, vi } from 'vitest';
import { part } from '../ui/useLazy';
import { LazyPage } from './LazyPage';

it('says that the code of a page did not arrive, and tries again', async () => {
  const user = userEvent.setup();
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const lost = () => Promise.reject(new TypeError('Failed to fetch dynamically imported module'));
  const load = vi.fn(() => Promise.resolve({ default: () => <p>Here it is</p> })).mockImplementationOnce(lost).mockImplementationOnce(lost);
  render(<LazyPage path="/x" label="Reports" icon="overview" page={part(load)} />);
  expect(screen.getByText('Loading Reports')).toBeInTheDocument();
  expect(await screen.findByText('This page could not be loaded', {}, { timeout: 3_000 })).toBeInTheDocument();
  expect(screen.getByRole('heading', { level: 1, name: 'Reports' })).toBeInTheDocument();
  await user.click(screen.getByRole('button', { name: 'Try again' }));
  expect(await screen.findByText('Here it is')).toBeInTheDocument();
});
