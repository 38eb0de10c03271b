import { act, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { NoticeProvider } from './NoticeProvider';
import { useNotify, type Notice } from './notices';

function Source({ notice }: { notice: Notice }) {
  const notify = useNotify();
  return (
    <button
      type="button"
      onClick={() => {
        notify(notice);
      }}
    >
      source
    </button>
  );
}

function show(notice: Notice): void {
  render(
    <NoticeProvider>
      <Source notice={notice} />
    </NoticeProvider>,
  );
  fireEvent.click(screen.getByText('source'));
}

function pass(ms: number): void {
  act(() => {
    vi.advanceTimersByTime(ms);
  });
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it('goes by itself after ten seconds, but not under the pointer', () => {
  show({ text: 'Moved.' });
  pass(9_900);
  fireEvent.mouseEnter(screen.getByRole('status'));
  pass(60_000);
  expect(screen.getByRole('status')).toHaveTextContent('Moved.');
  fireEvent.mouseLeave(screen.getByRole('status'));
  pass(10_000);
  expect(screen.getByRole('status')).toBeEmptyDOMElement();
});

it('keeps an error until it is dismissed', () => {
  show({ text: 'Not moved.', tone: 'error' });
  pass(60_000);
  fireEvent.click(screen.getByRole('button', { name: 'Dismiss' }));
  expect(screen.getByRole('status')).toBeEmptyDOMElement();
});

it('runs its action once, and gives the keyboard back', () => {
  const run = vi.fn();
  show({ text: 'Moved.', action: { label: 'Undo', run } });
  const source = screen.getByText('source');
  source.focus();
  screen.getByRole('button', { name: 'Undo' }).focus();
  fireEvent.click(screen.getByRole('button', { name: 'Undo' }));
  expect(run).toHaveBeenCalledOnce();
  expect(screen.queryByText('Moved.')).not.toBeInTheDocument();
  expect(source).toHaveFocus();
});
