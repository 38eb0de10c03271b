import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { DEAL_SORTS } from '../src/queries.js';
import { createEnvironment, deal, get, send } from './support/env.js';

const environment = await createEnvironment();
await environment.migrate();
const app = await environment.app();

const create = async (more) => {
  const response = await send(app, 'POST', '/api/deals', deal(more));
  assert.equal(response.status, 201, JSON.stringify(response.body));
  return response.body;
};

describe('one deal', () => {
  test('is created with defaults, read, changed and deleted', async () => {
    const created = await send(app, 'POST', '/api/deals', deal());
    assert.equal(created.status, 201);
    assert.equal(created.headers.location, `/api/deals/${created.body.id}`);
    const inThirtyDays = new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10);
    const { id, created_at: createdAt, updated_at: updatedAt, ...rest } = created.body;
    assert.deepEqual(rest, {
      ...deal(), stage: 'lead', amount_cents: 0, probability: 10, expected_close: inThirtyDays,
    });
    assert.equal(createdAt, updatedAt);
    assert.deepEqual((await get(app, `/api/deals/${id}`)).body, created.body);

    const change = { amount_cents: 12_345, expected_close: '2027-02-28' };
    const changed = await send(app, 'PATCH', `/api/deals/${id}`, change);
    assert.equal(changed.status, 200);
    assert.ok(changed.body.updated_at > updatedAt);
    assert.deepEqual({ ...changed.body, updated_at: updatedAt }, { ...created.body, ...change });
    assert.deepEqual((await get(app, `/api/deals/${id}`)).body, changed.body);

    const deleted = await send(app, 'DELETE', `/api/deals/${id}`);
    assert.equal(deleted.status, 204);
    for (const [method, url, body] of [
      ['GET', `/api/deals/${id}`],
      ['PATCH', `/api/deals/${id}`, change],
      ['DELETE', `/api/deals/${id}`],
      ['POST', `/api/deals/${id}/move`, { stage: 'won' }],
    ]) {
      const response = await send(app, method, url, body);
      assert.equal(response.status, 404, `${method} ${url}`);
      assert.deepEqual(response.body, { error: { code: 'not_found', message: `deal ${id} does not exist` } });
    }
  });

  test('may be created in any stage, with the probability of that stage unless one is given', async () => {
    assert.equal((await create({ stage: 'negotiation' })).probability, 75);
    assert.equal((await create({ stage: 'proposal', probability: 33 })).probability, 33);
    assert.equal((await create({ stage: 'won' })).probability, 100);
  });

  test('keeps text as it was given', async () => {
    const name = `O'Reilly "100%" \\ _ ; DROP TABLE deals; -- \u{1F600}`;
    const { id } = await create({ name });
    assert.equal((await get(app, `/api/deals/${id}`)).body.name, name);
  });

  test('moves through the stages; each move leaves one activity', async () => {
    const { id } = await create();
    const moved = await send(app, 'POST', `/api/deals/${id}/move`, { stage: 'won' });
    assert.equal(moved.status, 200);
    assert.equal(moved.body.stage, 'won');
    assert.equal(moved.body.probability, 100);
    const again = await send(app, 'POST', `/api/deals/${id}/move`, { stage: 'won' });
    assert.deepEqual(again.body, moved.body);
    await send(app, 'POST', `/api/deals/${id}/move`, { stage: 'proposal' });
    const { items } = (await get(app, `/api/activities?deal_id=${id}`)).body;
    assert.deepEqual(items.map(({ type, subject, owner, deal_name: name }) => [type, subject, owner, name]), [
      ['stage_change', 'Moved from won to proposal', 'Grace Kim', 'Annual renewal'],
      ['stage_change', 'Moved from lead to won', 'Grace Kim', 'Annual renewal'],
    ]);
    const [{ closed_at: closedAt }] = await environment.sql('SELECT closed_at FROM deals WHERE id = $1', [id]);
    assert.equal(closedAt, null);
  });

  test('concurrent moves are one after the other: the history has no gap', async () => {
    const { id } = await create();
    const stages = ['qualified', 'proposal', 'negotiation', 'won', 'lost'];
    await Promise.all(stages.map((stage) => send(app, 'POST', `/api/deals/${id}/move`, { stage })));
    const rows = await environment.sql('SELECT subject FROM activities WHERE deal_id = $1 ORDER BY id', [id]);
    const moves = rows.map(({ subject }) => /^Moved from (\w+) to (\w+)$/.exec(subject).slice(1));
    assert.equal(moves.length, stages.length);
    moves.reduce((at, [from, to]) => (assert.equal(from, at), to), 'lead');
  });

  test('a move that cannot be recorded does not happen', async () => {
    const { id } = await create();
    await environment.sql("ALTER TABLE activities ADD CONSTRAINT no_moves CHECK (type <> 'stage_change') NOT VALID");
    const response = await send(app, 'POST', `/api/deals/${id}/move`, { stage: 'won' });
    await environment.sql('ALTER TABLE activities DROP CONSTRAINT no_moves');
    assert.equal(response.status, 400);
    assert.equal((await get(app, `/api/deals/${id}`)).body.stage, 'lead');
  });
});

describe('validation', () => {
  const refused = [
    ['POST', '/api/deals', {}, ['body.name', 'body.company', 'body.owner']],
    ['POST', '/api/deals', deal({ name: ' ' }), ['body.name']],
    ['POST', '/api/deals', deal({ name: 'a\u0000b' }), ['body.name']],
    ['POST', '/api/deals', deal({ name: 'x'.repeat(201) }), ['body.name']],
    ['POST', '/api/deals', deal({ name: 7 }), ['body.name']],
    ['POST', '/api/deals', deal({ amount_cents: '12' }), ['body.amount_cents']],
    ['POST', '/api/deals', deal({ amount_cents: -1 }), ['body.amount_cents']],
    ['POST', '/api/deals', deal({ amount_cents: 1.5 }), ['body.amount_cents']],
    ['POST', '/api/deals', deal({ probability: 101 }), ['body.probability']],
    ['POST', '/api/deals', deal({ expected_close: '2026-02-30' }), ['body.expected_close']],
    ['POST', '/api/deals', deal({ stage: 'closed' }), ['body.stage']],
    ['POST', '/api/deals', deal({ id: 1 }), ['body.id']],
    ['POST', '/api/deals', [], ['body']],
    ['POST', '/api/deals?dry=1', deal(), ['querystring.dry']],
    ['PATCH', '/api/deals/1', {}, ['body']],
    ['PATCH', '/api/deals/1', { stage: 'won' }, ['body.stage']],
    ['POST', '/api/deals/1/move', { stage: 'nowhere' }, ['body.stage']],
    ['POST', '/api/deals/1/move', {}, ['body.stage']],
    ['GET', '/api/deals/abc', undefined, ['params.id']],
    ['GET', '/api/deals/0', undefined, ['params.id']],
    ['GET', '/api/deals/2147483648', undefined, ['params.id']],
    ['GET', '/api/deals?colour=red', undefined, ['querystring.colour']],
    ['GET', '/api/deals?sort=id;drop', undefined, ['querystring.sort']],
    ['GET', '/api/deals?order=up', undefined, ['querystring.order']],
    ['GET', '/api/deals?page=0', undefined, ['querystring.page']],
    ['GET', '/api/deals?page_size=101', undefined, ['querystring.page_size']],
    ['GET', '/api/deals?stage=won&stage=lost', undefined, ['querystring.stage']],
    ['GET', '/api/deals?q=%00', undefined, ['querystring.q']],
  ];
  for (const [method, url, body, fields] of refused) {
    test(`refuses ${method} ${url} ${JSON.stringify(body)?.slice(0, 80) ?? ''}`, async () => {
      const response = await send(app, method, url, body);
      assert.equal(response.status, 400, JSON.stringify(response.body));
      assert.equal(response.body.error.code, 'validation_failed');
      assert.deepEqual([...new Set(response.body.error.details.map(({ field }) => field))], fields);
      for (const { message } of response.body.error.details) assert.match(message, /\S/);
    });
  }

  test('says what is allowed', async () => {
    const { body } = await get(app, '/api/deals?stage=closed');
    const message = 'must be one of lead, qualified, proposal, negotiation, won, lost';
    assert.deepEqual(body.error.details, [{ field: 'querystring.stage', message }]);
    assert.equal(body.error.message, `querystring.stage ${message}`);
  });

  const malformed = [
    ['a body that is not JSON', '{"name":', 'application/json', 400, 'bad_request'],
    ['a body of another type', 'name=x', 'text/plain', 415, 'unsupported_media_type'],
    ['a body that is too large', `"${'x'.repeat(70_000)}"`, 'application/json', 413, 'payload_too_large'],
    ['an empty body', '', 'application/json', 400, 'bad_request'],
  ];
  for (const [what, payload, type, status, code] of malformed) {
    test(`refuses ${what}`, async () => {
      const response = await send(app, 'POST', '/api/deals', payload, { 'content-type': type });
      assert.equal(response.status, status);
      assert.equal(response.body.error.code, code);
      assert.equal(response.headers['x-release'], 'r-test');
    });
  }

  test('a value that only the database can refuse is a 4xx', async () => {
    const response = await send(app, 'POST', '/api/deals', deal({ expected_close: '0000-01-01' }));
    assert.equal(response.status, 400);
    assert.equal(response.body.error.code, 'invalid_value');
  });
});

describe('the list', () => {
  const owner = 'List Owner';
  const rows = [
    { name: 'Alpha 100%', company: 'Zeta GmbH', stage: 'lead', amount_cents: 300, expected_close: '2027-01-03' },
    { name: 'Beta', company: 'Alpha Inc', stage: 'won', amount_cents: 100, expected_close: '2027-01-01' },
    { name: 'Gamma_x', company: 'Beta Ltd', stage: 'lead', amount_cents: 200, expected_close: '2027-01-02' },
    { name: 'Delta', company: 'Beta Ltd', stage: 'lost', amount_cents: 200, expected_close: '2027-01-02' },
  ];
  before(async () => {
    for (const row of rows) await create({ ...row, owner });
  });
  const names = async (query) => {
    const { status, body } = await get(app, `/api/deals?owner=${encodeURIComponent(owner)}&${query}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body.items.map(({ name }) => name.split(/[ _]/)[0]);
  };

  test('is newest first by default, with its page and total', async () => {
    const { body } = await get(app, `/api/deals?owner=${encodeURIComponent(owner)}`);
    assert.deepEqual(body.items.map(({ name }) => name), ['Delta', 'Gamma_x', 'Beta', 'Alpha 100%']);
    assert.deepEqual([body.page, body.page_size, body.total], [1, 20, 4]);
    assert.deepEqual(Object.keys(body.items[0]), ['id', 'name', 'company', 'owner', 'stage', 'amount_cents',
      'probability', 'expected_close', 'created_at', 'updated_at']);
  });

  const cases = [
    ['stage=lead', ['Gamma', 'Alpha']],
    ['stage=&q=&sort=', ['Delta', 'Gamma', 'Beta', 'Alpha']],
    ['q=ALPHA', ['Beta', 'Alpha']],
    ['q=beta%20ltd', ['Delta', 'Gamma']],
    ['q=b', ['Delta', 'Gamma', 'Beta', 'Alpha']],
    ['q=100%25', ['Alpha']],
    ['q=a_x', ['Gamma']],
    ['q=%5C', []],
    ['q=alpha&stage=won', ['Beta']],
    ['sort=name&order=asc', ['Alpha', 'Beta', 'Delta', 'Gamma']],
    ['sort=name', ['Gamma', 'Delta', 'Beta', 'Alpha']],
    ['sort=company&order=asc', ['Beta', 'Gamma', 'Delta', 'Alpha']],
    ['sort=amount_cents&order=asc', ['Beta', 'Gamma', 'Delta', 'Alpha']],
    ['sort=amount_cents&order=desc', ['Alpha', 'Delta', 'Gamma', 'Beta']],
    ['sort=expected_close&order=asc', ['Beta', 'Gamma', 'Delta', 'Alpha']],
    ['sort=updated_at&order=asc', ['Alpha', 'Beta', 'Gamma', 'Delta']],
  ];
  for (const [query, expected] of cases) {
    test(query, async () => assert.deepEqual(await names(query), expected));
  }

  test('pages cover every row once, in every order', async () => {
    for (const sort of DEAL_SORTS) {
      const seen = [];
      for (const page of [1, 2]) seen.push(...(await names(`sort=${sort}&page_size=3&page=${page}`)));
      assert.deepEqual(seen.sort(), ['Alpha', 'Beta', 'Delta', 'Gamma'], sort);
    }
    assert.deepEqual(await names('page=3&page_size=3'), []);
  });
});
