import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, truncateSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import pg from 'pg';
import { connectionOptions } from '../src/db.js';
import { createEnvironment, deal, eventually } from './support/env.js';
import { run, startServer } from './support/server.js';

const environment = await createEnvironment();
await environment.migrate();

function http(server, path, { method = 'GET', body, agent } = {}) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const sent = request(`${server.url}${path}`, { method, headers, agent }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A deal and a PATCH of it that waits for a row lock until `release()`. */
async function slowRequest(server, agent) {
  const { id } = JSON.parse((await http(server, '/api/deals', { method: 'POST', body: deal(), agent })).text);
  const client = new pg.Client(connectionOptions(environment.commandConfig.database, 'test'));
  await client.connect();
  await client.query('BEGIN');
  await client.query('SELECT FROM deals WHERE id = $1 FOR UPDATE', [id]);
  const answer = http(server, `/api/deals/${id}`, { method: 'PATCH', body: { name: 'slow' }, agent });
  answer.catch(() => {}); // looked at by the test
  await eventually(async () => / 1$/m.exec(
    (await http(server, '/metrics')).text.match(/^postgres_pool_connections\{state="used"\} .*/m)[0]) !== null);
  return {
    answer,
    async release() {
      await client.query('COMMIT');
      await client.end();
    },
  };
}

describe('SIGTERM', () => {
  test('with nothing in flight ends at once with 0', async () => {
    const server = await startServer(environment.env());
    await http(server, '/api/deals');
    server.process.kill('SIGTERM');
    const start = performance.now();
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    assert.ok(performance.now() - start < 2_000);
  });

  test('lets the request in flight finish; meanwhile not ready, connections closed', async () => {
    const server = await startServer(environment.env());
    const agent = new Agent({ keepAlive: true });
    assert.equal((await http(server, '/api/release', { agent })).headers.connection, 'keep-alive');
    const slow = await slowRequest(server, agent);
    server.process.kill('SIGTERM');
    await eventually(async () => (await http(server, '/health/ready')).status === 503);
    const ready = await http(server, '/health/ready', { agent });
    assert.equal(JSON.parse(ready.text).status, 'draining');
    assert.equal(ready.headers.connection, 'close');
    const other = await http(server, '/api/release', { agent });
    assert.deepEqual([other.status, other.headers.connection, other.headers['x-release']], [200, 'close', 'r-test']);
    assert.equal(server.process.exitCode, null);

    await slow.release();
    const { status, headers, text } = await slow.answer;
    assert.deepEqual([status, headers.connection, JSON.parse(text).name], [200, 'close', 'slow']);
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    agent.destroy();
    const left = await environment.sql(
      "SELECT FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'sixty-api/%'", [environment.name]);
    assert.equal(left.length, 0);
  });

  test('answers what has reached the host, though the process was too busy to take it', async () => {
    const server = await startServer(environment.env());
    const ask = 'GET /api/release HTTP/1.1\r\nHost: a\r\n\r\n';
    const answer = (socket) => once(socket, 'data').then(([data]) => data.toString().slice(0, 15));
    const open = async () => {
      const socket = connect(server.port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    };
    const kept = await Promise.all(Array.from({ length: 3 }, open));
    for (const socket of kept) {
      socket.write(ask);
      assert.equal(await answer(socket), 'HTTP/1.1 200 OK');
    }
    server.process.kill('SIGSTOP');
    // The kernel takes connections for a listener that does not.
    const sockets = [...kept, ...(await Promise.all(Array.from({ length: 5 }, open)))];
    const answers = sockets.map(answer);
    for (const socket of sockets) socket.write(ask);
    server.process.kill('SIGTERM');
    server.process.kill('SIGCONT');
    assert.deepEqual(await Promise.all(answers), sockets.map(() => 'HTTP/1.1 200 OK'));
    assert.deepEqual(await server.exited, { code: 0, signal: null });
  });

  test('waits for a request whose body is still on its way', async () => {
    const server = await startServer(environment.env());
    const socket = connect(server.port, '127.0.0.1');
    const body = JSON.stringify(deal());
    socket.write(
      'POST /api/deals HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`);
    await eventually(async () => / 2$/m.test(
      (await http(server, '/metrics')).text.match(/^http_requests_in_flight .*/m)[0]));
    server.process.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.equal(server.process.exitCode, null);
    socket.write(body.slice(10));
    const [answer] = await once(socket, 'data');
    assert.match(answer.toString(), /^HTTP\/1\.1 201 /);
    assert.deepEqual(await server.exited, { code: 0, signal: null });
  });

  test('cuts what is not done in time, says so, and ends with 1', async () => {
    const server = await startServer(environment.env({ DRAIN_TIMEOUT_SECONDS: '1' }));
    const slow = await slowRequest(server);
    server.process.kill('SIGTERM');
    await assert.rejects(slow.answer, { code: 'ECONNRESET' });
    await slow.release();
    assert.deepEqual(await server.exited, { code: 1, signal: null });
    assert.match(server.stdout(), /"1 requests were not done after 1 s and are cut"/);
  });

  test('a second signal ends at once', async () => {
    const server = await startServer(environment.env());
    const slow = await slowRequest(server);
    server.process.kill('SIGTERM');
    await eventually(async () => (await http(server, '/health/ready')).status === 503);
    server.process.kill('SIGTERM');
    assert.deepEqual(await server.exited, { code: 143, signal: null });
    await assert.rejects(slow.answer);
    await slow.release();
  });
});

test('a port that is taken is said in one line', async () => {
  const server = await startServer(environment.env());
  const { code, stdout } = await run('server.js', [], environment.env({ PORT: String(server.port) }));
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${server.port}`));
});

describe('the log', () => {
  const file = join(environment.directory, 'api.log');
  const lines = () => readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));

  test('is JSON lines in the file, survives copytruncate, and is complete at the end', async () => {
    const server = await startServer(environment.env({ LOG_FILE: file }));
    for (let n = 0; n < 20; n += 1) await http(server, `/api/deals?page=${n + 1}`);
    await eventually(() => lines().filter(({ msg }) => msg === 'request').length === 20);
    truncateSync(file);
    for (let n = 0; n < 20; n += 1) await http(server, `/api/deals?page=${n + 1}`);
    server.process.kill('SIGTERM');
    await server.exited;
    // Without O_APPEND the file would start with a hole of NUL bytes, and JSON.parse would throw.
    assert.equal(lines().filter(({ msg }) => msg === 'request').length, 20);
    assert.equal(lines().at(-1).msg, 'drained');
    assert.ok(lines().every(({ level, time, release }) => level && time && release === 'r-test'));
    assert.equal(server.stdout() + server.stderr(), '');
  });

  test('on a full disk costs lines, not service', async () => {
    const { port, process: first, exited } = await startServer(environment.env());
    first.kill('SIGTERM');
    await exited;
    const server = await startServer(environment.env({ LOG_FILE: '/dev/full', PORT: String(port) }));
    for (let n = 0; n < 5; n += 1) assert.equal((await http(server, '/api/deals')).status, 200);
    server.process.kill('SIGTERM');
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    assert.match(server.stderr(), /^cannot write the log to \/dev\/full: ENOSPC/);
  });

  test('errors are on stderr too; no secret is anywhere', async () => {
    const second = join(environment.directory, 'second.log');
    const more = { LOG_FILE: second, DATABASE_PORT: '1', LOG_LEVEL: 'debug' };
    const server = await startServer(environment.env(more));
    assert.equal((await http(server, '/api/deals')).status, 503);
    server.process.kill('SIGTERM');
    await server.exited;
    const errors = server.stderr().split('\n').filter(Boolean).map((line) => JSON.parse(line));
    assert.deepEqual(errors.map(({ level }) => level), ['error']);
    assert.match(errors[0].msg, /^PostgreSQL at 127\.0\.0\.1:1 does not answer$/);
    for (const text of [readFileSync(second, 'utf8'), server.stdout(), server.stderr()]) {
      assert.ok(!text.includes(environment.secret));
    }
  });
});

describe('memory', () => {
  test('is well under 120 MB after a start and some work', async () => {
    const server = await startServer(environment.env(), ['--max-old-space-size=384', '--max-semi-space-size=2']);
    for (let n = 0; n < 200; n += 1) await http(server, `/api/deals?page=${n + 1}`);
    const [, rss] = /^process_resident_memory_bytes (\d+)$/m.exec((await http(server, '/metrics')).text);
    assert.ok(Number(rss) < 120 * 2 ** 20, `${Number(rss) / 2 ** 20} MB`);
  });

  test('is collected when idle and over the mark', async () => {
    const flags = ['--expose-gc', '--max-semi-space-size=2'];
    const server = await startServer(environment.env({ GC_HEAP_MARK_MB: '1' }), flags);
    const runs = async () => Number(/^explicit_gc_runs_total (\d+)$/m.exec((await http(server, '/metrics')).text)[1]);
    await eventually(async () => (await runs()) >= 1);
  });
});
