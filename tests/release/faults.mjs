// Copyright (c) 2026, Sixty Sales DevOps Team
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

/**
 * Gives a release a fault: preloaded into the API (`node --import`) and told what to do by FAULT, a list of
 * `name:argument:argument` with commas between. Times are seconds unless the name says otherwise; "since the switch"
 * is since the first request that came through nginx, the others since the process started.
 *
 *   none
 *   latency:MS               every answer, readiness too, leaves so much later
 *   slower-after:S:MS        the same, S since the switch
 *   errors-after:S           500 for everything but /health/, S since the switch
 *   unhealthy-after:S        503 for /health/, S since the switch
 *   never-ready              503 for /health/ready
 *   wrong-id                 X-Release is another's
 *   leak:MB:S[:MAX]          so much memory beside the heap every second, from S on, up to MAX MB
 *   allocate:MB:S            so much memory at once, at S
 *   exit:CODE                the process ends before it listens
 *   exit-after:S             the process ends, at S, each time that it is started
 *
 * A request with the header X-Slow: <seconds> is answered so much later by every release that has this.
 */
import http from 'node:http';

const KNOWN = [
  'none', 'latency', 'slower-after', 'errors-after', 'unhealthy-after', 'never-ready', 'wrong-id', 'leak', 'allocate',
  'exit', 'exit-after',
];
const faults = new Map((process.env.FAULT ?? 'none').split(',').map((one) => {
  const [name, ...numbers] = one.split(':');
  if (!KNOWN.includes(name) || numbers.some((text) => !(Number(text) >= 0))) throw new Error(`no such fault: ${one}`);
  return [name, numbers.map(Number)];
}));
const at = (seconds, work) => setTimeout(work, seconds * 1_000).unref();

if (faults.has('exit')) process.exit(faults.get('exit')[0]);
if (faults.has('exit-after')) at(faults.get('exit-after')[0], () => process.exit(1));

// Filled, since memory that was never written is not there. Buffers, since the heap has a limit of its own.
const held = [];
const take = (megabytes) => held.push(Buffer.alloc(megabytes * 2 ** 20, 1));
if (faults.has('allocate')) at(faults.get('allocate')[1], () => take(faults.get('allocate')[0]));
if (faults.has('leak')) {
  const [megabytes, after, most = Infinity] = faults.get('leak');
  let taken = 0;
  at(after, () => setInterval(() => {
    if (taken >= most) return;
    take(megabytes / 5);
    taken += megabytes / 5;
  }, 200).unref());
}

let switched = Infinity;
const isDue = (name) => faults.has(name) && performance.now() - switched >= faults.get(name)[0] * 1_000;

/** Milliseconds by which an answer leaves later. */
function delay({ headers }) {
  const always = faults.has('latency') ? faults.get('latency')[0] : 0;
  const later = isDue('slower-after') ? faults.get('slower-after')[1] : 0;
  return always + later + (Number(headers['x-slow']) || 0) * 1_000;
}

// The answer is held back and not the request, so that the application counts it as one that is under way.
const { end, writeHead } = http.ServerResponse.prototype;
http.ServerResponse.prototype.end = function endLater(...parts) {
  const wait = this.req.url.startsWith('/api/stream') ? 0 : delay(this.req);
  if (wait === 0) return end.apply(this, parts);
  setTimeout(() => end.apply(this, parts), wait);
  return this;
};
if (faults.has('wrong-id')) {
  http.ServerResponse.prototype.writeHead = function writeAnother(status, ...parts) {
    const headers = parts.find((part) => typeof part === 'object');
    if (headers !== undefined && 'x-release' in headers) headers['x-release'] = 'another-release';
    return writeHead.call(this, status, ...parts);
  };
}

function refuse(response, status) {
  response.writeHead(status, { 'content-type': 'application/json', 'x-release': process.env.RELEASE_ID });
  response.end('{"error":{"code":"fault","message":"a fault of the release tests"}}');
}

const { emit } = http.Server.prototype;
http.Server.prototype.emit = function emitUnlessFaulty(event, request, response) {
  if (event === 'request') {
    // nginx sets it, and nobody else on the way.
    if (switched === Infinity && request.headers['x-real-ip'] !== undefined) switched = performance.now();
    const health = request.url.startsWith('/health/');
    if (health && (isDue('unhealthy-after') || (faults.has('never-ready') && request.url.startsWith('/health/ready')))) {
      refuse(response, 503);
      return true;
    }
    if (!health && isDue('errors-after')) {
      refuse(response, 500);
      return true;
    }
  }
  return emit.apply(this, arguments);
};
