import { act, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { expectAccessible } from '../test/axe';
import { apiError, FakeApi, makeDeal } from '../test/fakeApi';
import { renderApp } from '../test/renderApp';

const never = () => new Promise<Response>(() => undefined);
const down = () => apiError(503, 'database_unavailable', 'the database does not answer');

function panel(name: string): HTMLElement {
  return screen.getByRole('region', { name });
}

let api: FakeApi;

beforeEach(() => {
  api = new FakeApi([
    makeDeal({ id: 1, name: 'Alpha', stage: 'lead', amount_cents: 1_000_000, probability: 10 }),
    makeDeal({ id: 2, name: 'Beta', stage: 'proposal', amount_cents: 250_050, probability: 42, company: 'Orbit' }),
    makeDeal({ id: 3, name: 'Gamma', stage: 'won', amount_cents: 4_000_000, probability: 100 }),
    makeDeal({ id: 4, name: 'Delta', stage: 'lost', amount_cents: 900_000, probability: 0 }),
  ]);
});

describe('the figures', () => {
  it('shows the summary', async () => {
    await renderApp('/');
    const summary = panel('Summary');
    expect(await within(summary).findByText('$12.5K')).toHaveAttribute('title', '$12,500.50');
    expect(within(summary).getByText('2 open deals')).toBeInTheDocument();
    expect(within(summary).getByText('1 won deal')).toBeInTheDocument();
    expect(within(summary).getByText('50%')).toBeInTheDocument();
  });

  it('shows count and amount of every stage, open and closed', async () => {
    await renderApp('/');
    const open = await screen.findByRole('list', { name: 'Open stages' });
    expect(within(open).getAllByRole('link').map((link) => link.textContent)).toEqual([
      'Lead1 deal, $10K',
      'Qualified0 deals, $0',
      'Proposal1 deal, $2.5K',
      'Negotiation0 deals, $0',
    ]);
    const closed = screen.getByRole('list', { name: 'Closed stages' });
    expect(within(closed).getAllByRole('link').map((link) => link.textContent)).toEqual([
      'Won1 deal, $40K',
      'Lost1 deal, $9K',
    ]);
    // 10 % of 10,000 and 42 % of 2,500.50
    expect(within(panel('Pipeline')).getByText('$2.05K')).toBeInTheDocument();
  });

  it('draws the revenue, and has it as a table', async () => {
    await renderApp('/');
    const revenue = panel('Revenue won');
    const table = await within(revenue).findByRole('table', { name: 'Revenue won, by month' });
    expect(within(table).getAllByRole('row')).toHaveLength(13);
    expect(within(table).getByRole('row', { name: 'November 2026 $40,000 1 1' })).toBeInTheDocument();
    // A month without revenue has no bar.
    await waitFor(() => {
      expect(revenue.querySelectorAll('.recharts-bar-rectangle path')).toHaveLength(1);
    });
  });

  it('says what loads', async () => {
    for (const path of ['summary', 'pipeline', 'revenue', 'activities']) api.answer(`GET /api/${path}`, never);
    await renderApp('/');
    for (const text of [
      'Loading the summary',
      'Loading the pipeline',
      'Loading the revenue',
      'Loading the win rate',
      'Loading the latest activity',
    ]) {
      expect(screen.getByText(text)).toBeInTheDocument();
    }
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
  });

  it('says what is empty', async () => {
    api.deals.length = 0;
    await renderApp('/');
    expect(await screen.findByText('The pipeline is empty')).toBeInTheDocument();
    expect(await screen.findAllByText('No deal was closed yet')).toHaveLength(2);
    expect(await screen.findByText('Nothing happened yet')).toBeInTheDocument();
    expect(await within(panel('Summary')).findByText('–')).toBeInTheDocument();
    expect(screen.queryByRole('table')).not.toBeInTheDocument();
  });

  it.each([
    ['summary', ['The summary could not be loaded']],
    ['pipeline', ['The pipeline could not be loaded']],
    ['revenue', ['The revenue could not be loaded', 'The win rate could not be loaded']],
    ['activities', ['The latest activity could not be loaded']],
  ])('says that the %s failed, alone, and tries again', async (path, titles) => {
    const user = userEvent.setup();
    api.answer(`GET /api/${path}`, down);
    await renderApp('/');
    const alerts = await screen.findAllByRole('alert');
    expect(alerts).toHaveLength(titles.length);
    for (const [index, title] of titles.entries()) {
      expect(alerts[index]).toHaveTextContent(title);
      expect(alerts[index]).toHaveTextContent('The database does not answer.');
    }
    api.restore(`GET /api/${path}`);
    await user.click(screen.getAllByRole('button', { name: 'Try again' })[0] ?? expect.fail('there is no button'));
    await waitFor(() => {
      expect(screen.queryByRole('alert')).not.toBeInTheDocument();
    });
    expect(api.sentTo('GET', `/api/${path}`)).toHaveLength(2);
  });

  it('keeps what it shows when a refresh fails', async () => {
    const user = userEvent.setup();
    await renderApp('/');
    await screen.findByText('2 open deals');
    api.answer('GET /api/summary', down);
    await user.click(screen.getByRole('button', { name: 'Refresh' }));
    expect(await screen.findByRole('alert')).toHaveTextContent('The summary could not be refreshed');
    expect(screen.getByText('2 open deals')).toBeInTheDocument();
  });

  it('refreshes for who comes back to stale figures, and not before', async () => {
    await renderApp('/');
    await screen.findByText('2 open deals');
    const back = () => {
      act(() => {
        window.dispatchEvent(new Event('visibilitychange'));
      });
    };
    back();
    expect(api.sentTo('GET', '/api/summary')).toHaveLength(1);
    const now = Date.now();
    vi.spyOn(Date, 'now').mockReturnValue(now + 61_000);
    back();
    await waitFor(() => {
      expect(api.sentTo('GET', '/api/summary')).toHaveLength(2);
    });
  });
});

it('has the win rate of each month, for everybody', async () => {
  await renderApp('/');
  const rates = await within(panel('Win rate')).findByRole('list', { name: 'Win rate by month' });
  const [october, november] = within(rates).getAllByRole('listitem').slice(-2);
  expect(october).toHaveTextContent('October 2026: –, 0 won, 0 lost');
  expect(november).toHaveTextContent('November 2026: 50%, 1 won, 1 lost');
});

it('shows the latest activity, which leads to its deal', async () => {
  api.activities.push({
    id: 1, deal_id: 2, deal_name: 'Beta', type: 'call', subject: 'About the price', owner: 'Ada', happened_at: '2026-11-01T10:00:00Z',
  });
  await renderApp('/');
  const latest = panel('Latest activity');
  expect(await within(latest).findByText('About the price')).toBeInTheDocument();
  expect(within(latest).getByRole('link', { name: 'Beta' })).toHaveAttribute('href', '/deals?q=Beta');
});

it('leads from a stage to its deals', async () => {
  const user = userEvent.setup();
  await renderApp('/');
  await user.click(await screen.findByRole('link', { name: /^Proposal/ }));
  expect(await screen.findByRole('rowheader', { name: 'Beta' })).toBeInTheDocument();
  expect(screen.getByRole('heading', { level: 1, name: 'Deals' })).toHaveFocus();
  expect(window.location.search).toBe('?stage=proposal');
});

it('is accessible', async () => {
  await renderApp('/');
  await screen.findByText('2 open deals');
  await screen.findByRole('list', { name: 'Win rate by month' });
  await expectAccessible();
});
