import { ApiError } from '../errors.js';
import * as queries from '../queries.js';
import { id, noQuery, object, pageQuery, text } from '../validation.js';

const FOREIGN_KEY_VIOLATION = '23503';

const schemas = {
  list: {
    querystring: object({
      deal_id: id,
      type: { type: 'string', enum: [...queries.ACTIVITY_TYPES, queries.STAGE_CHANGE] },
      ...pageQuery,
    }),
  },
  create: {
    querystring: noQuery,
    body: object(
      {
        deal_id: id,
        type: { type: 'string', enum: queries.ACTIVITY_TYPES },
        subject: text(500),
        owner: text(100),
        happened_at: { type: 'string', format: 'date-time' },
      },
      { required: ['deal_id', 'type', 'subject', 'owner'] },
    ),
  },
};

export default async function activities(app) {
  const { db } = app;

  app.get('/activities', { schema: schemas.list }, (request, reply) =>
    reply.sendCached(async () => {
      const { rows, count } = queries.listActivities(request.query);
      const items = await db.query(rows.text, rows.values);
      const [{ total }] = await db.query(count.text, count.values);
      return { items, page: request.query.page, page_size: request.query.page_size, total };
    }));

  app.post('/activities', { schema: schemas.create }, async (request, reply) => {
    const insert = queries.insertActivity(request.body);
    const [activity] = await app.write((query) => query(insert.text, insert.values)).catch((error) => {
      if (error.code !== FOREIGN_KEY_VIOLATION) throw error;
      throw new ApiError(422, 'unknown_deal', `deal ${request.body.deal_id} does not exist`);
    });
    return reply.code(201).send(activity);
  });
}
