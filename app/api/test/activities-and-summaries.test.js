import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { summarize } from '../src/routes/summaries.js';
import { createEnvironment, deal, get, send } from './support/env.js';

const environment = await createEnvironment();
await environment.migrate();
const app = await environment.app();

test('an empty database has complete, empty summaries', async () => {
  const { stages } = (await get(app, '/api/pipeline')).body;
  assert.deepEqual(stages.map(({ stage, count }) => [stage, count]),
    ['lead', 'qualified', 'proposal', 'negotiation', 'won', 'lost'].map((stage) => [stage, 0]));
  assert.deepEqual((await get(app, '/api/summary')).body,
    { open_count: 0, open_cents: 0, won_cents: 0, won_count: 0, win_rate: 0, average_cents: 0 });
  const { months } = (await get(app, '/api/revenue')).body;
  assert.equal(months.length, 12);
  assert.deepEqual(months.at(-1),
    { month: new Date().toISOString().slice(0, 7), won_cents: 0, won_count: 0, lost_count: 0 });
  assert.deepEqual((await get(app, '/api/deals')).body, { items: [], page: 1, page_size: 20, total: 0 });
});

describe('activities', () => {
  let id;
  const activity = (more) => ({ deal_id: id, type: 'call', subject: 'Pricing', owner: 'Hugo Moreau', ...more });
  before(async () => {
    id = (await send(app, 'POST', '/api/deals', deal())).body.id;
  });

  test('are recorded and listed newest first, filtered and in pages', async () => {
    const old = { happened_at: '2026-01-02T03:04:05.000Z' };
    const created = await send(app, 'POST', '/api/activities', activity({ ...old, type: 'email' }));
    assert.equal(created.status, 201);
    const { id: activityId, ...rest } = created.body;
    assert.deepEqual(rest, { ...activity({ ...old, type: 'email' }), deal_name: 'Annual renewal' });
    const now = (await send(app, 'POST', '/api/activities', activity())).body;
    assert.ok(Math.abs(Date.parse(now.happened_at) - Date.now()) < 60_000);

    const list = async (query) => (await get(app, `/api/activities?${query}`)).body;
    assert.deepEqual((await list(`deal_id=${id}`)).items.map((one) => one.id), [now.id, activityId]);
    assert.deepEqual((await list('type=email')).items, [created.body]);
    assert.deepEqual((await list('type=meeting')).items, []);
    const second = await list('page=2&page_size=1');
    assert.deepEqual([second.items[0].id, second.page, second.page_size, second.total], [activityId, 2, 1, 2]);
  });

  const refused = [
    [{ deal_id: 999_999 }, 422, 'unknown_deal'],
    [{ type: 'stage_change' }, 400, 'validation_failed'],
    [{ happened_at: 'yesterday' }, 400, 'validation_failed'],
    [{ subject: '' }, 400, 'validation_failed'],
    [{ colour: 'red' }, 400, 'validation_failed'],
  ];
  for (const [change, status, code] of refused) {
    test(`refuses ${JSON.stringify(change)}`, async () => {
      const response = await send(app, 'POST', '/api/activities', activity(change));
      assert.equal(response.status, status);
      assert.equal(response.body.error.code, code);
    });
  }

  test('leave with their deal', async () => {
    await send(app, 'DELETE', `/api/deals/${id}`);
    assert.equal((await get(app, '/api/activities')).body.total, 0);
  });
});

test('the summaries add up', async () => {
  const month = (back) => {
    const now = new Date();
    return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 15)).toISOString();
  };
  const rows = [
    ['lead', 1_000, null], ['lead', 2_001, null], ['negotiation', 4_000, null],
    ['won', 5_000, month(1)], ['won', 7_001, month(1)], ['lost', 9_000, month(1)], ['won', 100, month(5)],
  ];
  for (const [stage, cents, closed] of rows) {
    const { id } = (await send(app, 'POST', '/api/deals', deal({ stage, amount_cents: cents }))).body;
    if (closed !== null) await environment.sql('UPDATE deals SET closed_at = $1 WHERE id = $2', [closed, id]);
  }
  // The moment a deal closed was changed behind the API; this write makes that visible.
  await send(app, 'POST', '/api/deals', deal({ stage: 'qualified', amount_cents: 10 }));

  assert.deepEqual((await get(app, '/api/pipeline')).body.stages, [
    { stage: 'lead', count: 2, amount_cents: 3_001, weighted_cents: 300 },
    { stage: 'qualified', count: 1, amount_cents: 10, weighted_cents: 3 },
    { stage: 'proposal', count: 0, amount_cents: 0, weighted_cents: 0 },
    { stage: 'negotiation', count: 1, amount_cents: 4_000, weighted_cents: 3_000 },
    { stage: 'won', count: 3, amount_cents: 12_101, weighted_cents: 12_101 },
    { stage: 'lost', count: 1, amount_cents: 9_000, weighted_cents: 0 },
  ]);
  assert.deepEqual((await get(app, '/api/summary')).body, {
    open_count: 4, open_cents: 7_011, won_cents: 12_101, won_count: 3, win_rate: 0.75, average_cents: 4_034,
  });
  const { months } = (await get(app, '/api/revenue?months=3')).body;
  assert.deepEqual(months, [
    { month: month(2).slice(0, 7), won_cents: 0, won_count: 0, lost_count: 0 },
    { month: month(1).slice(0, 7), won_cents: 12_001, won_count: 2, lost_count: 1 },
    { month: month(0).slice(0, 7), won_cents: 0, won_count: 0, lost_count: 0 },
  ]);
  const all = (await get(app, '/api/revenue?months=36')).body.months;
  assert.equal(all.length, 36);
  assert.equal(all.reduce((sum, { won_cents: cents }) => sum + cents, 0), 12_101);
});

test('summarize divides by nothing without an error', () => {
  assert.equal(summarize([{ stage: 'lead', count: 1, amount_cents: 5 }]).win_rate, 0);
});

test('refuses a revenue of no or too many months', async () => {
  for (const months of [0, 37, 'x']) {
    assert.equal((await get(app, `/api/revenue?months=${months}`)).status, 400);
  }
});
