import { act, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { App } from '../App';
import { apiError, FakeApi, makeDeal } from '../test/fakeApi';

const never = () => new Promise<Response>(() => undefined);
const down = () => apiError(503, 'database_unavailable', 'the database does not answer');

function panel(name: string): HTMLElement {
  return screen.getByRole('region', { name });
}

async function dealNames(): Promise<(string | null)[]> {
  const rows = await within(panel('Deals')).findAllByRole('rowheader');
  return rows.map((row) => row.textContent);
}

/** Waits until the list shows exactly these deals, in this order. */
async function expectDeals(...names: string[]): Promise<void> {
  await waitFor(async () => {
    expect(await dealNames()).toEqual(names);
  });
}

function stageOf(name: string): HTMLSelectElement {
  return screen.getByRole<HTMLSelectElement>('combobox', { name: `Stage of ${name}` });
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
    render(<App />);
    const summary = panel('Summary');
    expect(await within(summary).findByText('$12.5K')).toHaveAttribute('title', '$12,500.50');
    expect(within(summary).getByText('2 open deals')).toBeInTheDocument();
    expect(within(summary).getByText('1 won deal')).toBeInTheDocument();
    expect(within(summary).getByText('50%')).toBeInTheDocument();
  });

  it('shows count and amount of every stage, open and closed', async () => {
    render(<App />);
    const open = await screen.findByRole('list', { name: 'Open stages' });
    expect(within(open).getAllByRole('button').map((button) => button.textContent)).toEqual([
      'Lead1 deal, $10K',
      'Qualified0 deals, $0',
      'Proposal1 deal, $2.5K',
      'Negotiation0 deals, $0',
    ]);
    const closed = screen.getByRole('list', { name: 'Closed stages' });
    expect(within(closed).getAllByRole('button').map((button) => button.textContent)).toEqual([
      'Won1 deal, $40K',
      'Lost1 deal, $9K',
    ]);
    // 10 % of 10,000 and 42 % of 2,500.50
    expect(within(panel('Pipeline')).getByText('$2.05K')).toBeInTheDocument();
  });

  it('draws the revenue, and has it as a table', async () => {
    render(<App />);
    const revenue = panel('Revenue won');
    const table = await within(revenue).findByRole('table', { name: 'Revenue won, by month' });
    expect(within(table).getAllByRole('row')).toHaveLength(13);
    expect(within(table).getByRole('row', { name: 'November 2026 $40,000 1 1' })).toBeInTheDocument();
    // A month without revenue has no bar.
    await waitFor(() => {
      expect(revenue.querySelectorAll('.recharts-bar-rectangle path')).toHaveLength(1);
    });
  });

  it('says what loads', () => {
    for (const path of ['summary', 'pipeline', 'revenue', 'deals']) api.answer(`GET /api/${path}`, never);
    render(<App />);
    for (const text of ['Loading the summary', 'Loading the pipeline', 'Loading the revenue chart', 'Loading the deals']) {
      expect(screen.getByText(text)).toBeInTheDocument();
    }
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
  });

  it('says what is empty', async () => {
    api.deals.length = 0;
    render(<App />);
    expect(await screen.findByText('The pipeline is empty')).toBeInTheDocument();
    expect(await screen.findByText('No deal was closed yet')).toBeInTheDocument();
    expect(await screen.findByText('There are no deals yet')).toBeInTheDocument();
    expect(within(panel('Summary')).getByText('–')).toBeInTheDocument();
    expect(screen.queryByRole('table')).not.toBeInTheDocument();
  });

  it.each([
    ['summary', 'The summary could not be loaded'],
    ['pipeline', 'The pipeline could not be loaded'],
    ['revenue', 'The revenue could not be loaded'],
    ['deals', 'The deals could not be loaded'],
  ])('says that the %s failed, alone, and tries again', async (path, title) => {
    const user = userEvent.setup();
    api.answer(`GET /api/${path}`, down);
    render(<App />);
    const alert = await screen.findByRole('alert');
    expect(alert).toHaveTextContent(title);
    expect(alert).toHaveTextContent('The database does not answer.');
    api.restore(`GET /api/${path}`);
    await user.click(within(alert).getByRole('button', { name: 'Try again' }));
    await waitFor(() => {
      expect(screen.queryByRole('alert')).not.toBeInTheDocument();
    });
    expect(api.sentTo('GET', `/api/${path}`)).toHaveLength(2);
  });

  it('keeps what it shows when a refresh fails', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    api.answer('GET /api/deals', down);
    await user.click(screen.getByRole('button', { name: 'Refresh' }));
    expect(await screen.findByRole('alert')).toHaveTextContent('The deals could not be refreshed');
    expect(await dealNames()).toHaveLength(4);
  });

  it('refreshes for who comes back to stale figures, and not before', async () => {
    render(<App />);
    await screen.findByText('2 open deals');
    const back = () => {
      act(() => {
        document.dispatchEvent(new Event('visibilitychange'));
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

describe('the release', () => {
  it('is shown, and a new one is announced', async () => {
    const user = userEvent.setup();
    render(<App />);
    expect(await screen.findByText('r1')).toBeInTheDocument();
    expect(screen.queryByText(/new release/)).not.toBeInTheDocument();
    api.release = 'r2';
    await user.click(screen.getByRole('button', { name: 'Refresh' }));
    expect(await screen.findByText('r2')).toBeInTheDocument();
    expect(screen.getByText('A new release is being served.')).toBeInTheDocument();
    expect(screen.getByRole('button', { name: 'Reload the page' })).toBeInTheDocument();
  });
});

describe('the deal list', () => {
  it('filters by a stage, from the filter and from the pipeline', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Stage' }), 'Proposal');
    await expectDeals('Beta');
    expect(window.location.search).toBe('?stage=proposal');
    const proposal = screen.getByRole('button', { name: /^Proposal/ });
    expect(proposal).toHaveAttribute('aria-pressed', 'true');
    await user.click(proposal);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.click(screen.getByRole('button', { name: /^Won/ }));
    await expectDeals('Gamma');
  });

  it('searches once a person has stopped typing, and clears', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.type(screen.getByRole('searchbox', { name: 'Search deals' }), 'orbit');
    await expectDeals('Beta');
    expect(screen.getByText('1 deal found')).toBeInTheDocument();
    expect(api.sentTo('GET', '/api/deals').map((sent) => sent.params.get('q'))).toEqual([null, 'orbit']);
    await user.type(screen.getByRole('searchbox'), 'zzz');
    expect(await screen.findByText('No deal matches')).toBeInTheDocument();
    await user.click(screen.getByRole('button', { name: 'Clear the filters' }));
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    expect(window.location.search).toBe('');
  });

  it('does not take the answer of one filter for that of another', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    api.answer('GET /api/deals', down);
    await user.selectOptions(screen.getByRole('combobox', { name: 'Stage' }), 'Won');
    expect(await screen.findByText('The deals could not be loaded')).toBeInTheDocument();
    expect(screen.queryByText('Alpha')).not.toBeInTheDocument();
  });

  it('sorts by a column, the largest first, then the other way', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    const head = screen.getByRole('columnheader', { name: 'Amount' });
    await user.click(within(head).getByRole('button'));
    await expectDeals('Gamma', 'Alpha', 'Delta', 'Beta');
    expect(head).toHaveAttribute('aria-sort', 'descending');
    await user.click(within(head).getByRole('button'));
    await expectDeals('Beta', 'Delta', 'Alpha', 'Gamma');
    expect(head).toHaveAttribute('aria-sort', 'ascending');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Sort by' }), 'Name, A to Z');
    await expectDeals('Alpha', 'Beta', 'Delta', 'Gamma');
  });

  it('turns pages, stops at the ends, and starts anew with another filter', async () => {
    const user = userEvent.setup();
    for (let id = 5; id <= 45; id += 1) api.deals.push(makeDeal({ id }));
    render(<App />);
    expect(await screen.findByText('1–20 of 45')).toBeInTheDocument();
    const previous = screen.getByRole('button', { name: 'Previous' });
    const next = screen.getByRole('button', { name: 'Next' });
    expect(previous).toHaveAttribute('aria-disabled', 'true');
    await user.click(previous);
    await user.click(next);
    expect(await screen.findByText('21–40 of 45')).toBeInTheDocument();
    await user.click(next);
    expect(await screen.findByText('41–45 of 45')).toBeInTheDocument();
    expect(next).toHaveAttribute('aria-disabled', 'true');
    expect(next).toHaveFocus();
    await user.click(next);
    expect(window.location.search).toBe('?page=3');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Stage' }), 'Lead');
    expect(await screen.findByText('1–20 of 42')).toBeInTheDocument();
    expect(window.location.search).toBe('?stage=lead');
  });

  it('opens the view of the address, and leads back from a page that is no more', async () => {
    const user = userEvent.setup();
    window.history.replaceState(null, '', '/?page=9&sort=name&order=desc');
    render(<App />);
    expect(await screen.findByText('There is no page 9')).toBeInTheDocument();
    await user.click(screen.getByRole('button', { name: 'Go to the first page' }));
    await expectDeals('Gamma', 'Delta', 'Beta', 'Alpha');
  });
});

describe('moving a deal', () => {
  it('shows the new stage at once, refreshes the figures, and can be undone with its probability', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(stageOf('Beta').value).toBe('won');
    expect(await screen.findByText('Beta moved to Won.')).toBeInTheDocument();
    expect(await screen.findByText('2 won deals')).toBeInTheDocument();
    expect(api.deals[1]).toMatchObject({ stage: 'won', probability: 100 });

    await user.click(screen.getByRole('button', { name: 'Undo' }));
    expect(stageOf('Beta').value).toBe('proposal');
    expect(await screen.findByText('Beta is back in Proposal.')).toBeInTheDocument();
    expect(await screen.findByText('1 won deal')).toBeInTheDocument();
    expect(stageOf('Beta').value).toBe('proposal');
    expect(api.deals.find((deal) => deal.name === 'Beta')).toMatchObject({ stage: 'proposal', probability: 42 });
  });

  it('takes the new stage back when the move fails', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    api.answer('POST /api/deals/2/move', down);
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(await screen.findByText('Beta was not moved. The database does not answer.')).toBeInTheDocument();
    expect(stageOf('Beta').value).toBe('proposal');
    expect(api.sentTo('GET', '/api/deals')).toHaveLength(1);
  });

  it('looks again when somebody else was first', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    api.answer('POST /api/deals/2/move', () => {
      Object.assign(api.deals.find((deal) => deal.id === 2) ?? {}, { stage: 'won' });
      return apiError(409, 'already_in_stage', 'deal 2 is already in stage won');
    });
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(await screen.findByText(/Deal 2 is already in stage won/)).toBeInTheDocument();
    await waitFor(() => {
      expect(stageOf('Beta').value).toBe('won');
    });
  });

  it('leaves the page where it is when the deal stays in the list', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.selectOptions(stageOf('Beta'), 'Won');
    // As on a phone, whose picker takes the focus away.
    stageOf('Beta').blur();
    expect(await screen.findByText('2 won deals')).toBeInTheDocument();
    await waitFor(() => {
      expect(panel('Deals').querySelector('table')).toHaveAttribute('aria-busy', 'false');
    });
    expect(document.body).toHaveFocus();
  });

  it('keeps the keyboard in the list when the deal leaves it', async () => {
    const user = userEvent.setup();
    window.history.replaceState(null, '', '/?stage=proposal');
    render(<App />);
    await expectDeals('Beta');
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(await screen.findByText('No deal matches')).toBeInTheDocument();
    await waitFor(() => {
      expect(screen.getByRole('heading', { name: 'Deals' })).toHaveFocus();
    });
  });
});

describe('creating a deal', () => {
  async function open(user: ReturnType<typeof userEvent.setup>): Promise<HTMLElement> {
    await user.click(screen.getByRole('button', { name: 'New deal' }));
    return screen.findByRole('dialog', { name: 'New deal' });
  }

  async function fill(user: ReturnType<typeof userEvent.setup>, dialog: HTMLElement): Promise<void> {
    await user.type(within(dialog).getByLabelText('Deal'), 'Omega');
    await user.type(within(dialog).getByLabelText('Company'), 'Kestrel');
    await user.type(within(dialog).getByLabelText('Owner'), 'Tom Becker');
    await user.selectOptions(within(dialog).getByLabelText('Stage'), 'Negotiation');
    await user.type(within(dialog).getByLabelText('Amount (USD)'), '1,234.50');
  }

  it('sends what was filled in, shows the deal, and gives the focus back', async () => {
    const user = userEvent.setup();
    render(<App />);
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    const dialog = await open(user);
    expect(within(dialog).getByLabelText('Probability (%)')).toHaveValue('10');
    await fill(user, dialog);
    expect(within(dialog).getByLabelText('Probability (%)')).toHaveValue('75');
    await user.click(within(dialog).getByRole('button', { name: 'Create deal' }));
    expect(await screen.findByText('Omega created.')).toBeInTheDocument();
    expect(screen.queryByRole('dialog')).not.toBeInTheDocument();
    expect(screen.getByRole('button', { name: 'New deal' })).toHaveFocus();
    expect(api.sentTo('POST', '/api/deals').map((sent) => sent.body)).toEqual([
      {
        name: 'Omega',
        company: 'Kestrel',
        owner: 'Tom Becker',
        stage: 'negotiation',
        amount_cents: 123_450,
        probability: 75,
        expected_close: new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10),
      },
    ]);
    await expectDeals('Omega', 'Delta', 'Gamma', 'Beta', 'Alpha');
    expect(await screen.findByText('3 open deals')).toBeInTheDocument();
  });

  it('leads to the new deal when a filter hides it', async () => {
    const user = userEvent.setup();
    window.history.replaceState(null, '', '/?stage=won');
    render(<App />);
    await expectDeals('Gamma');
    const dialog = await open(user);
    await fill(user, dialog);
    await user.keyboard('{Enter}');
    await user.click(await screen.findByRole('button', { name: 'Show' }));
    await expectDeals('Omega');
  });

  it('names what is wrong at its field, sends nothing, and goes to the first', async () => {
    const user = userEvent.setup();
    render(<App />);
    const dialog = await open(user);
    await user.click(within(dialog).getByRole('button', { name: 'Create deal' }));
    const name = within(dialog).getByLabelText('Deal');
    expect(name).toHaveFocus();
    expect(name).toBeInvalid();
    expect(name).toHaveAccessibleDescription('Enter a name.');
    expect(within(dialog).getByLabelText('Amount (USD)')).toHaveAccessibleDescription(
      'Enter an amount like 12500 or 12,500.50.',
    );
    expect(within(dialog).getByLabelText('Probability (%)')).toBeValid();
    expect(api.sentTo('POST', '/api/deals')).toHaveLength(0);
  });

  it('keeps the form when the API refuses a field, and can send it again', async () => {
    const user = userEvent.setup();
    render(<App />);
    const dialog = await open(user);
    await fill(user, dialog);
    api.answer('POST /api/deals', () =>
      apiError(400, 'validation_failed', 'body.company is odd', [{ field: 'body.company', message: 'is odd' }]),
    );
    await user.click(within(dialog).getByRole('button', { name: 'Create deal' }));
    await waitFor(() => {
      expect(within(dialog).getByLabelText('Company')).toHaveAccessibleDescription('Is odd.');
    });
    expect(within(dialog).getByLabelText('Deal')).toHaveValue('Omega');
    api.restore('POST /api/deals');
    await user.click(within(dialog).getByRole('button', { name: 'Create deal' }));
    expect(await screen.findByText('Omega created.')).toBeInTheDocument();
  });

  it('says when the deal may exist all the same, and is not sent twice', async () => {
    const user = userEvent.setup();
    render(<App />);
    const dialog = await open(user);
    await fill(user, dialog);
    let answer: (response: Response) => void = () => undefined;
    api.answer('POST /api/deals', () => new Promise((resolve) => (answer = resolve)));
    await user.click(within(dialog).getByRole('button', { name: 'Create deal' }));
    await user.click(within(dialog).getByRole('button', { name: 'Creating …' }));
    expect(api.sentTo('POST', '/api/deals')).toHaveLength(1);
    answer(apiError(503, 'outcome_unknown', 'the database was lost during the commit; look before you repeat'));
    expect(await within(dialog).findByRole('alert')).toHaveTextContent('The deal may have been created');
  });

  it('closes with Escape, and is empty the next time', async () => {
    const user = userEvent.setup();
    render(<App />);
    await user.type(within(await open(user)).getByLabelText('Deal'), 'Om');
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('dialog')).not.toBeInTheDocument();
    expect(screen.getByRole('button', { name: 'New deal' })).toHaveFocus();
    expect(within(await open(user)).getByLabelText('Deal')).toHaveValue('');
  });

  it('injects no style element, which the CSP of the site forbids', async () => {
    const user = userEvent.setup();
    const before = document.querySelectorAll('style').length;
    render(<App />);
    await open(user);
    expect(document.querySelectorAll('style')).toHaveLength(before);
  });
});
