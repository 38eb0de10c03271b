import { act, fireEvent, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { expectAccessible } from '../test/axe';
import { apiError, FakeApi, makeDeal } from '../test/fakeApi';
import { renderApp } from '../test/renderApp';

const down = () => apiError(503, 'database_unavailable', 'the database does not answer');

function panel(name: string): HTMLElement {
  return screen.getByRole('region', { name });
}

async function dealNames(): Promise<(string | null)[]> {
  const rows = await screen.findAllByRole('rowheader');
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

describe('the deal list', () => {
  it('filters by a stage', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Stage' }), 'Proposal');
    await expectDeals('Beta');
    expect(window.location.search).toBe('?stage=proposal');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Stage' }), 'All stages');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
  });

  it('has new rows for another question, and the same ones for a newer answer', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    const row = () => screen.getByRole('rowheader', { name: 'Beta' });
    const first = row();
    await user.click(screen.getByRole('button', { name: 'Refresh' }));
    await waitFor(() => {
      expect(api.sentTo('GET', '/api/deals')).toHaveLength(2);
    });
    expect(row()).toBe(first);
    await user.selectOptions(screen.getByRole('combobox', { name: 'Stage' }), 'Proposal');
    await expectDeals('Beta');
    expect(row()).not.toBe(first);
  });

  it('searches once a person has stopped typing, and clears', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
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
    await renderApp('/deals');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    api.answer('GET /api/deals', down);
    await user.selectOptions(screen.getByRole('combobox', { name: 'Stage' }), 'Won');
    expect(await screen.findByText('The deals could not be loaded')).toBeInTheDocument();
    expect(screen.queryByText('Alpha')).not.toBeInTheDocument();
  });

  it('sorts by a column, the largest first, then the other way', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
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
    await renderApp('/deals');
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
    await renderApp('/deals?page=9&sort=name&order=desc');
    expect(await screen.findByText('There is no page 9')).toBeInTheDocument();
    await user.click(screen.getByRole('button', { name: 'Go to the first page' }));
    await expectDeals('Gamma', 'Delta', 'Beta', 'Alpha');
  });
});

describe('moving a deal', () => {
  it('shows the new stage at once, refreshes the figures, and can be undone with its probability', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(stageOf('Beta').value).toBe('won');
    expect(await screen.findByText('Beta moved to Won.')).toBeInTheDocument();
    expect(api.deals.find((deal) => deal.name === 'Beta')).toMatchObject({ stage: 'won', probability: 100 });

    await user.click(screen.getByRole('button', { name: 'Undo' }));
    expect(stageOf('Beta').value).toBe('proposal');
    expect(await screen.findByText('Beta is back in Proposal.')).toBeInTheDocument();
    expect(stageOf('Beta').value).toBe('proposal');
    expect(api.deals.find((deal) => deal.name === 'Beta')).toMatchObject({ stage: 'proposal', probability: 42 });
  });

  it('takes the new stage back when the move fails', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    api.answer('POST /api/deals/2/move', down);
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(await screen.findByText('Beta was not moved. The database does not answer.')).toBeInTheDocument();
    expect(stageOf('Beta').value).toBe('proposal');
  });

  it('looks again when somebody else was first', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
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
    await renderApp('/deals');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    await user.selectOptions(stageOf('Beta'), 'Won');
    // As on a phone, whose picker takes the focus away.
    stageOf('Beta').blur();
    expect(await screen.findByText('Beta moved to Won.')).toBeInTheDocument();
    await waitFor(() => {
      expect(panel('Deals').querySelector('table')).toHaveAttribute('aria-busy', 'false');
    });
    expect(document.body).toHaveFocus();
  });

  it('keeps the keyboard in the list when the deal leaves it', async () => {
    const user = userEvent.setup();
    await renderApp('/deals?stage=proposal');
    await expectDeals('Beta');
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(await screen.findByText('No deal matches')).toBeInTheDocument();
    await waitFor(() => {
      expect(screen.getByRole('group', { name: 'Deals' })).toHaveFocus();
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
    await renderApp('/deals');
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
  });

  it('leads to the new deal when a filter hides it', async () => {
    const user = userEvent.setup();
    await renderApp('/deals?stage=won');
    await expectDeals('Gamma');
    const dialog = await open(user);
    await fill(user, dialog);
    await user.keyboard('{Enter}');
    await user.click(await screen.findByRole('button', { name: 'Show' }));
    await expectDeals('Omega');
  });

  it('names what is wrong at its field, sends nothing, and goes to the first', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
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
    await renderApp('/deals');
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
    await renderApp('/deals');
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
    await renderApp('/deals');
    await user.type(within(await open(user)).getByLabelText('Deal'), 'Om');
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('dialog')).not.toBeInTheDocument();
    await waitFor(() => {
      expect(screen.getByRole('button', { name: 'New deal' })).toHaveFocus();
    });
    expect(within(await open(user)).getByLabelText('Deal')).toHaveValue('');
  });

  it('injects no style element, which the CSP of the site forbids', async () => {
    const user = userEvent.setup();
    const before = document.querySelectorAll('style').length;
    await renderApp('/deals');
    await open(user);
    expect(document.querySelectorAll('style')).toHaveLength(before);
  });
});

describe('editing a deal', () => {
  it('sends what was changed, and gives the focus back', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await user.click(await screen.findByRole('button', { name: 'Beta' }));
    const dialog = await screen.findByRole('dialog', { name: 'Edit deal' });
    expect(within(dialog).getByLabelText('Amount (USD)')).toHaveValue('2500.50');
    expect(within(dialog).queryByLabelText('Stage')).not.toBeInTheDocument();
    await user.clear(within(dialog).getByLabelText('Company'));
    await user.type(within(dialog).getByLabelText('Company'), 'Comet');
    await user.click(within(dialog).getByRole('button', { name: 'Save' }));
    expect(await screen.findByText('Beta saved.')).toBeInTheDocument();
    expect(api.sentTo('PATCH', '/api/deals/2').map((sent) => sent.body)).toEqual([{ company: 'Comet' }]);
    expect(await screen.findByRole('cell', { name: 'Comet' })).toBeInTheDocument();
    expect(screen.getByRole('button', { name: 'Beta' })).toHaveFocus();
  });

  it('sends nothing when nothing was changed', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await user.click(await screen.findByRole('button', { name: 'Beta' }));
    await user.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Save' }));
    expect(screen.queryByRole('dialog')).not.toBeInTheDocument();
    expect(api.sentTo('PATCH', '/api/deals/2')).toHaveLength(0);
  });

  it('says that the deal is gone', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await user.click(await screen.findByRole('button', { name: 'Beta' }));
    const dialog = await screen.findByRole('dialog');
    api.deals.splice(1, 1);
    await user.type(within(dialog).getByLabelText('Owner'), 'x');
    await user.click(within(dialog).getByRole('button', { name: 'Save' }));
    expect(await within(dialog).findByRole('alert')).toHaveTextContent('Deal 2 does not exist.');
  });
});

describe('offline', () => {
  it('refuses a change at once, and sends nothing later', async () => {
    const user = userEvent.setup();
    await renderApp('/deals');
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(false);
    await user.selectOptions(stageOf('Beta'), 'Won');
    expect(await screen.findByText(/Beta was not moved\. You are offline, so nothing was sent/)).toBeInTheDocument();
    expect(stageOf('Beta').value).toBe('proposal');
    vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(true);
    act(() => {
      window.dispatchEvent(new Event('online'));
    });
    await expectDeals('Delta', 'Gamma', 'Beta', 'Alpha');
    expect(api.sent.filter(({ method }) => method !== 'GET')).toEqual([]);
  });
});

describe('all deals in one table', () => {
  beforeEach(() => {
    // jsdom has no layout: a window of 520 px, which the virtualiser measures so.
    vi.spyOn(Element.prototype, 'clientHeight', 'get').mockReturnValue(520);
    for (let id = 5; id <= 5_000; id += 1) api.deals.push(makeDeal({ id }));
  });

  it('loads the first hundred, and has the rows on screen only', async () => {
    await renderApp('/deals?view=scroll');
    expect(await screen.findByRole('rowheader', { name: 'Deal 5000' })).toBeInTheDocument();
    const table = screen.getByRole('table', { name: 'Deals' });
    expect(table).toHaveAttribute('aria-rowcount', '5001');
    expect(within(table).getAllByRole('row').length).toBeLessThan(40);
    expect(screen.getByRole('row', { name: /Deal 5000/ })).toHaveAttribute('aria-rowindex', '2');
    expect(api.sentTo('GET', '/api/deals').map(({ params }) => [params.get('page'), params.get('page_size')])).toEqual([['1', '100']]);
  });

  it('loads what is scrolled to, and nothing in between', async () => {
    await renderApp('/deals?view=scroll');
    await screen.findByRole('rowheader', { name: 'Deal 5000' });
    const region = screen.getByRole('region', { name: 'All deals' });
    for (const row of [300, 900, 2_500]) {
      region.scrollTop = row * 52;
      fireEvent.scroll(region);
    }
    expect(screen.getAllByText('Loading …').length).toBeGreaterThan(5);
    expect(await screen.findByRole('rowheader', { name: 'Deal 2500' })).toBeInTheDocument();
    expect(api.sentTo('GET', '/api/deals').map(({ params }) => params.get('page'))).toEqual(['1', '25', '26']);
  });

  it('says which deals failed, and tries them again', async () => {
    const user = userEvent.setup();
    await renderApp('/deals?view=scroll');
    await screen.findByRole('rowheader', { name: 'Deal 5000' });
    api.answer('GET /api/deals', down);
    const region = screen.getByRole('region', { name: 'All deals' });
    region.scrollTop = 3_050 * 52;
    fireEvent.scroll(region);
    expect(await screen.findByRole('alert')).toHaveTextContent('Some deals could not be loaded');
    api.restore('GET /api/deals');
    await user.click(screen.getByRole('button', { name: 'Try again' }));
    expect(await screen.findByRole('rowheader', { name: 'Deal 1950' })).toBeInTheDocument();
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
  });
});

it.each(['', '?view=scroll', '?view=board'])('is accessible: /deals%s', async (search) => {
  vi.spyOn(Element.prototype, 'clientHeight', 'get').mockReturnValue(520);
  await renderApp(`/deals${search}`);
  await screen.findByText('Beta');
  await expectAccessible();
});
