import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createEnvironment, deal, eventually, get, send, servers } from './support/env.js';
import { createProxy } from './support/proxy.js';

const environment = await createEnvironment();
await environment.migrate();
const proxy = await createProxy(servers.database);
const through = { DATABASE_HOST: proxy.host, DATABASE_PORT: String(proxy.port), DATABASE_CONNECT_TIMEOUT_MS: '500' };
const app = await environment.app(through);
const count = async (name) =>
  Number((await environment.sql('SELECT count(*) FROM deals WHERE name = $1', [name]))[0].count);

test('the connections have their limit, with the one that listens, and their name', async () => {
  await Promise.all(Array.from({ length: 20 }, (_, page) => get(app, `/api/deals?page=${page + 1}`)));
  const rows = await environment.sql(
    "SELECT application_name FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'sixty-api/%'",
    [environment.name]);
  assert.equal(rows.length, 5);
  assert.equal(rows[0].application_name, 'sixty-api/r-test');
});

test('PostgreSQL away: 503 with Retry-After, not ready; then everything comes back by itself', async () => {
  await proxy.cut();
  for (const [method, url, body] of [['GET', '/api/deals?page=99'], ['POST', '/api/deals', deal()]]) {
    const response = await send(app, method, url, body);
    assert.equal(response.status, 503);
    assert.equal(response.headers['retry-after'], '2');
    assert.equal(response.headers['x-release'], 'r-test');
    assert.equal(response.body.error.code, 'database_unavailable');
  }
  const ready = await get(app, '/health/ready');
  assert.equal(ready.status, 503);
  assert.deepEqual([ready.body.status, ready.body.checks], ['unavailable', { postgres: 'unavailable', redis: 'ok' }]);
  assert.equal((await get(app, '/health/live')).status, 200);
  assert.equal(app.lines.filter(({ level }) => level === 'error').length, 1, 'one error line for one outage');

  await proxy.restore();
  assert.equal((await get(app, '/api/deals?page=99')).status, 200);
  assert.equal((await get(app, '/health/ready')).status, 200);
  assert.equal((await send(app, 'POST', '/api/deals', deal())).status, 201);
});

test('connections ended by the server while idle cost no request', async () => {
  await get(app, '/api/deals?page=98');
  await environment.sql(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()',
    [environment.name]);
  for (let page = 50; page < 60; page += 1) assert.equal((await get(app, `/api/deals?page=${page}`)).status, 200);
});

describe('a connection lost', () => {
  const once = (pattern, action) => {
    proxy.intercept = (chunk, connection) => {
      if (!chunk.includes(pattern)) return false;
      proxy.intercept = () => false;
      return action(chunk, connection);
    };
  };
  const drop = (_, connection) => (connection.destroy(), true);

  test('during a read: it is repeated', async () => {
    once('FROM deals', drop);
    assert.equal((await get(app, '/api/deals?page=77')).status, 200);
  });

  test('during a write, before its commit: it is repeated and happens once', async () => {
    once('INSERT INTO deals', drop);
    assert.equal((await send(app, 'POST', '/api/deals', deal({ name: 'repeated' }))).status, 201);
    assert.equal(await count('repeated'), 1);
  });

  test('after the commit, before its answer: the outcome is said to be unknown, nothing is written twice', async () => {
    assert.equal((await get(app, '/api/deals?q=unknown')).body.total, 0);
    once('COMMIT', (chunk, connection) => {
      connection.upstream.unpipe();
      connection.upstream.write(chunk);
      setTimeout(() => connection.destroy(), 100);
      return true;
    });
    const response = await send(app, 'POST', '/api/deals', deal({ name: 'unknown' }));
    assert.equal(response.status, 503);
    assert.equal(response.body.error.code, 'outcome_unknown');
    assert.equal(response.headers['retry-after'], undefined);
    assert.equal(await count('unknown'), 1);
    // The row is there, so the next read must not come from before it.
    const { items } = (await get(app, '/api/deals?q=unknown')).body;
    assert.equal(items.length, 1);
  });

  test('before the commit reached the server: unknown as well, and the row is not there', async () => {
    once('COMMIT', drop);
    const response = await send(app, 'POST', '/api/deals', deal({ name: 'never' }));
    assert.equal(response.body.error.code, 'outcome_unknown');
    assert.equal(await count('never'), 0);
  });

  test('over and over: every acknowledged row is there, once, and the process lives', async () => {
    let lost = 0;
    const chaos = setInterval(() => {
      lost += proxy.connections();
      proxy.drop();
    }, 15);
    const acknowledged = [];
    for (let n = 0; n < 150; n += 1) {
      const response = await send(app, 'POST', '/api/deals', deal({ name: `chaos ${n}` }));
      if (response.status === 201) acknowledged.push(response.body.id);
      else assert.equal(response.status, 503, JSON.stringify(response.body));
    }
    clearInterval(chaos);
    assert.ok(lost >= 10 && acknowledged.length >= 10, `${lost} lost, ${acknowledged.length} acknowledged`);
    const rows = await environment.sql("SELECT id, name FROM deals WHERE name LIKE 'chaos %'");
    const there = new Set(rows.map(({ id }) => id));
    assert.deepEqual(acknowledged.filter((id) => !there.has(id)), []);
    assert.equal(new Set(rows.map(({ name }) => name)).size, rows.length);
    await eventually(async () => (await get(app, '/health/ready')).status === 200);
  });
});

test('a statement that takes too long is ended by the server', async () => {
  const slow = await environment.app({ DATABASE_STATEMENT_TIMEOUT_MS: '200' });
  const { id } = (await send(slow, 'POST', '/api/deals', deal())).body;
  const held = slow.db.transaction(async (query) => {
    await query('SELECT FROM deals WHERE id = $1 FOR UPDATE', [id]);
    const response = await send(slow, 'PATCH', `/api/deals/${id}`, { name: 'x' });
    assert.equal(response.status, 503);
    assert.equal(response.body.error.code, 'database_timeout');
  });
  await held;
});

test('a full disk is said to be full, and reads go on', async () => {
  await environment.sql(`
    CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER no_room BEFORE INSERT ON deals FOR EACH ROW EXECUTE FUNCTION no_room()`);
  const response = await send(app, 'POST', '/api/deals', deal({ name: 'no room' }));
  assert.deepEqual([response.status, response.body.error.code], [503, 'database_full']);
  assert.equal(response.headers['retry-after'], '30');
  assert.equal((await get(app, '/api/deals?page=97')).status, 200);
  assert.equal((await get(app, '/health/ready')).status, 200);
  await environment.sql('DROP TRIGGER no_room ON deals; DROP FUNCTION no_room');
  assert.equal((await send(app, 'POST', '/api/deals', deal({ name: 'no room' }))).status, 201);
});

test('a full pool is said to be busy; readiness does not suffer', async () => {
  const tiny = await environment.app({ DATABASE_POOL_MAX: '2', DATABASE_CONNECT_TIMEOUT_MS: '300' });
  await tiny.db.transaction(async (query) => {
    await query('SELECT 1');
    await get(tiny, '/health/ready');
    const response = await get(tiny, '/api/deals?page=2');
    assert.equal(response.status, 503);
    assert.equal(response.body.error.code, 'database_busy');
    assert.equal(response.headers['retry-after'], '1');
    assert.equal((await get(tiny, '/health/ready')).status, 200);
  });
  assert.equal((await get(tiny, '/api/deals?page=2')).status, 200);
});

test('a wrong password and a database without a schema are not ready', async () => {
  const wrong = await environment.app({ DATABASE_USER: 'nobody' }, { cached: false });
  assert.equal((await get(wrong, '/health/ready')).body.checks.postgres, 'unavailable');
  const empty = await createEnvironment();
  const bare = await empty.app({}, { cached: false });
  const { status, body } = await get(bare, '/health/ready');
  assert.deepEqual([status, body.checks.postgres], [503, 'not_migrated']);
  await empty.migrate();
  assert.equal((await get(bare, '/health/ready')).status, 200);
});
