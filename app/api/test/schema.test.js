import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PG_MIGRATE_LOCK_ID } from 'node-pg-migrate';
import pg from 'pg';
import { connectionOptions } from '../src/db.js';
import { DEAL_SORTS, listActivities, listDeals, pipeline, revenue } from '../src/queries.js';
import { generate, seed } from '../src/seed.js';
import { createEnvironment } from './support/env.js';
import { run } from './support/server.js';

const environment = await createEnvironment();
const asOf = new Date('2026-11-24T00:00:00Z');
const count = async (table) => Number((await environment.sql(`SELECT count(*) FROM ${table}`))[0].count);

describe('migrate', () => {
  test('builds the schema without any privilege but the ownership of the database', async () => {
    const [role] = await environment.sql('SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = $1',
      [environment.name]);
    assert.deepEqual(role, { rolsuper: false, rolcreatedb: false });
    const { code, stdout, stderr } = await run('migrate.js', [], environment.env());
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout).migrated,
      ['1764000000000_deals-and-activities', '1764000001000_deal-search', '1764000002000_deal-events']);
  });

  test('a second time does nothing', async () => {
    const { code, stdout } = await run('migrate.js', [], environment.env());
    assert.deepEqual([code, JSON.parse(stdout)], [0, { migrated: [] }]);
  });

  test('an older release runs on the schema of a newer one', async () => {
    await environment.sql("INSERT INTO schema_migrations (name, run_on) VALUES ('1999000000000_newer', now())");
    assert.deepEqual(await environment.migrate(), []);
    await environment.sql("DELETE FROM schema_migrations WHERE name = '1999000000000_newer'");
  });

  test('two at once: both succeed, the work is done once', async () => {
    const other = await createEnvironment();
    const runs = await Promise.all([other.migrate(), other.migrate()]);
    assert.deepEqual(runs.map(({ length }) => length).sort(), [0, 3]);
  });

  test('does not wait for a lock for ever: exit 75 and a reason', async () => {
    const client = new pg.Client(connectionOptions(environment.commandConfig.database, 'test'));
    await client.connect();
    await client.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
    const { code, stderr } = await run('migrate.js', [], environment.env({ MIGRATE_LOCK_TIMEOUT_SECONDS: '1' }));
    await client.end();
    assert.equal(code, 75);
    assert.match(stderr, /^migrate: another session held a lock for too long; nothing was changed/);
  });

  test('a database that is away: exit 69 and a reason', async () => {
    const { code, stderr } = await run('migrate.js', [], environment.env({ DATABASE_PORT: '1' }));
    assert.equal(code, 69);
    assert.match(stderr, /^migrate: the database cannot be used: .*ECONNREFUSED/);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
});

describe('seed', () => {
  test('is the same for the same day, and plausible', () => {
    const deals = generate(2_000, asOf);
    assert.deepEqual(generate(2_000, asOf), deals);
    assert.equal(new Set(deals.map(({ stage }) => stage)).size, 6);
    for (const { created_at: created, closed_at: closed, stage, activities, amount_cents: cents } of deals) {
      assert.equal(closed !== null, stage === 'won' || stage === 'lost');
      assert.ok(created < asOf.toISOString() && (closed ?? created) <= asOf.toISOString());
      assert.ok(Number.isInteger(cents) && cents >= 10_000);
      for (const { happened_at: at } of activities) assert.ok(at >= created && at <= asOf.toISOString());
    }
    const span = Date.parse(deals.at(-1).created_at) - Date.parse(deals[0].created_at);
    assert.ok(span > 500 * 86_400_000);
  });

  test('fills an empty database with the rows that were asked for', async () => {
    const { code, stdout, stderr } = await run('seed.js', ['--rows', '5000', '--if-empty', '--as-of', '2026-11-24'],
      environment.env());
    assert.equal(code, 0, stderr);
    const { seeded } = JSON.parse(stdout);
    assert.equal(seeded.deals, 5_000);
    assert.deepEqual([await count('deals'), await count('activities')], [5_000, seeded.activities]);
  });

  test('with --if-empty leaves a filled database alone; without it adds', async () => {
    const { code, stdout } = await run('seed.js', ['--rows', '10', '--if-empty'], environment.env());
    assert.deepEqual([code, JSON.parse(stdout).seeded], [0, { deals: 0, activities: 0 }]);
    assert.equal(await count('deals'), 5_000);
    await seed(environment.commandConfig, { rows: 10, ifEmpty: false, asOf });
    assert.equal(await count('deals'), 5_010);
  });

  test('two at once fill an empty database once', async () => {
    const other = await createEnvironment();
    await other.migrate();
    const options = { rows: 100, ifEmpty: true, asOf };
    const runs = await Promise.all([seed(other.commandConfig, options), seed(other.commandConfig, options)]);
    assert.deepEqual(runs.map(({ deals }) => deals).sort((a, b) => a - b), [0, 100]);
  });

  for (const args of [[], ['--rows', '0'], ['--rows', 'many'], ['--rows', '5', '--as-of', 'x'], ['--colour', 'red']]) {
    test(`refuses ${JSON.stringify(args)}`, async () => {
      const { code, stderr } = await run('seed.js', args, environment.env());
      assert.equal(code, 78);
      assert.match(stderr, /^seed: bad configuration, nothing was started:\n {2}- \S/);
    });
  }
});

// On the 5,000 rows seeded above, with the planner left alone.
describe('every query is answered by an index', () => {
  const nodes = (plan) => [plan, ...(plan.Plans ?? []).flatMap(nodes)];

  async function plan({ text, values }) {
    const [row] = await environment.sql(`EXPLAIN (FORMAT JSON) ${text}`, values);
    const all = nodes(row['QUERY PLAN'][0].Plan);
    return {
      sequential: all.filter((node) => node['Node Type'] === 'Seq Scan').map((node) => node['Relation Name']),
      sorts: all.filter((node) => node['Node Type'].includes('Sort')).length,
      indexes: all.map((node) => node['Index Name']).filter(Boolean),
      types: all.map((node) => node['Node Type']),
    };
  }

  const list = (more) => listDeals({ sort: 'created_at', order: 'desc', page: 1, page_size: 20, ...more });
  const index = { created_at: 'deals_created', updated_at: 'deals_updated', name: 'deals_name',
    company: 'deals_company', amount_cents: 'deals_amount', expected_close: 'deals_expected_close' };
  for (const sort of DEAL_SORTS) {
    for (const order of ['asc', 'desc']) {
      test(`the list by ${sort} ${order}: no sort, no table scan`, async () => {
        const { sequential, sorts, indexes } = await plan(list({ sort, order }).rows);
        assert.deepEqual({ sequential, sorts, indexes }, { sequential: [], sorts: 0, indexes: [index[sort]] });
      });
    }
  }

  const filters = [
    ['stage', { stage: 'proposal' }, /^deals_(stage_created|pipeline)$/],
    // An owner has every eighth deal: walking the newest first finds a page as soon.
    ['owner', { owner: 'Grace Kim' }, /^deals_(owner_)?created$/],
    ['owner (rare)', { owner: 'Nobody' }, /^deals_owner_created$/],
    ['q', { q: 'silver peak robotics' }, /^deals_search$/],
  ];
  for (const [name, filter, expected] of filters) {
    for (const part of ['rows', 'count']) {
      test(`the list filtered by ${name}: ${part}`, async () => {
        const { sequential, indexes } = await plan(list(filter)[part]);
        assert.deepEqual(sequential, []);
        assert.ok(indexes.some((one) => expected.test(one)), indexes.join());
      });
    }
  }

  test('the summaries read indexes alone', async () => {
    for (const [query, expected] of [[pipeline(), 'deals_pipeline'], [revenue(12), 'deals_closed']]) {
      const { sequential, indexes, types } = await plan(query);
      assert.deepEqual([sequential, indexes], [[], [expected]]);
      assert.ok(types.includes('Index Only Scan'), types.join());
    }
  });

  const activities = [
    [{}, 'activities_happened'], [{ deal_id: 77 }, 'activities_deal_happened'],
    [{ type: 'call' }, 'activities_type_happened'],
  ];
  for (const [filter, expected] of activities) {
    test(`the activities by ${JSON.stringify(filter)}`, async () => {
      const { sequential, indexes } = await plan(listActivities({ page: 1, page_size: 20, ...filter }).rows);
      assert.ok(!sequential.includes('activities') && indexes.includes(expected), indexes.join());
    });
  }
});
