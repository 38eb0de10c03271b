import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 20;
/**
 * The listener stays open at least so long: what the proxy sent before it was told of another release may still be in
 * the kernel's queue, when this process was busy meanwhile. A connection in the queue of a listener that closes is
 * reset, and libuv takes one from it each time round its loop.
 */
const LINGER_MS = 250;

/**
 * Ends the service without cutting an answer: from now on /health/ready is 503 and every response closes its
 * connection. The listener stays open while requests are in flight, then it closes, then pool and Redis. Streams are
 * ended one after the other within the first half of the time; one whose client does not read is cut at its end.
 * Returns the number of requests that had to be cut because they were not done within `timeoutSeconds`.
 */
export async function drain(app, timeoutSeconds) {
  const { lifecycle, streams, server, log } = app;
  const begin = performance.now();
  const deadline = begin + timeoutSeconds * 1_000;
  lifecycle.draining = true;
  log.info(
    `draining: ${lifecycle.inFlight} requests in flight, ${streams.size()} streams, at most ${timeoutSeconds} s`);
  const ended = streams.drain(timeoutSeconds * 500);
  const isBusy = () =>
    lifecycle.inFlight > 0 || streams.size() > 0 || performance.now() < begin + LINGER_MS;
  while (isBusy() && performance.now() < deadline) await sleep(POLL_MS);
  const cut = lifecycle.inFlight;
  if (cut > 0) {
    log.error(`${cut} requests were not done after ${timeoutSeconds} s and are cut`);
  }
  const unread = streams.size();
  if (unread > 0) log.warn(`${unread} streams are cut: their clients did not read to the end`);
  if (cut + unread > 0) server.closeAllConnections();
  await ended;
  await app.close();
  log.info('drained');
  return cut;
}
