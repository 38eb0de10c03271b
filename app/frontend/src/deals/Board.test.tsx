import { screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, expect, it, vi } from 'vitest';
import { STAGE_LABELS, STAGES, type Stage } from '../api/model';
import { apiError, FakeApi, makeDeal } from '../test/fakeApi';
import { renderApp } from '../test/renderApp';

let api: FakeApi;

function column(stage: Stage): HTMLElement {
  return screen.getByRole('region', { name: STAGE_LABELS[stage] });
}

function names(stage: Stage): (string | null)[] {
  return within(column(stage)).queryAllByRole('article').map((card) => within(card).getAllByRole('button')[0]?.textContent ?? null);
}

beforeEach(() => {
  api = new FakeApi([makeDeal({ id: 1, name: 'Alpha' }), makeDeal({ id: 2, name: 'Beta', stage: 'proposal' })]);
  // jsdom has no layout: the columns stand side by side, and a card is in its column.
  vi.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockImplementation(function (this: HTMLElement) {
    const stage = this.closest<HTMLElement>('section[data-stage]')?.dataset.stage;
    return new DOMRect(STAGES.indexOf(stage as Stage) * 200, 0, 200, this.tagName === 'SECTION' ? 600 : 100);
  });
});

it('has a column for each stage', async () => {
  await renderApp('/deals?view=board');
  await screen.findByText('Alpha');
  expect(names('lead')).toEqual(['Alpha']);
  expect(names('proposal')).toEqual(['Beta']);
  expect(within(column('won')).getByText('No deals')).toBeInTheDocument();
  expect(within(column('lead')).getByRole('heading')).toHaveTextContent('Lead1 deals');
});

it('moves a deal with the keyboard, says so, and keeps the keyboard on it', async () => {
  const user = userEvent.setup();
  await renderApp('/deals?view=board');
  const handle = await screen.findByRole('button', { name: 'Move Alpha' });
  expect(handle).toHaveAccessibleDescription(/press the space bar or Enter/);
  handle.focus();
  await user.keyboard(' ');
  expect(await screen.findByText(/Picked up Alpha|Alpha is over Lead/)).toBeInTheDocument();
  await user.keyboard('{ArrowRight}');
  expect(await screen.findByText('Alpha is over Qualified.')).toBeInTheDocument();
  await user.keyboard('{ArrowRight}');
  expect(await screen.findByText('Alpha is over Proposal.')).toBeInTheDocument();
  await user.keyboard(' ');
  expect(await screen.findByText('Alpha was left in Proposal.')).toBeInTheDocument();
  await waitFor(() => {
    expect(names('proposal')).toEqual(['Alpha', 'Beta']);
  });
  expect(await screen.findByText('Alpha moved to Proposal.')).toBeInTheDocument();
  expect(api.sentTo('POST', '/api/deals/1/move').map(({ body }) => body)).toEqual([{ stage: 'proposal' }]);
  await waitFor(() => {
    expect(screen.getByRole('button', { name: 'Move Alpha' })).toHaveFocus();
  });
});

it('puts a deal back with Escape', async () => {
  const user = userEvent.setup();
  await renderApp('/deals?view=board');
  (await screen.findByRole('button', { name: 'Move Alpha' })).focus();
  await user.keyboard(' ');
  await user.keyboard('{ArrowRight}');
  expect(await screen.findByText('Alpha is over Qualified.')).toBeInTheDocument();
  await user.keyboard('{Escape}');
  expect(await screen.findByText('Alpha was put back.')).toBeInTheDocument();
  expect(names('lead')).toEqual(['Alpha']);
  expect(api.sent.filter(({ method }) => method === 'POST')).toEqual([]);
});

it('shows a move at once, and takes it back when it fails', async () => {
  const user = userEvent.setup();
  await renderApp('/deals?view=board');
  let answer: (response: Response) => void = () => undefined;
  api.answer('POST /api/deals/1/move', () => new Promise((resolve) => (answer = resolve)));
  await user.selectOptions(await screen.findByRole('combobox', { name: 'Stage of Alpha' }), 'Won');
  await waitFor(() => {
    expect(names('won')).toEqual(['Alpha']);
  });
  expect(names('lead')).toEqual([]);
  answer(apiError(503, 'database_unavailable', 'the database does not answer; nothing was changed'));
  expect(await screen.findByText('Alpha was not moved. The database does not answer; nothing was changed.')).toBeInTheDocument();
  expect(names('lead')).toEqual(['Alpha']);
});

it('shows more of a long column, a hundred at most, and then leads to the list', async () => {
  const user = userEvent.setup();
  for (let id = 3; id <= 130; id += 1) api.deals.push(makeDeal({ id, stage: 'won' }));
  await renderApp('/deals?view=board');
  await screen.findByText('Deal 3');
  const wanted = [40, 80, 100];
  for (const count of wanted) {
    await user.click(within(column('won')).getByRole('button', { name: 'Show more' }));
    await waitFor(() => {
      expect(names('won')).toHaveLength(count);
    });
  }
  expect(within(column('won')).queryByRole('button', { name: 'Show more' })).not.toBeInTheDocument();
  expect(within(column('won')).getByRole('link', { name: 'All 128 as a list' })).toHaveAttribute('href', '/deals?view=scroll&stage=won');
});
