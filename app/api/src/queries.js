// All SQL of the API as { text, values }, so that the tests can ask PostgreSQL for its plan.

export const STAGES = ['lead', 'qualified', 'proposal', 'negotiation', 'won', 'lost'];
export const CLOSED_STAGES = ['won', 'lost'];
/** Probability in percent that a deal takes on when it reaches a stage. */
export const STAGE_PROBABILITY = { lead: 10, qualified: 25, proposal: 50, negotiation: 75, won: 100, lost: 0 };
/** Activities that people record, and the one that a move records. */
export const ACTIVITY_TYPES = ['call', 'email', 'meeting', 'note', 'task'];
export const STAGE_CHANGE = 'stage_change';
/** Each has an index that serves both orders. */
export const DEAL_SORTS = ['created_at', 'updated_at', 'name', 'company', 'amount_cents', 'expected_close'];
/** What PATCH may change; the stage has a way of its own, which keeps its history. */
export const DEAL_FIELDS = ['name', 'company', 'owner', 'amount_cents', 'probability', 'expected_close'];

const DEAL_COLUMNS =
  'id, name, company, owner, stage, amount_cents, probability, expected_close, created_at, updated_at';
const ACTIVITY_COLUMNS = 'a.id, a.deal_id, d.name AS deal_name, a.type, a.subject, a.owner, a.happened_at';

const likeEverywhere = (q) => `%${q.replaceAll(/[\\%_]/g, '\\$&')}%`;

/** WHERE clause of the conditions whose value is given; `$` in a condition becomes the value's number. */
function where(conditions) {
  const given = conditions.filter(([, value]) => value !== undefined);
  const clauses = given.map(([condition], index) => condition.replace('$', `$${index + 1}`));
  return {
    clause: clauses.length > 0 ? `WHERE ${clauses.join(' AND ')}` : '',
    values: given.map(([, value]) => value),
  };
}

function page({ from, columns, conditions, order, page: number, page_size: size }) {
  const { clause, values } = where(conditions);
  const n = values.length;
  return {
    rows: {
      text: `SELECT ${columns} FROM ${from} ${clause} ORDER BY ${order} LIMIT $${n + 1} OFFSET $${n + 2}`,
      values: [...values, size, (number - 1) * size],
    },
    count: { text: `SELECT count(*) AS total FROM ${from} ${clause}`, values },
  };
}

/** Rows and count of the deal list. `sort` must be one of DEAL_SORTS, `order` asc or desc. */
export const listDeals = ({ stage, owner, q, sort, order, ...pages }) =>
  page({
    from: 'deals',
    columns: DEAL_COLUMNS,
    conditions: [
      ['stage = $', stage],
      ['owner = $', owner],
      ['search_text LIKE lower($)', q === undefined ? undefined : likeEverywhere(q)],
    ],
    order: `${sort} ${order}, id ${order}`,
    ...pages,
  });

/** Rows and count of the activities, newest first. */
export const listActivities = ({ deal_id: dealId, type, ...pages }) =>
  page({
    from: 'activities a JOIN deals d ON d.id = a.deal_id',
    columns: ACTIVITY_COLUMNS,
    conditions: [['a.deal_id = $', dealId], ['a.type = $', type]],
    order: 'a.happened_at DESC, a.id DESC',
    ...pages,
  });

export const getDeal = (id) => ({ text: `SELECT ${DEAL_COLUMNS} FROM deals WHERE id = $1`, values: [id] });

export const lockDeal = (id) => ({ text: `SELECT ${DEAL_COLUMNS} FROM deals WHERE id = $1 FOR UPDATE`, values: [id] });

export const insertDeal = ({
  name, company, owner, stage, amount_cents: cents, probability, expected_close: day,
}) => ({
  text: `INSERT INTO deals (name, company, owner, stage, amount_cents, probability, expected_close, closed_at)
         VALUES ($1, $2, $3, $4, $5, $6, coalesce($7::date, (now() AT TIME ZONE 'UTC')::date + 30),
                 CASE WHEN $4 IN ('won', 'lost') THEN now() END)
         RETURNING ${DEAL_COLUMNS}`,
  values: [name, company, owner, stage, cents, probability ?? STAGE_PROBABILITY[stage], day],
});

/** Changes the given fields, which must be of DEAL_FIELDS. */
export function updateDeal(id, changes) {
  const fields = DEAL_FIELDS.filter((field) => changes[field] !== undefined);
  const assignments = fields.map((field, index) => `${field} = $${index + 2}`);
  return {
    text: `UPDATE deals SET ${assignments.join(', ')}, updated_at = now() WHERE id = $1 RETURNING ${DEAL_COLUMNS}`,
    values: [id, ...fields.map((field) => changes[field])],
  };
}

export const moveDeal = (id, stage) => ({
  text: `UPDATE deals SET stage = $2, probability = $3, updated_at = now(),
                          closed_at = CASE WHEN $2 IN ('won', 'lost') THEN now() END
         WHERE id = $1 RETURNING ${DEAL_COLUMNS}`,
  values: [id, stage, STAGE_PROBABILITY[stage]],
});

export const deleteDeal = (id) => ({ text: 'DELETE FROM deals WHERE id = $1 RETURNING id', values: [id] });

export const insertActivity = ({ deal_id: dealId, type, subject, owner, happened_at: happenedAt }) => ({
  text: `WITH a AS (
           INSERT INTO activities (deal_id, type, subject, owner, happened_at)
           VALUES ($1, $2, $3, $4, coalesce($5::timestamptz, now())) RETURNING *)
         SELECT ${ACTIVITY_COLUMNS} FROM a JOIN deals d ON d.id = a.deal_id`,
  values: [dealId, type, subject, owner, happenedAt],
});

export const pipeline = () => ({
  text: `SELECT stage, count(*) AS count, sum(amount_cents)::bigint AS amount_cents,
                round(sum(amount_cents * probability) / 100.0)::bigint AS weighted_cents
         FROM deals GROUP BY stage`,
  values: [],
});

/** Closed deals of the last `months` calendar months (UTC), this one included, empty months too. */
export const revenue = (months) => ({
  text: `WITH span AS (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AS this_month),
              closed AS (
                SELECT date_trunc('month', closed_at AT TIME ZONE 'UTC') AS month, stage, amount_cents
                FROM deals
                WHERE closed_at >= (date_trunc('month', now() AT TIME ZONE 'UTC')
                                    - make_interval(months => $1 - 1)) AT TIME ZONE 'UTC')
         SELECT to_char(month, 'YYYY-MM') AS month,
                coalesce(sum(amount_cents) FILTER (WHERE stage = 'won'), 0)::bigint AS won_cents,
                count(*) FILTER (WHERE stage = 'won') AS won_count,
                count(*) FILTER (WHERE stage = 'lost') AS lost_count
         FROM span
         CROSS JOIN generate_series(this_month - make_interval(months => $1 - 1), this_month, '1 month') AS month
         LEFT JOIN closed USING (month)
         GROUP BY month ORDER BY month`,
  values: [months],
});
