import { screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, expect, it } from 'vitest';
import type { ActivityType } from '../api/model';
import { expectAccessible } from '../test/axe';
import { apiError, FakeApi, makeDeal } from '../test/fakeApi';
import { renderApp } from '../test/renderApp';

let api: FakeApi;

function add(id: number, type: ActivityType, subject: string): void {
  api.activities.push({ id, type, subject, deal_id: 1, deal_name: 'Alpha', owner: 'Ada Novak', happened_at: '2026-11-01T10:00:00Z' });
}

beforeEach(() => {
  api = new FakeApi([makeDeal({ id: 1, name: 'Alpha' }), makeDeal({ id: 2, name: 'Beta', company: 'Orbit' })]);
  add(1, 'call', 'About the price');
  add(2, 'email', 'The offer');
});

it('lists what happened, filtered by type, with an address', async () => {
  const user = userEvent.setup();
  await renderApp('/activities');
  expect(await screen.findAllByRole('listitem')).toHaveLength(2);
  await user.selectOptions(screen.getByRole('combobox', { name: 'Type' }), 'Email');
  await waitFor(() => {
    expect(screen.queryByText('About the price')).not.toBeInTheDocument();
  });
  expect(screen.getByText('The offer')).toBeInTheDocument();
  expect(window.location.search).toBe('?type=email');
  await user.selectOptions(screen.getByRole('combobox', { name: 'Type' }), 'Meeting');
  expect(await screen.findByText('No activity of this type')).toBeInTheDocument();
});

it('turns pages', async () => {
  const user = userEvent.setup();
  for (let id = 3; id <= 25; id += 1) add(id, 'note', `Note ${id}`);
  await renderApp('/activities');
  await user.click(await screen.findByRole('button', { name: 'Next' }));
  expect(await screen.findByText('Note 25')).toBeInTheDocument();
  expect(screen.getByText('21–25 of 25')).toBeInTheDocument();
  expect(window.location.search).toBe('?page=2');
});

it('says that it failed, and tries again', async () => {
  const user = userEvent.setup();
  api.answer('GET /api/activities', () => apiError(503, 'database_unavailable', 'the database does not answer'));
  await renderApp('/activities');
  expect(await screen.findByRole('alert')).toHaveTextContent('The activities could not be loaded');
  api.restore('GET /api/activities');
  await user.click(screen.getByRole('button', { name: 'Try again' }));
  expect(await screen.findByText('About the price')).toBeInTheDocument();
});

it('logs one for the deal that is found', async () => {
  const user = userEvent.setup();
  await renderApp('/activities');
  const button = screen.getByRole('button', { name: 'Log activity' });
  await user.click(button);
  const dialog = await screen.findByRole('dialog', { name: 'Log activity' });
  expect(within(dialog).getByLabelText('Find the deal')).toHaveFocus();
  await user.keyboard('orbit{Enter}');
  await waitFor(() => {
    expect(within(within(dialog).getByLabelText('Deal')).getAllByRole('option')).toHaveLength(1);
  });
  await user.selectOptions(within(dialog).getByLabelText('Type'), 'Meeting');
  await user.click(within(dialog).getByRole('button', { name: 'Log activity' }));
  expect(within(dialog).getByLabelText('Subject')).toHaveFocus();
  expect(within(dialog).getByLabelText('Subject')).toHaveAccessibleDescription('Enter what it was about.');
  await user.type(within(dialog).getByLabelText('Subject'), 'Demo');
  await user.type(within(dialog).getByLabelText('Owner'), 'Ada');
  await user.click(within(dialog).getByRole('button', { name: 'Log activity' }));
  expect(await screen.findByText('Meeting logged for Beta.')).toBeInTheDocument();
  expect(button).toHaveFocus();
  expect(api.sentTo('POST', '/api/activities')[0]?.body).toMatchObject({ deal_id: 2, type: 'meeting', subject: 'Demo', owner: 'Ada' });
  expect(await screen.findByText('Demo')).toBeInTheDocument();
});

it('is accessible, its dialog too', async () => {
  const user = userEvent.setup();
  await renderApp('/activities');
  await screen.findByText('The offer');
  await expectAccessible();
  await user.click(screen.getByRole('button', { name: 'Log activity' }));
  await screen.findByRole('dialog');
  await expectAccessible();
});
