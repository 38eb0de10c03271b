// Copyright (c) 2026, Sixty Sales DevOps Team
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

/**
 * Open-loop load on a stack: requests are sent at a constant rate whether or not the ones before were answered, and
 * latency counts from the moment at which a request was due, so a server that stalls is charged for all who wait.
 * Beside them there are open event streams, requests that are slow in the application, and uploads that are slow on
 * their way.
 *
 *   node load.mjs '{"port": 80, "rate": 300, "streams": 20, "slow": 4, "uploads": 2, "slow_seconds": 5}'
 *
 * One JSON object a line. It says {"ready": true} when every stream is open and requests are being sent. Then each
 * command on stdin is answered with a line:
 *   {"do": "phase", "name": "switch"}       what happens from now on; "switch" also lifts what "serving" had said
 *   {"do": "serving", "release": "r1"}      every request sent from now on has to be answered by r1
 *   {"do": "status"}                        what has happened so far
 *   {"do": "stop"}                          answered, when all is answered and every stream has seen every row, with
 *                                           the result; ids of the acknowledged rows among it
 * It ends with its stdin, and after `seconds` in any case, which bounds all that it remembers.
 */
import http from 'node:http';
import { createHistogram } from 'node:perf_hooks';
import { createInterface } from 'node:readline';

const settings = {
  port: 80, rate: 300, streams: 20, slow: 4, uploads: 2, slow_seconds: 5, seconds: 1_800,
  mark: 'load of the release tests',
  ...JSON.parse(process.argv[2] ?? '{}'),
};
const { port, rate, seconds, mark } = settings;
const { streams: streamCount, slow: slowCount, uploads: uploadCount, slow_seconds: slowSeconds } = settings;
if (streamCount > 30) throw new Error('at most 30 streams: who has seen a row is a bit mask');

const HOST = '127.0.0.1';
const TIMEOUT_MS = 15_000;
/** Beyond, a request that is due is not sent, and counts as failed. */
const MAX_IN_FLIGHT = 3_000;
const SAMPLES = 50;
const SLOWEST = 40;
const REASONS = 200;
/** A row that a stream has not told by then is lost: longer than half of the API's drain and a client's pause. */
const EVENT_WITHIN_MS = 30_000;
/** The API sends a heartbeat every 15 s. */
const SILENCE_MS = 40_000;
const ALL_STREAMS = 2 ** streamCount - 1;

// Two of five are static files, a tenth are writes.
const MIX = [
  'page', 'list', 'asset', 'list', 'write', 'summary', 'page', 'one', 'revalidate', 'list',
  'asset', 'pipeline', 'page', 'list', 'write', 'revenue', 'asset', 'one', 'revalidate', 'list',
];
const COMPRESSED = { 'accept-encoding': 'br, gzip' };
const SORTS = ['created_at', 'amount_cents', 'name'];

const start = performance.now();
const at = (time = performance.now()) => Math.round(time - start) / 1_000;
// A pipe takes 64 KiB at once, and process.exit() does not wait for the rest.
const say = (object) => new Promise((written) => process.stdout.write(`${JSON.stringify(object)}\n`, written));

// -- what is known

const counts = {};
const failures = new Map();
const samples = [];
const releases = new Map();
let failed = 0;

function count(kind) {
  counts[kind] = (counts[kind] ?? 0) + 1;
}

function fail(kind, reason, more = {}) {
  failed += 1;
  const phase = phases.of(more.due ?? performance.now());
  const key = failures.size < REASONS ? `${kind}: ${reason}` : 'further reasons';
  const entry = failures.get(key) ?? { count: 0, first: at() };
  failures.set(key, { ...entry, count: entry.count + 1, last: at() });
  if (samples.length < SAMPLES) samples.push({ kind, reason, phase, ended: at(), ...more, due: at(more.due) });
}

/** Every request belongs to the first of these phases in which it was in flight, however shortly; else to "steady". */
const phases = {
  names: ['switch', 'drain'],
  current: 'steady',
  ended: new Map(),
  latency: new Map(['switch', 'drain', 'steady'].map((name) => [name, createHistogram()])),
  slowest: [],
  began: start,
  enter(name) {
    if (!this.latency.has(name)) throw new Error(`no phase is named ${name}`);
    this.began = performance.now();
    this.ended.set(this.current, this.began);
    this.current = name;
  },
  record(kind, due, release) {
    const now = performance.now();
    const phase = this.of(due);
    this.latency.get(phase).record(Math.max(1, Math.round((now - due) * 1e3)));
    const ms = Math.round(now - due);
    if (this.slowest.length === SLOWEST && ms <= this.slowest.at(-1).ms) return;
    const into = Math.round(now - this.began) / 1e3;
    this.slowest.push({ ms, kind, release, phase, answered: at(now), answered_in: this.current, seconds_into_it: into });
    this.slowest.sort((a, b) => b.ms - a.ms).splice(SLOWEST);
  },
  of(since) {
    return this.names.find((name) => this.current === name || this.ended.get(name) > since) ?? 'steady';
  },
};

/** Which release has to answer, and how often that has been taken back. */
const route = { expected: null, moves: 0, checked: 0, wrong: 0, samples: [] };

function judge(kind, sent, release) {
  const key = releases.has(release) || releases.size < REASONS ? release : 'further releases';
  releases.set(key, (releases.get(key) ?? 0) + 1);
  // Sent before, or still under way when the route moved again: either release may answer.
  if (sent.expected === null || sent.moves !== route.moves) return;
  route.checked += 1;
  if (release === sent.expected) return;
  route.wrong += 1;
  if (route.samples.length < SAMPLES) route.samples.push({ kind, sent: at(sent.at), expected: sent.expected, release });
}

// -- requests

const kept = Array.from({ length: 50 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
let inFlight = 0;

/**
 * Sends a request and judges its answer. `done(answer)` is told of one that is as it should be, and returns what is
 * wrong with it after all; `ended()` is called in any case. A body is sent within `slowly` seconds, piece by piece.
 */
function send({
  kind, path, method = 'GET', headers = {}, body, slowly = 0, agent = false, due, timeout = TIMEOUT_MS, done, ended,
}) {
  count(kind);
  if (inFlight >= MAX_IN_FLIGHT) return fail(kind, `not sent: ${MAX_IN_FLIGHT} are in flight`, { due });
  inFlight += 1;
  const sent = { at: performance.now(), expected: route.expected, moves: route.moves };
  let over = false;
  let response;
  const parts = [];

  function end(reason) {
    if (over) return;
    over = true;
    inFlight -= 1;
    clearTimeout(timer);
    const { statusCode: status, headers: answered = {} } = response ?? {};
    const release = answered['x-release'];
    const text = () => Buffer.concat(parts).toString();
    const expected = { write: [201], upload: [201], revalidate: [200, 304] }[kind] ?? [200];
    if (reason === undefined && !expected.includes(status)) reason = `HTTP ${status}`;
    if (reason === undefined && !release) reason = 'no X-Release';
    if (reason === undefined) {
      const taken = (performance.now() - sent.at) / 1_000;
      const size = parts.reduce((sum, { length }) => sum + length, 0);
      reason = done({ status, headers: answered, release, text, size, seconds: taken });
    }
    if (!slowly && kind !== 'slow') phases.record(kind, due, release);
    if (reason === undefined) judge(kind, sent, release);
    else {
      fail(kind, reason, {
        due, path, release, connection: agent === false ? 'new' : request.reusedSocket ? 'kept' : 'new, to be kept',
        answer: text().slice(0, 200),
      });
    }
    ended?.();
  }

  const request = http.request({ host: HOST, port, path, method, headers, agent });
  const timer = setTimeout(() => {
    end(`no answer within ${timeout / 1_000} s`);
    request.destroy();
  }, timeout);
  request.on('error', (error) => end(error.code ?? error.message));
  request.on('response', (message) => {
    response = message;
    message.on('data', (part) => parts.push(part));
    message.on('error', () => {}); // 'close' follows
    message.on('end', () => end(message.complete ? undefined : 'cut'));
    message.on('close', () => end('cut'));
  });
  if (slowly === 0) return request.end(body);
  const step = Math.ceil(body.length / 10);
  const piece = (from) => {
    request.write(body.slice(from, from + step));
    if (from + step >= body.length) request.end();
    else if (!over) setTimeout(() => piece(from + step), (slowly * 1_000) / 9);
  };
  request.setHeader('content-length', body.length);
  piece(0);
}

const isJson = ({ text }) => {
  try {
    JSON.parse(text());
  } catch {
    return 'the body is no JSON';
  }
};

/** The page as a browser has it: what it refers to, and tag and size of what was loaded. */
const page = { release: undefined, assets: [], tags: new Map(), sizes: new Map() };

function loaded(path, { headers, status, release, text, size }) {
  // A release brings a page's worth of names.
  if (page.tags.size > 500) page.tags.clear();
  if (headers.etag) page.tags.set(path, headers.etag);
  if (status === 304) return undefined;
  if (path !== '/') {
    // Its name says what is in it, whatever release is served.
    if (page.sizes.size > 500) page.sizes.clear();
    if (!page.sizes.has(path)) page.sizes.set(path, size);
    return size === page.sizes.get(path) ? undefined : `${size} bytes, not ${page.sizes.get(path)}`;
  }
  if (release === page.release) return undefined;
  const found = [...text().matchAll(/"(\/assets\/[^"]+)"/g)].map(([, name]) => name);
  if (found.length === 0) return 'a page without assets';
  Object.assign(page, { release, assets: found });
}

const rows = [];
const makers = {
  page: () => ({ path: '/' }),
  asset: (turn) => ({ path: page.assets[turn % page.assets.length], headers: COMPRESSED }),
  revalidate(turn) {
    const path = turn % 3 === 0 ? '/' : page.assets[turn % page.assets.length];
    const tag = page.tags.get(path);
    return { path, headers: { ...(path === '/' ? {} : COMPRESSED), ...(tag && { 'if-none-match': tag }) } };
  },
  // So many different lists that most are not in a cache.
  list: (turn) => ({ path: `/api/deals?page=${(turn % 40) + 1}&sort=${SORTS[turn % 3]}`, done: isJson }),
  // A row that was acknowledged is there, whichever release is asked.
  one: () => ({ path: rows.length ? `/api/deals/${rows.at(-1)}` : '/api/deals', done: isJson }),
  summary: () => ({ path: '/api/summary', done: isJson }),
  pipeline: () => ({ path: '/api/pipeline', done: isJson }),
  revenue: () => ({ path: '/api/revenue', done: isJson }),
  write: (turn) => ({
    path: '/api/deals', method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: mark, company: `company ${turn % 50}`, owner: 'load' }),
    done(answer) {
      const reason = isJson(answer);
      if (reason !== undefined) return reason;
      const { id } = JSON.parse(answer.text());
      rows.push(id);
      told.acknowledged(id);
    },
  }),
};

let turn = 0;
function next(due) {
  const kind = MIX[turn % MIX.length];
  const made = makers[kind](turn);
  const done = made.done ?? ((answer) => loaded(made.path, answer));
  // Each kind is sent on both sorts of connection.
  const keeps = (turn + Math.floor(turn / MIX.length)) % 2 === 0;
  send({ ...made, kind, done, due, agent: keeps ? kept[(turn >> 1) % kept.length] : false });
  turn += 1;
}

/** How late the generator itself was: what it adds to every latency. */
const lateness = createHistogram();
let stopping = false;
function generate() {
  const begin = performance.now();
  const tick = () => {
    if (stopping) return;
    const now = performance.now();
    for (let due; (due = begin + (turn * 1_000) / rate) <= now;) {
      lateness.record(Math.max(1, Math.round((now - due) * 1e3)));
      next(due);
    }
    setTimeout(tick, Math.max(1, begin + (turn * 1_000) / rate - performance.now()));
  };
  tick();
}

function slow() {
  if (stopping) return;
  send({
    // The application takes its time for it: see faults.mjs.
    kind: 'slow', path: '/api/release', headers: { 'x-slow': String(slowSeconds) }, due: performance.now(),
    timeout: TIMEOUT_MS + slowSeconds * 1_000,
    done: ({ seconds: taken }) => (taken < slowSeconds * 0.98 ? `answered after ${taken.toFixed(1)} s` : undefined),
    ended: () => setTimeout(slow, 50),
  });
}

function upload() {
  if (stopping) return;
  const more = { slowly: slowSeconds, timeout: TIMEOUT_MS + slowSeconds * 1_000, ended: () => setTimeout(upload, 50) };
  send({ ...makers.write(uploaded), kind: 'upload', due: performance.now(), ...more });
  uploaded += 1;
}
let uploaded = 0;

// -- streams

/** Rows and who has been told of them: { seen: a bit for each stream, acknowledged: when }. */
const told = {
  rows: new Map(),
  complete: 0,
  lost: 0,
  entry(id) {
    if (!this.rows.has(id)) this.rows.set(id, { seen: 0, since: performance.now() });
    return this.rows.get(id);
  },
  settle(id, entry) {
    if (!entry.acknowledged || entry.seen !== ALL_STREAMS) return;
    this.rows.delete(id);
    this.complete += 1;
  },
  acknowledged(id) {
    if (streamCount === 0) return;
    const entry = this.entry(id);
    entry.acknowledged = true;
    this.settle(id, entry);
  },
  seen(id, stream) {
    const entry = this.entry(id);
    entry.seen |= 1 << stream;
    this.settle(id, entry);
  },
  sweep() {
    const limit = performance.now() - EVENT_WITHIN_MS;
    for (const [id, { acknowledged, seen, since }] of this.rows) {
      if (since > limit) break; // in the order of their age
      this.rows.delete(id);
      if (!acknowledged) continue; // somebody else's
      this.lost += 1;
      const missing = Array.from({ length: streamCount }, (_, one) => one).filter((one) => !(seen & (1 << one)));
      fail('stream', 'a row was not told', { due: since, row: id, missing });
    }
  },
  get waiting() {
    return [...this.rows.values()].some(({ acknowledged }) => acknowledged);
  },
};

const drained = { count: 0, max_seconds: 0 };
const reconnected = createHistogram();

class Stream {
  retry = 1_000;
  last = undefined; // Last-Event-ID
  ended = undefined; // when the one before ended

  constructor(number) {
    this.number = number;
    this.opened = new Promise((resolve) => (this.isOpen = resolve));
    this.connect();
  }

  connect() {
    if (finished) return;
    count('stream');
    this.told = undefined; // when it was told to connect again, if it was
    this.rest = '';
    this.heard = performance.now();
    let over = false;
    const end = (reason) => {
      if (over || finished) return;
      over = true;
      this.ended = performance.now();
      if (reason !== undefined) fail('stream', reason, { stream: this.number, last: this.last });
      setTimeout(() => this.connect(), this.retry);
    };
    const headers = { accept: 'text/event-stream', ...(this.last === undefined ? {} : { 'last-event-id': this.last }) };
    this.request = http.get({ host: HOST, port, path: '/api/stream', headers, agent: false });
    this.request.on('error', (error) => end(error.code ?? error.message));
    this.request.on('response', (message) => {
      if (message.statusCode !== 200) {
        message.resume();
        return end(`HTTP ${message.statusCode}`);
      }
      if (this.ended !== undefined) reconnected.record(Math.max(1, Math.round(performance.now() - this.ended)));
      message.setEncoding('utf8');
      message.on('data', (text) => this.read(text));
      message.on('error', () => {}); // 'close' follows
      message.on('end', () => {
        if (this.rest !== '') return end('ended in the middle of an event');
        if (this.told === undefined) return end('ended without a word');
        drained.count += 1;
        drained.max_seconds = Math.max(drained.max_seconds, (performance.now() - this.told) / 1_000);
        end();
      });
      message.on('close', () => end('cut'));
    });
  }

  read(text) {
    this.heard = performance.now();
    const blocks = (this.rest + text).split('\n\n');
    this.rest = blocks.pop();
    for (const block of blocks) this.dispatch(Object.fromEntries(
      block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()])));
  }

  dispatch({ id, event, retry, data }) {
    if (retry !== undefined) this.retry = Number(retry);
    if (event === 'reconnect') this.told = performance.now();
    if (event === 'resync') fail('stream', `resync: ${data}`, { stream: this.number, last: this.last });
    if (id !== undefined) {
      const number = Number(id);
      const again = event === 'deal' && number <= this.last;
      if (again || number < this.last) {
        fail('stream', 'an event came twice', { stream: this.number, number, last: this.last });
      }
      this.last = number;
      this.isOpen();
    }
    if (event !== 'deal') return;
    const { id: row, kind } = JSON.parse(data);
    if (kind === 'created') told.seen(row, this.number);
  }
}

// -- the run

let finished = false;
const streams = Array.from({ length: streamCount }, (_, number) => new Stream(number));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const milliseconds = (histogram) => ({
  count: histogram.count,
  ...Object.fromEntries([50, 95, 99, 99.9].map((share) => [`p${share}`, histogram.percentile(share) / 1e3])),
  max: histogram.count ? histogram.max / 1e3 : 0,
});

const status = () => ({
  seconds: at(),
  counts,
  failed,
  in_flight: inFlight,
  failures: Object.fromEntries(failures),
  samples,
  releases: Object.fromEntries(releases),
  read_back: { checked: route.checked, wrong: route.wrong, samples: route.samples },
  streams: {
    drained: drained.count,
    drained_max_seconds: Math.round(drained.max_seconds * 10) / 10,
    reconnected_after_ms: { p50: reconnected.percentile(50), max: reconnected.count ? reconnected.max : 0 },
    rows_told_to_all: told.complete,
    rows_lost: told.lost,
  },
  latency_ms: Object.fromEntries([...phases.latency].map(([name, histogram]) => [name, milliseconds(histogram)])),
  slowest: phases.slowest,
  generator: {
    late_ms: milliseconds(lateness),
    cpu_percent: Math.round((Object.values(process.cpuUsage()).reduce((a, b) => a + b) / 1e4 / at()) * 10) / 10,
    max_rss_mb: Math.round(process.resourceUsage().maxRSS / 1_024),
  },
});

async function stop() {
  stopping = true;
  while (inFlight > 0) await sleep(20);
  while (told.waiting) {
    await sleep(20);
    told.sweep();
  }
  finished = true;
  for (const stream of streams) stream.request.destroy();
  return { ...status(), acknowledged: rows };
}

const commands = {
  phase({ name }) {
    phases.enter(name);
    if (name === 'switch') Object.assign(route, { expected: null, moves: route.moves + 1 });
    return { at: at() };
  },
  serving({ release }) {
    route.expected = release;
    return { at: at() };
  },
  status,
  stop,
};

setTimeout(() => {
  process.stderr.write(`the load ended itself after ${seconds} s\n`);
  process.exit(1);
}, seconds * 1_000);
setInterval(() => {
  told.sweep();
  for (const stream of streams) {
    if (performance.now() - stream.heard > SILENCE_MS) stream.request.destroy(new Error('silent'));
  }
}, 1_000);

// The first page is loaded before anything else is asked for.
await Promise.all(streams.map((stream) => stream.opened));
await new Promise((ended) => {
  send({ kind: 'page', path: '/', due: performance.now(), done: (answer) => loaded('/', answer), ended });
});
generate();
for (let number = 0; number < slowCount; number += 1) slow();
for (let number = 0; number < uploadCount; number += 1) upload();
await say({ ready: true, at: at() });

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  await say(await commands[command.do](command));
  if (command.do === 'stop') break;
}
process.exit(0);
