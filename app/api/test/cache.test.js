import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createEnvironment, deal, eventually, get, send, servers } from './support/env.js';
import { createProxy } from './support/proxy.js';

const environment = await createEnvironment();
await environment.migrate();
const blue = await environment.app({ RELEASE_ID: 'blue' });
const green = await environment.app({ RELEASE_ID: 'green' });
const { body: first } = await send(blue, 'POST', '/api/deals', deal());

const source = async (app, url) => (await get(app, url)).headers['x-cache'];
const status = async (app) => (await get(app, '/health/ready')).body.status;
const rename = (app, name) => send(app, 'PATCH', `/api/deals/${first.id}`, { name });
const nameSeen = async (app) => (await get(app, `/api/deals/${first.id}`)).body.name;

describe('two levels', () => {
  test('a repeated read comes from memory, and is the same', async () => {
    const url = '/api/deals?owner=Grace%20Kim';
    const miss = await get(blue, url);
    const hit = await get(blue, url);
    assert.deepEqual([miss.headers['x-cache'], hit.headers['x-cache']], ['miss', 'hit-memory']);
    assert.deepEqual(hit.body, miss.body);
    assert.equal(hit.headers['content-type'], miss.headers['content-type']);
    assert.equal(await source(blue, '/api/deals?order=desc&owner=Grace%20Kim&page=1'), 'hit-memory');
    assert.equal(await source(blue, '/api/deals?owner=Grace%20Kim&page=2'), 'miss');
  });

  test('another process of the same release finds it in Redis; another release does not', async () => {
    const second = await environment.app({ RELEASE_ID: 'blue' });
    assert.equal(await source(blue, '/api/pipeline'), 'miss');
    assert.equal(await source(second, '/api/pipeline'), 'hit-redis');
    assert.equal(await source(second, '/api/pipeline'), 'hit-memory');
    assert.equal(await source(green, '/api/pipeline'), 'miss');
  });

  test('memory keeps no more entries than allowed; Redis has the rest', async () => {
    const small = await environment.app({ RELEASE_ID: 'small', CACHE_MAX_ENTRIES: '2' });
    for (const months of [1, 2, 3]) assert.equal(await source(small, `/api/revenue?months=${months}`), 'miss');
    assert.equal(small.cache.entries(), 2);
    assert.equal(await source(small, '/api/revenue?months=1'), 'hit-redis');
    assert.equal(await source(small, '/api/revenue?months=3'), 'hit-memory');
  });

  test('an entry ends after its time, in memory no later than in Redis', async () => {
    const short = await environment.app({ RELEASE_ID: 'short', CACHE_TTL_SECONDS: '1' });
    const peer = await environment.app({ RELEASE_ID: 'short', CACHE_TTL_SECONDS: '1' });
    assert.equal(await source(short, '/api/summary'), 'miss');
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.equal(await source(peer, '/api/summary'), 'hit-redis');
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.equal(await source(peer, '/api/summary'), 'miss');
  });

  test('requests that miss together make one query, and share its error', async () => {
    let calls = 0;
    const load = async () => {
      calls += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (calls === 1) throw new Error('first');
      return `call ${calls}`;
    };
    const many = () => Promise.allSettled(Array.from({ length: 20 }, () => blue.cache.fetch('together', load)));
    assert.deepEqual(new Set((await many()).map(({ reason }) => reason.message)), new Set(['first']));
    assert.deepEqual(new Set((await many()).map(({ value }) => value.payload)), new Set(['call 2']));
    assert.equal(calls, 2);
  });

  test('an absence is not kept', async () => {
    assert.equal((await get(blue, '/api/deals/999999')).status, 404);
    await environment.sql(`INSERT INTO deals (id, name, company, owner, stage, amount_cents, probability,
                                              expected_close)
                           VALUES (999999, 'a', 'b', 'c', 'lead', 0, 0, now())`);
    assert.equal((await get(blue, '/api/deals/999999')).status, 200);
  });
});

describe('a write', () => {
  const urls = ['/api/deals', '/api/deals?q=renewal', `/api/deals/${first.id}`, '/api/activities', '/api/pipeline',
    '/api/revenue', '/api/summary'];
  const writes = [
    ['create', () => send(blue, 'POST', '/api/deals', deal())],
    ['change', () => rename(blue, 'Changed')],
    ['move', () => send(blue, 'POST', `/api/deals/${first.id}/move`, { stage: 'proposal' })],
    ['activity', () => send(blue, 'POST', '/api/activities',
      { deal_id: first.id, type: 'note', subject: 'x', owner: 'y' })],
    ['delete', async () => {
      const [{ id }] = (await get(blue, '/api/deals?page_size=1')).body.items;
      return send(blue, 'DELETE', `/api/deals/${id}`);
    }],
  ];
  for (const [what, write] of writes) {
    test(`(${what}) is seen by the next read of every process`, async () => {
      for (const app of [blue, green]) for (const url of urls) await get(app, url);
      for (const app of [blue, green]) for (const url of urls) assert.equal(await source(app, url), 'hit-memory', url);
      const { status: code } = await write();
      assert.ok(code >= 200 && code < 300, String(code));
      for (const app of [blue, green]) for (const url of urls) assert.equal(await source(app, url), 'miss', url);
    });
  }

  test('100 writes here are each read back there, at once', async () => {
    for (let round = 0; round < 50; round += 1) {
      await rename(blue, `blue ${round}`);
      assert.equal(await nameSeen(green), `blue ${round}`);
      await rename(green, `green ${round}`);
      assert.equal(await nameSeen(blue), `green ${round}`);
    }
  });

  test('that is refused leaves the cache as it is', async () => {
    await get(blue, '/api/pipeline');
    await send(blue, 'POST', '/api/deals', {});
    assert.equal(await source(blue, '/api/pipeline'), 'hit-memory');
  });

  test('an evicted generation makes every entry unreachable, once', async () => {
    await get(blue, '/api/pipeline');
    await environment.redis.del('sixty:api:generation');
    assert.equal(await source(blue, '/api/pipeline'), 'miss');
    assert.equal(await source(blue, '/api/pipeline'), 'hit-memory');
  });
});

describe('without Redis', async () => {
  const proxy = await createProxy(servers.redis);
  const app = await environment.app({ RELEASE_ID: 'cut', REDIS_HOST: proxy.host, REDIS_PORT: String(proxy.port) });

  test('serves from PostgreSQL, fast, says so, and comes back by itself', async () => {
    assert.equal(await source(app, '/api/pipeline'), 'miss');
    assert.equal(await source(app, '/api/pipeline'), 'hit-memory');
    await proxy.cut();
    await eventually(() => !app.cache.isTrusted());

    const start = performance.now();
    for (let i = 0; i < 20; i += 1) assert.equal(await source(app, '/api/pipeline'), 'bypass');
    assert.ok(performance.now() - start < 1_000, `20 reads took ${performance.now() - start} ms`);
    const ready = await get(app, '/health/ready');
    assert.equal(ready.status, 200);
    const checks = { postgres: 'ok', redis: 'unavailable' };
    assert.deepEqual(ready.body, { status: 'degraded', release: 'cut', checks });

    // A write is seen by the next read here, and the entry from before the outage is dead when Redis is back.
    assert.equal((await rename(app, 'while away')).status, 200);
    assert.equal(await nameSeen(app), 'while away');
    await proxy.restore();
    await eventually(async () => (await status(app)) === 'ok');
    assert.equal(await source(app, '/api/pipeline'), 'miss');
    assert.equal(await source(app, '/api/pipeline'), 'hit-memory');
    assert.equal(await nameSeen(blue), 'while away');
    const complaints = app.lines.filter(({ msg }) => /cannot be used/.test(msg));
    assert.ok(complaints.length >= 1 && complaints.length <= 4, `${complaints.length} lines about one outage`);
  });

  test('a write that Redis did not hear of is made good when it is back', async () => {
    assert.equal(await nameSeen(blue), await nameSeen(app));
    await proxy.cut();
    await eventually(() => !app.cache.isTrusted());
    await nameSeen(blue);
    await rename(app, 'unheard');
    assert.notEqual(await nameSeen(blue), 'unheard', 'blue was told, so this test tests nothing');
    await proxy.restore();
    await eventually(async () => (await status(app)) === 'ok');
    assert.equal(await nameSeen(blue), 'unheard');
  });

  test('a Redis that does not answer costs one short timeout, not one for each request', async () => {
    await get(app, '/api/pipeline');
    proxy.intercept = () => true;
    const start = performance.now();
    for (let i = 0; i < 10; i += 1) assert.equal(await source(app, '/api/pipeline'), 'bypass');
    assert.ok(performance.now() - start < 1_500, `10 reads took ${performance.now() - start} ms`);
    proxy.intercept = () => false;
    proxy.drop();
    await eventually(async () => (await status(app)) === 'ok');
  });

  test('a refused login is a degraded service and is logged', async () => {
    const refused = await environment.app({ REDIS_USER: 'nobody' }, { cached: false });
    const refusal = ({ msg, err }) => /cannot be used/.test(msg) && /WRONGPASS/.test(err.message);
    await eventually(() => refused.lines.some(refusal));
    assert.equal(await status(refused), 'degraded');
    assert.equal(await source(refused, '/api/pipeline'), 'bypass');
  });
});
