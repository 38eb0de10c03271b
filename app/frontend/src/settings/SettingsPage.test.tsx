import { readFileSync } from 'node:fs';
import { act, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectAccessible } from '../test/axe';
import { FakeApi } from '../test/fakeApi';
import { FakeEventSource } from '../test/fakeEventSource';
import { renderApp } from '../test/renderApp';
import { changeSettings } from './settings';

const root = document.documentElement;

beforeEach(() => {
  new FakeApi([]);
});

afterEach(() => {
  act(() => {
    changeSettings({ theme: 'system', lessMotion: false, live: true });
  });
});

describe('the theme', () => {
  it('is that of the system until another one is chosen, which is kept', async () => {
    const user = userEvent.setup();
    await renderApp('/settings');
    expect(screen.getByRole('radio', { name: 'As the system' })).toBeChecked();
    await user.click(screen.getByRole('radio', { name: 'Dark' }));
    expect(root.dataset.theme).toBe('dark');
    expect(JSON.parse(localStorage.getItem('sixty.settings') ?? '')).toMatchObject({ theme: 'dark' });
    await user.click(screen.getByRole('radio', { name: 'As the system' }));
    expect(root.dataset.theme).toBeUndefined();
  });

  it.each([
    ['{"theme":"dark","lessMotion":true}', { theme: 'dark', motion: 'less' }],
    ['{"theme":"neon"}', {}],
    ['no JSON', {}],
  ])('is there before the first paint: %s', (entry, expected) => {
    localStorage.setItem('sixty.settings', entry);
    // The script as the page runs it.
    window.eval(readFileSync('src/pwa/beforePaint.js', 'utf8'));
    expect({ theme: root.dataset.theme, motion: root.dataset.motion }).toEqual(expected);
  });

  it('follows another tab', async () => {
    await renderApp('/settings');
    localStorage.setItem('sixty.settings', '{"theme":"light"}');
    act(() => {
      window.dispatchEvent(new StorageEvent('storage', { key: 'sixty.settings' }));
    });
    expect(screen.getByRole('radio', { name: 'Light' })).toBeChecked();
    expect(root.dataset.theme).toBe('light');
  });
});

it('turns live updates off and on', async () => {
  const user = userEvent.setup();
  await renderApp('/settings');
  await user.click(screen.getByRole('switch', { name: /^Live updates/ }));
  expect(FakeEventSource.last.readyState).toBe(FakeEventSource.CLOSED);
  expect(screen.getByText('Not live')).toBeInTheDocument();
  await user.click(screen.getByRole('switch', { name: /^Live updates/ }));
  expect(FakeEventSource.all).toHaveLength(2);
});

it('lessens motion', async () => {
  const user = userEvent.setup();
  await renderApp('/settings');
  await user.click(screen.getByRole('switch', { name: /^Less motion/ }));
  expect(root.dataset.motion).toBe('less');
});

it('shows the release that answers', async () => {
  await renderApp('/settings');
  await waitFor(() => {
    // There, and in the footer.
    expect(screen.getAllByText('r1')).toHaveLength(2);
  });
  await expectAccessible();
});
