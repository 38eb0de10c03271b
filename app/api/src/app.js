import { randomUUID } from 'node:crypto';
import { finished } from 'node:stream';
import fastify, { LogController } from 'fastify';
import { createCache } from './cache.js';
import { createDatabase } from './db.js';
import { createDealEvents } from './deal-events.js';
import { describeError, notFound } from './errors.js';
import { startCollector } from './memory.js';
import { createMetrics } from './metrics.js';
import { createStreams } from './streams.js';
import { validatorCompiler } from './validation.js';
import activities from './routes/activities.js';
import deals from './routes/deals.js';
import operations from './routes/operations.js';
import stream, { dealMessages, resyncMessage } from './routes/stream.js';
import summaries from './routes/summaries.js';

const JSON_TYPE = 'application/json; charset=utf-8';

function requestId({ headers }) {
  const given = headers['x-request-id'];
  return given !== undefined && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
}

/**
 * The application, not yet listening. `config` is that of loadServerConfig, `logger` a pino logger. The instance has
 * `lifecycle` ({ draining, inFlight }); `close()` also ends the streams and closes the connections to PostgreSQL and
 * Redis.
 */
export async function buildApp({ config, logger }) {
  const { release } = config;
  const lifecycle = { draining: false, inFlight: 0 };
  const inFlight = () => lifecycle.inFlight;

  function fail(error, request, reply) {
    const { statusCode, retryAfter, body } = describeError(error);
    // An outage is one line of level error, from db.js; its many failed requests are not.
    if (statusCode === 500) request.log.error({ err: error }, 'unexpected error');
    else if (statusCode > 500) request.log.warn({ reason: error.cause?.message }, error.message);
    if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
    return reply.code(statusCode).type(JSON_TYPE).send(body);
  }

  function mark(request, reply) {
    reply.header('x-release', release).header('x-request-id', request.id);
    if (lifecycle.draining) reply.header('connection', 'close');
  }

  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestId,
    bodyLimit: 64 * 1024,
    requestTimeout: 30_000,
    // Longer than nginx keeps an idle upstream connection (60 s): the side that sends must be the one that closes.
    keepAliveTimeout: 75_000,
    // Until the last answer is out, requests are answered as usual; see drain.js.
    return503OnClosing: false,
    // These two are answered without any hook.
    frameworkErrors(error, request, reply) {
      mark(request, reply);
      return fail(error, request, reply);
    },
    clientErrorHandler(error, socket) {
      if (error.code === 'ECONNRESET' || !socket.writable) return socket.destroy();
      const [status, code] =
        { HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'headers_too_large'],
          ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'request_timeout'] }[error.code] ??
        ['400 Bad Request', 'bad_request'];
      const body = JSON.stringify({ error: { code, message: 'the request is not valid HTTP' } });
      socket.end(
        `HTTP/1.1 ${status}\r\nContent-Type: ${JSON_TYPE}\r\nContent-Length: ${body.length}\r\n` +
          `X-Release: ${release}\r\nConnection: close\r\n\r\n${body}`,
      );
    },
  });
  app.setValidatorCompiler(validatorCompiler);
  app.removeContentTypeParser('text/plain');

  const db = createDatabase({ ...config, log: logger });
  const cache = createCache({ ...config, log: logger });
  const streams = createStreams({
    max: config.streamMax,
    onDrop(pending) {
      metrics.streamsDropped.inc();
      logger.warn(`a stream is cut: its client left ${pending} bytes unread`);
    },
  });
  const dealEvents = createDealEvents({
    ...config,
    log: logger,
    // Whoever hears of a change must be able to read it, and the writer may not have come so far yet.
    prepare: async () => streams.size() > 0 && cache.invalidate(),
    onEvents: (events) => streams.send(dealMessages(events)),
    onGap: (reason, event) => streams.send(resyncMessage(event, reason)),
  });
  const metrics = createMetrics({ release, db, cache, streams, dealEvents, inFlight });
  const stopCollector = startCollector({
    gc: config.gc,
    inFlight,
    log: logger,
    onRun({ freed, durationMs }) {
      metrics.gcRuns.inc();
      metrics.gcFreed.inc(Math.max(freed, 0));
      metrics.gcSeconds.inc(durationMs / 1_000);
    },
  });

  app.decorate('release', release);
  app.decorate('lifecycle', lifecycle);
  app.decorate('db', db);
  app.decorate('cache', cache);
  app.decorate('metrics', metrics);
  app.decorate('streams', streams);
  app.decorate('dealEvents', dealEvents);
  app.decorateRequest('becomeStream', null);

  /**
   * Every write of the API: a transaction, then, before the response, its announcement to all readers. Whoever
   * must hear of changes is told here. A write that may have happened is announced like one that has.
   */
  app.decorate('write', async (work) => {
    try {
      const value = await db.transaction(work);
      await cache.invalidate();
      return value;
    } catch (error) {
      if (error.code === 'outcome_unknown') await cache.invalidate();
      throw error;
    }
  });

  /** Answers with `load()` as JSON, by way of the cache; the key is the route with its validated parameters. */
  app.decorateReply('sendCached', async function sendCached(load) {
    const { request } = this;
    const parameters = Object.entries({ ...request.params, ...request.query }).sort();
    const key = `${request.routeOptions.url} ${JSON.stringify(parameters)}`;
    const { payload, source } = await cache.fetch(key, async () => JSON.stringify(await load()));
    metrics.cacheRequests.inc({ result: source });
    return this.header('x-cache', source).type(JSON_TYPE).send(payload);
  });

  app.addHook('onRequest', async (request, reply) => {
    const start = performance.now();
    lifecycle.inFlight += 1;
    mark(request, reply);
    // A stream is no request to wait for, and its duration is not that of an answer.
    let streaming = false;
    request.becomeStream = () => {
      streaming = true;
      lifecycle.inFlight -= 1;
    };
    // Not onResponse: that one does not run when the client leaves before the answer.
    finished(reply.raw, (error) => {
      if (!streaming) lifecycle.inFlight -= 1;
      const status = error && !streaming ? 499 : reply.raw.statusCode;
      const seconds = (performance.now() - start) / 1_000;
      const route = request.routeOptions.url ?? 'unmatched';
      if (!streaming) metrics.httpDuration.observe({ method: request.method, route, status }, seconds);
      const line = { method: request.method, url: request.url, status, duration_ms: Math.round(seconds * 1e6) / 1e3 };
      // Probes and scrapes come every few seconds for ever.
      request.log[route.startsWith('/api/') || route === 'unmatched' ? 'info' : 'debug'](line, 'request');
    });
  });
  // A form sends the filters that are not set as empty ones.
  app.addHook('preValidation', async ({ query }) => {
    for (const name of Object.keys(query)) if (query[name] === '') delete query[name];
  });
  // A drain may have begun after the request came in.
  app.addHook('onSend', async (request, reply) => {
    mark(request, reply);
    if (request.url.startsWith('/api/')) reply.header('cache-control', 'no-store');
  });
  // The server closes when its last answer is out.
  app.addHook('preClose', async () => streams.close());
  app.addHook('onClose', async () => {
    stopCollector();
    await dealEvents.close();
    cache.close();
    await db.close();
  });

  app.setErrorHandler(fail);
  app.setNotFoundHandler((request) => {
    throw notFound(`${request.method} ${request.url.split('?', 1)[0]}`);
  });

  await app.register(operations);
  await app.register(deals, { prefix: '/api' });
  await app.register(activities, { prefix: '/api' });
  await app.register(summaries, { prefix: '/api' });
  await app.register(stream, { prefix: '/api' });
  await app.ready();
  return app;
}
