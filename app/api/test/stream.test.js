import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'node:test';
import pg from 'pg';
import { connectionOptions } from '../src/db.js';
import { drain } from '../src/drain.js';
import { createEnvironment, deal, eventually, get, send, servers } from './support/env.js';
import { createProxy } from './support/proxy.js';
import { startServer } from './support/server.js';
import { openStream } from './support/sse.js';

const environment = await createEnvironment();
await environment.migrate();
const proxy = await createProxy(servers.database);

async function listening(overrides) {
  const app = await environment.app(overrides);
  await app.listen({ host: '127.0.0.1', port: 0 });
  await eventually(() => app.dealEvents.last() !== undefined);
  return { app, port: app.server.address().port };
}
const blue = await listening({ RELEASE_ID: 'blue' });
const green = await listening({ RELEASE_ID: 'green', DATABASE_HOST: proxy.host, DATABASE_PORT: String(proxy.port) });
const metric = async (app, name) =>
  Number(new RegExp(`^${name} (.*)$`, 'm').exec((await get(app, '/metrics')).body)[1]);
const bare = (events) => events.map(({ event, data }) => [event, data]);
const INSERT = 'INSERT INTO deals (name, company, owner, stage, amount_cents, probability, expected_close) ' +
  "VALUES ('a', 'b', 'c', 'lead', 0, 10, '2027-01-01')";
const silent = await openStream(blue.port);

test('the head of a stream', async () => {
  const stream = await openStream(blue.port);
  assert.equal(stream.status, 200);
  const { headers } = stream;
  assert.deepEqual(
    [headers['content-type'], headers['cache-control'], headers['x-accel-buffering'], headers['x-release']],
    ['text/event-stream; charset=utf-8', 'no-store', 'no', 'blue']);
  assert.ok(headers['x-request-id']);
  await eventually(() => stream.lastId !== undefined);
  assert.ok(stream.retry[0] >= 1_000 && stream.retry[0] <= 5_000, `${stream.retry}`);
  assert.deepEqual(stream.events, []);
  stream.close();
  const refused = await get(blue.app, '/api/stream?x=1');
  assert.deepEqual([refused.status, refused.body.error.code], [400, 'validation_failed']);
});

test('hints to retry differ from client to client', async () => {
  const streams = await Promise.all(Array.from({ length: 10 }, () => openStream(blue.port)));
  await eventually(() => streams.every(({ retry }) => retry.length > 0));
  assert.ok(new Set(streams.map(({ retry }) => retry[0])).size > 1);
  streams.forEach((stream) => stream.close());
});

test('every kind of change reaches the clients of both processes, in order, with rising ids', async () => {
  const streams = [await openStream(blue.port), await openStream(green.port)];
  const { id } = (await send(blue.app, 'POST', '/api/deals', deal())).body;
  await send(green.app, 'PATCH', `/api/deals/${id}`, { name: 'renamed' });
  await send(blue.app, 'POST', `/api/deals/${id}/move`, { stage: 'won' });
  await send(green.app, 'POST', `/api/deals/${id}/move`, { stage: 'won' }); // changes nothing
  await send(green.app, 'DELETE', `/api/deals/${id}`);
  await send(blue.app, 'DELETE', `/api/deals/${id}`); // 404
  for (const stream of streams) {
    await eventually(() => stream.events.length >= 4);
    assert.deepEqual(bare(stream.events), [
      ['deal', { id, stage: 'lead', kind: 'created' }],
      ['deal', { id, stage: 'lead', kind: 'updated' }],
      ['deal', { id, stage: 'won', kind: 'moved' }],
      ['deal', { id, stage: 'won', kind: 'deleted' }],
    ]);
    const ids = stream.events.map((event) => event.id);
    assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => a - b));
  }
  assert.deepEqual(streams[0].events.map(({ id: one }) => one), streams[1].events.map(({ id: one }) => one));
  streams.forEach((stream) => stream.close());
});

test('ids rise with concurrent writers as well', async () => {
  const stream = await openStream(green.port);
  const writers = Array.from({ length: 40 }, (_, n) =>
    send([blue, green][n % 2].app, 'POST', '/api/deals', deal({ name: `concurrent ${n}` })));
  assert.ok((await Promise.all(writers)).every(({ status }) => status === 201));
  await eventually(() => stream.events.length >= 40);
  const ids = stream.events.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => a - b));
  assert.equal(new Set(stream.events.map(({ data }) => data.id)).size, 40);
  stream.close();
});

test('a transaction that was numbered first is told first, even if it commits late', async () => {
  const stream = await openStream(green.port);
  const client = new pg.Client(connectionOptions(environment.commandConfig.database, 'test'));
  await client.connect();
  await client.query('BEGIN');
  const { rows: [first] } = await client.query(`${INSERT} RETURNING id`);
  await client.query('SET CONSTRAINTS ALL IMMEDIATE'); // takes its number now
  const second = send(blue.app, 'POST', '/api/deals', deal());
  await new Promise((resolve) => setTimeout(resolve, 200));
  await client.query('COMMIT');
  const { id } = (await second).body;
  await eventually(() => stream.events.length >= 2);
  assert.deepEqual(stream.events.map(({ data }) => data.id), [first.id, id]);
  assert.ok(stream.events[0].id < stream.events[1].id);
  await client.end();
  stream.close();
});

test('nothing is told before the commit, nor after a rollback', async () => {
  const stream = await openStream(green.port);
  const client = new pg.Client(connectionOptions(environment.commandConfig.database, 'test'));
  await client.connect();
  await client.query('BEGIN');
  await client.query(INSERT);
  await client.query('ROLLBACK');
  await client.query('BEGIN');
  await client.query(INSERT);
  // What is committed meanwhile is told, so the silence about the open transaction is none of the connection's.
  const { id } = (await send(blue.app, 'POST', '/api/deals', deal())).body;
  await eventually(() => stream.events.length > 0);
  assert.deepEqual(stream.events.map(({ data }) => data.id), [id]);
  await client.query('COMMIT');
  await eventually(() => stream.events.length > 1);
  assert.equal(stream.events.length, 2);
  await client.end();
  stream.close();
});

test('who hears of a change reads it: no answer from the cache is older', async () => {
  const stream = await openStream(green.port);
  const { id } = (await send(blue.app, 'POST', '/api/deals', deal())).body;
  for (let n = 0; n < 20; n += 1) {
    await get(green.app, `/api/deals/${id}`);
    const before = stream.events.length;
    const heard = eventually(() => stream.events.length > before);
    // Changed behind the API, so that no writer's invalidation helps.
    await environment.sql('UPDATE deals SET amount_cents = $1 WHERE id = $2', [n + 1, id]);
    await heard;
    assert.equal((await get(green.app, `/api/deals/${id}`)).body.amount_cents, n + 1);
  }
  stream.close();
});

describe('coming back with Last-Event-ID', () => {
  test('to the other process: exactly what was missed, then what is new', async () => {
    const stream = await openStream(blue.port);
    await eventually(() => stream.lastId !== undefined);
    stream.close();
    const missed = [];
    for (let n = 0; n < 3; n += 1) missed.push((await send(blue.app, 'POST', '/api/deals', deal())).body.id);
    await eventually(() => green.app.dealEvents.last() >= stream.lastId + 3);
    const again = await openStream(green.port, { lastEventId: stream.lastId });
    missed.push((await send(blue.app, 'POST', '/api/deals', deal())).body.id);
    await eventually(() => again.events.length >= 4);
    assert.deepEqual(bare(again.events), missed.map((id) => ['deal', { id, stage: 'lead', kind: 'created' }]));
    again.close();
  });

  for (const lastEventId of ['999999999', 'x', '-1']) {
    test(`${lastEventId} is not known: resync`, async () => {
      const stream = await openStream(blue.port, { lastEventId });
      await eventually(() => stream.events.length > 0);
      assert.deepEqual(bare(stream.events), [['resync', { reason: 'history' }]]);
      assert.equal(stream.lastId, blue.app.dealEvents.last());
      stream.close();
    });
  }

  test('older than the history: resync; a change of many deals at once is one as well', async () => {
    const stream = await openStream(blue.port);
    await eventually(() => stream.lastId !== undefined);
    const { lastId } = stream;
    await environment.sql(
      `INSERT INTO deals (name, company, owner, stage, amount_cents, probability, expected_close)
       SELECT 'bulk', 'b', 'c', 'lead', 0, 10, '2027-01-01' FROM generate_series(1, 2000)`);
    await eventually(() => stream.lastId === lastId + 2_000);
    assert.deepEqual(stream.of('resync').at(0).data, { reason: 'bulk' });
    assert.ok(stream.of('deal').length < 2_000, `${stream.of('deal').length} events`);
    assert.equal(stream.end, 'open');
    stream.close();
    const late = await openStream(blue.port, { lastEventId: lastId });
    await eventually(() => late.events.length > 0);
    assert.deepEqual(bare(late.events), [['resync', { reason: 'history' }]]);
    late.close();
  });
});

test('the connection to PostgreSQL lost: it comes back by itself, and clients are told to read anew', async () => {
  const [other, stream] = [await openStream(blue.port), await openStream(green.port)];
  await proxy.cut();
  await eventually(() => !green.app.dealEvents.isListening());
  assert.equal(await metric(green.app, 'stream_listener_up'), 0);
  const during = await openStream(green.port, { lastEventId: other.lastId });
  const lost = (await send(blue.app, 'POST', '/api/deals', deal())).body.id;
  await eventually(() => other.events.length > 0);
  assert.deepEqual([stream.end, stream.events, during.events], ['open', [], []]);
  await proxy.restore();
  await eventually(() => stream.events.length > 0 && during.events.length > 0);
  const { id } = (await send(blue.app, 'POST', '/api/deals', deal())).body;
  for (const one of [stream, during]) {
    await eventually(() => one.events.length > 1);
    assert.deepEqual(bare(one.events),
      [['resync', { reason: 'database' }], ['deal', { id, stage: 'lead', kind: 'created' }]]);
    assert.ok(one.events[0].id < one.events[1].id && one.events[0].id >= other.events[0].id);
  }
  assert.deepEqual(bare(other.events).map(([event, data]) => [event, data.id]), [['deal', lost], ['deal', id]]);
  assert.equal(await metric(green.app, 'stream_listener_up'), 1);
  [other, stream, during].forEach((one) => one.close());
});

test('the listener is one of DATABASE_POOL_MAX connections', async () => {
  const small = await listening({ DATABASE_POOL_MAX: '3', RELEASE_ID: 'small' });
  await Promise.all(Array.from({ length: 20 }, (_, page) => get(small.app, `/api/deals?page=${page + 1}`)));
  const rows = await environment.sql(
    "SELECT FROM pg_stat_activity WHERE datname = $1 AND application_name = 'sixty-api/small'", [environment.name]);
  assert.equal(rows.length, 3);
});

test('streams are bounded, counted, and no requests in flight', async () => {
  const { app, port } = await listening({ STREAM_MAX: '2' });
  const streams = [await openStream(port), await openStream(port)];
  const third = await openStream(port);
  await eventually(() => third.end === 'clean');
  assert.equal(third.status, 503);
  assert.equal(JSON.parse(third.body).error.code, 'too_many_streams');
  const retryAfter = Number(third.headers['retry-after']);
  assert.ok(retryAfter >= 5 && retryAfter <= 15);
  assert.equal(third.headers['x-release'], 'r-test');
  assert.equal(await metric(app, 'streams_open'), 2);
  await eventually(() => app.lifecycle.inFlight === 0);
  streams[0].close();
  await eventually(() => app.streams.size() === 1);
  const fourth = await openStream(port);
  assert.equal(fourth.status, 200);
  [streams[1], fourth].forEach((stream) => stream.close());
  await eventually(() => app.streams.size() === 0);
  assert.equal(app.lifecycle.inFlight, 0);
  const { body } = await get(app, '/metrics');
  assert.doesNotMatch(body, /http_request_duration_seconds_count\{[^}]*route="\/api\/stream",status="200"/);
  const line = app.lines.find(({ url, status }) => url === '/api/stream' && status === 200);
  assert.equal(line.msg, 'request');
});

test('a client that does not read is dropped, the others are not', async () => {
  const { app, port } = await listening();
  const good = await openStream(port);
  const socket = net.connect(port, '127.0.0.1').pause();
  socket.on('error', () => {}); // it is cut
  socket.write('GET /api/stream HTTP/1.1\r\nHost: a\r\n\r\n');
  await eventually(() => app.streams.size() === 2);
  // More than the kernel's buffers take.
  const text = `: ${'x'.repeat(60_000)}\n\n`;
  let sent = 0;
  await eventually(async () => {
    app.streams.send(text);
    sent += 1;
    await eventually(() => good.comments === sent);
    return app.streams.size() === 1;
  }, 20);
  assert.equal(await metric(app, 'streams_dropped_total'), 1);
  assert.match(app.lines.find(({ level, msg }) => level === 'warn' && /stream is cut/.test(msg)).msg, /\d{5,} bytes/);
  await send(app, 'POST', '/api/deals', deal());
  await eventually(() => good.of('deal').length === 1);
  good.close();
});

describe('SIGTERM', () => {
  const start = async (more) => {
    const server = await startServer(environment.env({ RELEASE_ID: 'leaving', ...more }));
    const listens = async () => /^stream_listener_up 1$/m.test(await (await fetch(`${server.url}/metrics`)).text());
    await eventually(listens);
    return server;
  };

  test('tells all at once, ends one by one in the first half of the time, and loses no event', async () => {
    const server = await start({ DRAIN_TIMEOUT_SECONDS: '6' });
    const streams = await Promise.all(Array.from({ length: 20 }, () => openStream(server.port)));
    await eventually(() => streams.every(({ lastId }) => lastId !== undefined));
    const begin = performance.now();
    server.process.kill('SIGTERM');
    await eventually(() => streams.every((stream) => stream.of('reconnect').length === 1));
    const told = streams.map((stream) => stream.of('reconnect')[0]);
    assert.ok(told.every(({ at }) => at - begin < 1_000));
    assert.ok(told.every(({ data }) => data.reason === 'drain' && data.ends_in_ms < 3_000));
    assert.ok(streams.every(({ retry }) => retry[1] >= 100 && retry[1] <= 500));

    const refused = await openStream(server.port);
    const { connection, 'retry-after': retryAfter } = refused.headers;
    assert.deepEqual([refused.status, retryAfter, connection], [503, '1', 'close']);
    const during = (await send(blue.app, 'POST', '/api/deals', deal())).body.id;
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    await eventually(() => streams.every(({ end }) => end !== 'open'));
    assert.deepEqual(new Set(streams.map(({ end }) => end)), new Set(['clean']));
    const ends = streams.map(({ endedAt }) => endedAt - begin).sort((a, b) => a - b);
    assert.ok(ends.at(-1) < 4_000, `the last after ${ends.at(-1)} ms`);
    assert.ok(ends.at(-1) - ends[0] > 2_000, `within ${ends.at(-1) - ends[0]} ms`);
    const gaps = ends.slice(1).map((end, index) => end - ends[index]);
    assert.ok(Math.max(...gaps) < 1_000, `${gaps}`);

    // Each client knows of the change: from the release that left, or now from the one that came.
    for (const stream of streams) {
      const again = await openStream(blue.port, { lastEventId: stream.lastId });
      await eventually(() => again.lastId === blue.app.dealEvents.last());
      const heard = [...stream.events, ...again.events].filter(({ event }) => event === 'deal');
      assert.deepEqual(heard.map(({ data }) => data.id), [during]);
      assert.equal(again.of('resync').length, 0);
      again.close();
    }
  });

  test('waits for a client that does not read no longer than its time', async () => {
    const { app, port } = await listening();
    let served;
    app.server.once('connection', (socket) => (served = socket));
    const socket = net.connect(port, '127.0.0.1').pause();
    socket.on('error', () => {}); // it is cut
    socket.write('GET /api/stream HTTP/1.1\r\nHost: a\r\n\r\n');
    await eventually(() => app.streams.size() === 1);
    // Until the kernel's buffers are full.
    await eventually(async () => {
      app.streams.send(`: ${'x'.repeat(30_000)}\n\n`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return served.writableLength > 0;
    }, 20);
    assert.equal(app.streams.size(), 1);
    const begin = performance.now();
    assert.equal(await drain(app, 1), 0);
    const seconds = (performance.now() - begin) / 1_000;
    assert.ok(seconds >= 1 && seconds < 2, `${seconds} s`);
    assert.ok(app.lines.some(({ msg }) => msg === '1 streams are cut: their clients did not read to the end'));
    socket.destroy();
  });
});

test('a stream on which nothing happens gets a comment every 15 seconds', async () => {
  await eventually(() => silent.comments > 0, 16);
  assert.equal(silent.end, 'open');
  silent.close();
});
