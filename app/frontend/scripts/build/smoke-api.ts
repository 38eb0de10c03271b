/** Examples of what the API answers to a GET, for the smoke test of the build. */

const STAGES = ['lead', 'qualified', 'proposal', 'negotiation', 'won', 'lost'];
const MONTHS = 12;

const deals = STAGES.map((stage, index) => ({
  id: index + 1,
  name: `Deal ${index + 1}`,
  company: 'Northwind',
  owner: 'Ada Novak',
  stage,
  amount_cents: 1_000_000 * (index + 1),
  probability: 50,
  expected_close: '2026-12-31',
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-11-01T00:00:00.000Z',
}));

const activities = deals.map(({ id, name, owner }) => ({
  id,
  deal_id: id,
  deal_name: name,
  type: 'call',
  subject: 'Pricing',
  owner,
  happened_at: '2026-11-01T00:00:00.000Z',
}));

function page(items: readonly unknown[], query: URLSearchParams) {
  return { items, page: Number(query.get('page') ?? 1), page_size: Number(query.get('page_size') ?? 20), total: items.length };
}

export function answers(url: URL): unknown {
  switch (url.pathname) {
    case '/api/summary':
      return { open_count: 4, open_cents: 10_000_000, won_cents: 5_000_000, won_count: 1, win_rate: 0.5, average_cents: 5_000_000 };
    case '/api/pipeline':
      return { stages: deals.map(({ stage, amount_cents }) => ({ stage, count: 1, amount_cents, weighted_cents: amount_cents / 2 })) };
    case '/api/revenue':
      return {
        months: Array.from({ length: Number(url.searchParams.get('months') ?? MONTHS) }, (_, index) => ({
          month: new Date(Date.UTC(2026, index - 1, 1)).toISOString().slice(0, 7),
          won_cents: 100_000 * index,
          won_count: index,
          lost_count: 1,
        })),
      };
    case '/api/deals':
      return page(deals, url.searchParams);
    case '/api/activities':
      return page(activities, url.searchParams);
    case '/api/release':
      return { release: 'smoke' };
    default:
      return undefined;
  }
}
