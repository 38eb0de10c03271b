import { ApiError } from '../errors.js';
import { message } from '../streams.js';
import { noQuery } from '../validation.js';

const RETRY_AFTER_MIN = 5;
const RETRY_AFTER_SPREAD = 10;

/** `deal` events as text; SSE's id is the event's number, not the deal's. */
export const dealMessages = (events) =>
  events.map(({ event, ...data }) => message({ id: event, event: 'deal', data })).join('');

export const resyncMessage = (id, reason) => message({ id, event: 'resync', data: { reason } });

export default async function stream(app) {
  const { lifecycle, streams, dealEvents } = app;

  // What a client is told first: where it stands, and what it missed since it was connected, to whatever process.
  function first(lastEventId) {
    const last = dealEvents.last();
    // Not listening: the listener announces a resync to all when it is back.
    if (last === undefined) return '';
    if (lastEventId === undefined) return message({ id: last });
    const missed = /^\d{1,15}$/.test(lastEventId) ? dealEvents.since(Number(lastEventId)) : undefined;
    return missed === undefined ? resyncMessage(last, 'history') : dealMessages(missed) + message({ id: last });
  }

  app.get('/stream', { schema: { querystring: noQuery }, exposeHeadRoute: false }, async (request, reply) => {
    if (lifecycle.draining) {
      throw new ApiError(503, 'draining', 'this release is leaving; connect again', { retryAfter: 1 });
    }
    if (streams.isFull()) {
      const retryAfter = RETRY_AFTER_MIN + Math.round(Math.random() * RETRY_AFTER_SPREAD);
      throw new ApiError(503, 'too_many_streams', `all ${streams.size()} streams are taken`, { retryAfter });
    }
    reply.hijack();
    request.becomeStream();
    streams.add(reply.raw, reply.getHeaders(), first(request.headers['last-event-id']));
  });
}
