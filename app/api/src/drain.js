import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 20;

/**
 * Ends the service without cutting an answer: from now on /health/ready is 503 and every response closes its
 * connection. The listener stays open while requests are in flight, then it closes, then pool and Redis. Streams are
 * ended one after the other within the first half of the time; one whose client does not read is cut at its end.
 * Returns the number of requests that had to be cut because they were not done within `timeoutSeconds`.
 */
export async function drain(app, timeoutSeconds) {
  const { lifecycle, streams, server, log } = app;
  const deadline = performance.now() + timeoutSeconds * 1_000;
  lifecycle.draining = true;
  log.info(
    `draining: ${lifecycle.inFlight} requests in flight, ${streams.size()} streams, at most ${timeoutSeconds} s`);
  const ended = streams.drain(timeoutSeconds * 500);
  while ((lifecycle.inFlight > 0 || streams.size() > 0) && performance.now() < deadline) await sleep(POLL_MS);
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
