/** For the machinery around the API, not below /api/ and so not reachable through nginx. */
export default async function operations(app) {
  const { release, lifecycle, db, cache, metrics } = app;

  app.get('/health/live', async () => ({ status: 'ok', release }));

  // Without Redis the answers are slower, but right: that is no reason to send the users elsewhere.
  app.get('/health/ready', async (request, reply) => {
    const [postgres, redis] = await Promise.all([db.check(), cache.check()]);
    let status = redis === 'ok' ? 'ok' : 'degraded';
    if (postgres !== 'ok') status = 'unavailable';
    if (lifecycle.draining) status = 'draining';
    reply.code(status === 'ok' || status === 'degraded' ? 200 : 503);
    return { status, release, checks: { postgres, redis } };
  });

  app.get('/metrics', async (request, reply) => {
    reply.type(metrics.registry.contentType);
    return metrics.registry.metrics();
  });
}
