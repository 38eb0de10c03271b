import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import { createEnvironment, deal, eventually, get, send } from './support/env.js';

const environment = await createEnvironment();
await environment.migrate();
const app = await environment.app();
await app.listen({ host: '127.0.0.1', port: 0 });
const { port } = app.server.address();

/** Sends bytes as they are and returns all that comes back. */
async function raw(text) {
  const socket = net.connect(port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk));
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

describe('headers', () => {
  const cases = [
    ['GET', '/api/release', 200], ['GET', '/api/deals', 200], ['HEAD', '/api/deals', 200], ['GET', '/api/deals/x', 400],
    ['GET', '/api/nothing', 404], ['PUT', '/api/deals', 404], ['GET', '/', 404], ['GET', '/api/%zz', 400],
    ['GET', '/health/live', 200], ['GET', '/health/ready', 200], ['GET', '/metrics', 200],
  ];
  for (const [method, url, status] of cases) {
    test(`${method} ${url} is ${status}, with release and request id`, async () => {
      const response = await send(app, method, url, undefined, { 'x-request-id': 'abc-1.2_3' });
      assert.equal(response.status, status);
      assert.equal(response.headers['x-release'], 'r-test');
      assert.equal(response.headers['x-request-id'], 'abc-1.2_3');
      if (status >= 400) assert.deepEqual(Object.keys(response.body.error).slice(0, 2), ['code', 'message']);
    });
  }

  for (const [what, text, status] of [
    ['no HTTP', 'nonsense\r\n\r\n', 400],
    ['a header that is too large', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ]) {
    test(`${what} is ${status}, with the release`, async () => {
      const answer = await raw(text);
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
      assert.match(answer, /\r\nX-Release: r-test\r\n/);
      const [, body] = answer.split('\r\n\r\n');
      assert.equal(typeof JSON.parse(body).error.code, 'string');
      assert.equal(Number(/Content-Length: (\d+)/.exec(answer)[1]), Buffer.byteLength(body));
    });
  }

  test('a request id that is missing, or that nobody should log, is replaced', async () => {
    for (const bad of [undefined, 'a b', 'x'.repeat(65), '"; drop', '']) {
      const { headers } = await get(app, '/api/release', bad === undefined ? {} : { 'x-request-id': bad });
      assert.match(headers['x-request-id'], /^[0-9a-f-]{36}$/);
    }
  });

  test('answers of the API are not kept by anyone else', async () => {
    assert.equal((await get(app, '/api/deals')).headers['cache-control'], 'no-store');
  });
});

test('the release', async () => {
  assert.deepEqual((await get(app, '/api/release')).body, { release: 'r-test' });
  assert.deepEqual((await get(app, '/health/live')).body, { status: 'ok', release: 'r-test' });
  assert.deepEqual((await get(app, '/health/ready')).body,
    { status: 'ok', release: 'r-test', checks: { postgres: 'ok', redis: 'ok' } });
});

test('an unexpected error is a 500 that tells the caller nothing, and the log everything', async () => {
  await environment.sql('ALTER TABLE deals RENAME COLUMN owner TO owner_');
  const response = await get(app, '/api/deals?page=3', { 'x-request-id': 'broken' });
  await environment.sql('ALTER TABLE deals RENAME COLUMN owner_ TO owner');
  assert.equal(response.status, 500);
  assert.equal(response.body.error.code, 'internal_error');
  assert.doesNotMatch(JSON.stringify(response.body), /owner|column|SELECT/);
  const line = app.lines.find(({ level, request_id: id }) => level === 'error' && id === 'broken');
  assert.match(line.err.message, /column "owner" does not exist/);
});

test('every request is one line', async () => {
  await send(app, 'POST', '/api/deals', deal(), { 'x-request-id': 'line-1' });
  await eventually(() => app.lines.some(({ request_id: id }) => id === 'line-1'));
  const lines = app.lines.filter(({ request_id: id }) => id === 'line-1');
  assert.equal(lines.length, 1);
  const { time, duration_ms: duration, ...rest } = lines[0];
  assert.deepEqual(rest, {
    level: 'info', release: 'r-test', request_id: 'line-1', method: 'POST', url: '/api/deals', status: 201,
    msg: 'request',
  });
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(duration > 0 && duration < 5_000);
});

test('a client that leaves is counted and does not stay in flight', async () => {
  const { id } = (await send(app, 'POST', '/api/deals', deal())).body;
  await app.db.transaction(async (query) => {
    await query('SELECT FROM deals WHERE id = $1 FOR UPDATE', [id]);
    const body = '{"name":"left"}';
    const socket = net.connect(port, '127.0.0.1');
    socket.write(`PATCH /api/deals/${id} HTTP/1.1\r\nHost: a\r\nX-Request-Id: left\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await eventually(() => app.lifecycle.inFlight === 1);
    socket.destroy();
    await eventually(() => app.lifecycle.inFlight === 0);
  });
  assert.equal(app.lines.find(({ request_id: one }) => one === 'left').status, 499);
});

test('metrics: requests by route, cache, pool, release; no label comes from the caller', async () => {
  await get(app, '/api/deals/12345');
  await get(app, '/api/pipeline');
  await get(app, '/api/pipeline');
  await get(app, '/some/path/98765');
  const { status, headers, body } = await get(app, '/metrics');
  assert.equal(status, 200);
  assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
  for (const line of [
    /^http_request_duration_seconds_count\{method="GET",route="\/api\/deals\/:id",status="404"\} 1$/m,
    /^http_request_duration_seconds_count\{method="GET",route="unmatched",status="404"\} \d+$/m,
    /^cache_requests_total\{result="hit-memory"\} [1-9]/m,
    /^cache_requests_total\{result="miss"\} [1-9]/m,
    /^cache_up 1$/m,
    /^postgres_up 1$/m,
    /^postgres_pool_connections\{state="idle"\} [1-4]$/m,
    /^postgres_pool_size_max 4$/m,
    /^postgres_pool_waiting_requests 0$/m,
    /^streams_open 0$/m,
    /^streams_dropped_total 0$/m,
    /^stream_listener_up [01]$/m,
    /^explicit_gc_runs_total 0$/m,
    /^release_info\{release="r-test"\} 1$/m,
    /^process_resident_memory_bytes \d+$/m,
    /^nodejs_eventloop_lag_p99_seconds /m,
  ]) assert.match(body, line);
  assert.doesNotMatch(body, /12345|98765/);
});
