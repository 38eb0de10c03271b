import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 20;

/**
 * Ends the service without cutting an answer: from now on /health/ready is 503 and every response closes its
 * connection. The listener stays open while requests are in flight, then it closes, then pool and Redis.
 * Returns the number of requests that had to be cut because they were not done within `timeoutSeconds`.
 */
export async function drain(app, timeoutSeconds) {
  const { lifecycle, server, log } = app;
  const deadline = performance.now() + timeoutSeconds * 1_000;
  lifecycle.draining = true;
  log.info(`draining: ${lifecycle.inFlight} requests in flight, at most ${timeoutSeconds} s`);
  while (lifecycle.inFlight > 0 && performance.now() < deadline) await sleep(POLL_MS);
  const cut = lifecycle.inFlight;
  if (cut > 0) {
    log.error(`${cut} requests were not done after ${timeoutSeconds} s and are cut`);
    server.closeAllConnections();
  }
  await app.close();
  log.info('drained');
  return cut;
}
