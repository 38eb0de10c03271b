import { notFound } from '../errors.js';
import * as queries from '../queries.js';
import { idParams, noQuery, object, pageQuery, text } from '../validation.js';

const stage = { type: 'string', enum: queries.STAGES };
const fields = {
  name: text(200),
  company: text(200),
  owner: text(100),
  amount_cents: { type: 'integer', minimum: 0, maximum: 100_000_000_000 },
  probability: { type: 'integer', minimum: 0, maximum: 100 },
  expected_close: { type: 'string', format: 'date' },
};

const schemas = {
  list: {
    querystring: object({
      stage,
      owner: text(100),
      q: text(100),
      sort: { type: 'string', enum: queries.DEAL_SORTS, default: 'created_at' },
      order: { type: 'string', enum: ['asc', 'desc'], default: 'desc' },
      ...pageQuery,
    }),
  },
  create: {
    querystring: noQuery,
    body: object(
      {
        ...fields,
        amount_cents: { ...fields.amount_cents, default: 0 },
        stage: { ...stage, default: 'lead' },
      },
      { required: ['name', 'company', 'owner'] },
    ),
  },
  one: { querystring: noQuery, params: idParams },
  change: { querystring: noQuery, params: idParams, body: object(fields, { minProperties: 1 }) },
  move: { querystring: noQuery, params: idParams, body: object({ stage }, { required: ['stage'] }) },
};

function found([deal], id) {
  if (deal === undefined) throw notFound(`deal ${id}`);
  return deal;
}

export default async function deals(app) {
  const { db } = app;
  const read = ({ text: sql, values }) => db.query(sql, values);
  const run = (query, { text: sql, values }) => query(sql, values);

  app.get('/deals', { schema: schemas.list }, (request, reply) =>
    reply.sendCached(async () => {
      const { rows, count } = queries.listDeals(request.query);
      const items = await read(rows);
      const [{ total }] = await read(count);
      return { items, page: request.query.page, page_size: request.query.page_size, total };
    }));

  app.post('/deals', { schema: schemas.create }, async (request, reply) => {
    const [deal] = await app.write((query) => run(query, queries.insertDeal(request.body)));
    return reply.code(201).header('location', `/api/deals/${deal.id}`).send(deal);
  });

  app.get('/deals/:id', { schema: schemas.one }, (request, reply) => {
    const { id } = request.params;
    return reply.sendCached(async () => found(await read(queries.getDeal(id)), id));
  });

  app.patch('/deals/:id', { schema: schemas.change }, async (request) => {
    const { id } = request.params;
    return app.write(async (query) => found(await run(query, queries.updateDeal(id, request.body)), id));
  });

  app.delete('/deals/:id', { schema: schemas.one }, async (request, reply) => {
    const { id } = request.params;
    await app.write(async (query) => found(await run(query, queries.deleteDeal(id)), id));
    return reply.code(204).send();
  });

  // The stage and its history change together or not at all; the row is locked so that "from" is true. A move to the
  // stage where the deal is changes nothing, so a client that is unsure may repeat it.
  app.post('/deals/:id/move', { schema: schemas.move }, async (request) => {
    const { id } = request.params;
    const to = request.body.stage;
    return app.write(async (query) => {
      const deal = found(await run(query, queries.lockDeal(id)), id);
      if (deal.stage === to) return deal;
      const [moved] = await run(query, queries.moveDeal(id, to));
      const subject = `Moved from ${deal.stage} to ${to}`;
      await run(query, queries.insertActivity({
        deal_id: id, type: queries.STAGE_CHANGE, subject, owner: deal.owner,
      }));
      return moved;
    });
  });
}
