import { render, screen } from '@testing-library/react';
import { expect, it, vi } from 'vitest';
import { ErrorBoundary } from './ErrorBoundary';

function Broken(): never {
  throw new Error('the answer had no stages');
}

it('shows a fault of the page as a message', () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  render(
    <ErrorBoundary>
      <Broken />
    </ErrorBoundary>,
  );
  expect(screen.getByRole('alert')).toHaveTextContent('the answer had no stages');
  expect(screen.getByRole('button', { name: 'Try again' })).toBeInTheDocument();
  expect(log).toHaveBeenCalled();
});
