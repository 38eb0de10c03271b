import * as queries from '../queries.js';
import { noQuery, object } from '../validation.js';

const ratio = (part, whole) => (whole === 0 ? 0 : part / whole);

/** Figures of the dashboard's head line from the rows of the pipeline. Rates and averages of nothing are 0. */
export function summarize(stages) {
  const total = (names, field) =>
    stages.filter(({ stage }) => names.includes(stage)).reduce((sum, one) => sum + one[field], 0);
  const open = queries.STAGES.filter((stage) => !queries.CLOSED_STAGES.includes(stage));
  const wonCount = total(['won'], 'count');
  const wonCents = total(['won'], 'amount_cents');
  return {
    open_count: total(open, 'count'),
    open_cents: total(open, 'amount_cents'),
    won_cents: wonCents,
    won_count: wonCount,
    win_rate: ratio(wonCount, total(queries.CLOSED_STAGES, 'count')),
    average_cents: Math.round(ratio(wonCents, wonCount)),
  };
}

export default async function summaries(app) {
  const { db, release } = app;

  async function stages() {
    const { text, values } = queries.pipeline();
    const rows = new Map((await db.query(text, values)).map((row) => [row.stage, row]));
    return queries.STAGES.map((stage) => rows.get(stage) ?? { stage, count: 0, amount_cents: 0, weighted_cents: 0 });
  }

  app.get('/pipeline', { schema: { querystring: noQuery } }, (request, reply) =>
    reply.sendCached(async () => ({ stages: await stages() })));

  app.get('/summary', { schema: { querystring: noQuery } }, (request, reply) =>
    reply.sendCached(async () => summarize(await stages())));

  const months = { type: 'integer', minimum: 1, maximum: 36, default: 12 };
  app.get('/revenue', { schema: { querystring: object({ months }) } }, (request, reply) =>
    reply.sendCached(async () => {
      const { text, values } = queries.revenue(request.query.months);
      return { months: await db.query(text, values) };
    }));

  app.get('/release', { schema: { querystring: noQuery } }, async () => ({ release }));
}
