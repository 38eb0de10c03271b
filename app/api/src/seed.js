import { parseArgs } from 'node:util';
import pg from 'pg';
import { runCommand } from './command.js';
import { ConfigError, loadCommandConfig } from './config.js';
import { connectionOptions } from './db.js';
import { ACTIVITY_TYPES, CLOSED_STAGES, STAGES, STAGE_CHANGE, STAGE_PROBABILITY } from './queries.js';

const BATCH = 500;
const MAX_ROWS = 100_000;
const HISTORY_DAYS = 548; // 18 months
const DAY_MS = 86_400_000;
const SEED_LOCK = 6060_0001;

const OWNERS = ['Amara Osei', 'Ben Fischer', 'Chloe Martin', 'Diego Alvarez', 'Emma Lindqvist', 'Farid Rahman',
  'Grace Kim', 'Hugo Moreau'];
const COMPANY_HEADS = ['Northwind', 'Blue Harbor', 'Cedar', 'Summit', 'Riverstone', 'Brightline', 'Oakfield',
  'Silver Peak', 'Redwood', 'Lighthouse', 'Quarry', 'Evergreen', 'Ironbridge', 'Maple', 'Westgate', 'Clearwater'];
const COMPANY_TAILS = ['Logistics', 'Foods', 'Health', 'Energy', 'Media', 'Robotics', 'Retail', 'Capital', 'Travel',
  'Textiles', 'Software', 'Partners'];
const PRODUCTS = ['Platform licence', 'Onboarding package', 'Annual renewal', 'Support contract', 'Data migration',
  'Team expansion', 'Pilot project', 'Training programme', 'Integration work', 'Security review'];
const SUBJECTS = {
  call: ['Discovery call', 'Pricing call', 'Check-in call'],
  email: ['Sent proposal', 'Follow-up on pricing', 'Shared case study'],
  meeting: ['Product demo', 'Requirements workshop', 'Contract review'],
  note: ['Budget confirmed', 'Decision maker identified', 'Competitor mentioned'],
  task: ['Prepare quote', 'Update the offer', 'Schedule a demo'],
};
// Of deals older than their sales cycle; younger ones are still open.
const CLOSED_WON = 0.45;

/** mulberry32: small, well distributed, and the same everywhere. */
function generator(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, below: (n) => Math.floor(next() * n), pick: (list) => list[Math.floor(next() * list.length)] };
}

/** `count` deals with their activities over the 18 months before `asOf` (a Date); the same for the same arguments. */
export function generate(count, asOf) {
  const random = generator(60);
  const end = asOf.getTime();
  const at = (time) => new Date(time).toISOString();
  const deals = Array.from({ length: count }, () => {
    const created = end - random.next() * HISTORY_DAYS * DAY_MS;
    const cycle = (14 + random.next() * 90) * DAY_MS;
    const finish = created + cycle;
    const progress = Math.min((end - created) / cycle, 1);
    let stage = STAGES[Math.min(Math.floor(progress * 4), 3)];
    if (progress === 1) stage = random.next() < CLOSED_WON ? 'won' : 'lost';
    const closed = CLOSED_STAGES.includes(stage);
    const owner = random.pick(OWNERS);
    const company = `${random.pick(COMPANY_HEADS)} ${random.pick(COMPANY_TAILS)}`;
    const last = closed ? finish : end;
    const activities = Array.from({ length: 1 + random.below(4) }, () => {
      const type = random.pick(ACTIVITY_TYPES);
      const happened = created + random.next() * (last - created);
      return { type, subject: random.pick(SUBJECTS[type]), owner, happened_at: at(happened) };
    });
    if (closed) {
      const subject = `Moved from negotiation to ${stage}`;
      activities.push({ type: STAGE_CHANGE, subject, owner, happened_at: at(finish) });
    }
    const updated = Math.max(...activities.map(({ happened_at: happened }) => Date.parse(happened)));
    return {
      name: `${random.pick(PRODUCTS)} for ${company}`,
      company,
      owner,
      stage,
      // Many small deals, few large ones, in whole hundreds.
      amount_cents: Math.round(Math.exp(6.5 + random.next() * 5.5) / 100) * 10_000,
      probability: STAGE_PROBABILITY[stage],
      expected_close: at(finish).slice(0, 10),
      created_at: at(created),
      updated_at: at(updated),
      closed_at: closed ? at(finish) : null,
      activities,
    };
  });
  return deals.sort((a, b) => a.created_at.localeCompare(b.created_at));
}

const INSERT_DEALS = `
  INSERT INTO deals (id, name, company, owner, stage, amount_cents, probability, expected_close,
                     created_at, updated_at, closed_at)
  SELECT id, name, company, owner, stage, amount_cents, probability, expected_close, created_at, updated_at, closed_at
  FROM jsonb_to_recordset($1) AS row (id integer, name text, company text, owner text, stage text,
    amount_cents bigint, probability smallint, expected_close date, created_at timestamptz, updated_at timestamptz,
    closed_at timestamptz)`;
const INSERT_ACTIVITIES = `
  INSERT INTO activities (deal_id, type, subject, owner, happened_at)
  SELECT deal_id, type, subject, owner, happened_at
  FROM jsonb_to_recordset($1) AS row (deal_id integer, type text, subject text, owner text, happened_at timestamptz)`;

async function insert(client, statement, rows) {
  for (let start = 0; start < rows.length; start += BATCH) {
    await client.query(statement, [JSON.stringify(rows.slice(start, start + BATCH))]);
  }
}

/** Adds generated rows in one transaction; with `ifEmpty` only to an empty table. Returns the numbers added. */
export async function seed({ database }, { rows, ifEmpty, asOf }) {
  const client = new pg.Client(connectionOptions(database, 'sixty-seed', 60_000));
  client.on('error', () => {}); // the query under way is rejected with it
  await client.connect();
  try {
    await client.query('BEGIN');
    // Two at once would both find the table empty.
    await client.query('SELECT pg_advisory_xact_lock($1)', [SEED_LOCK]);
    const { rows: [{ filled }] } = await client.query('SELECT EXISTS (SELECT FROM deals) AS filled');
    if (ifEmpty && filled) {
      await client.query('ROLLBACK');
      return { deals: 0, activities: 0 };
    }
    const { rows: ids } = await client.query(
      "SELECT nextval(pg_get_serial_sequence('deals', 'id'))::integer AS id FROM generate_series(1, $1)", [rows]);
    const generated = generate(rows, asOf);
    const deals = generated.map(({ activities: _, ...deal }, index) => ({ id: ids[index].id, ...deal }));
    const activities = generated
      .flatMap((deal, index) => deal.activities.map((one) => ({ deal_id: ids[index].id, ...one })))
      .sort((a, b) => a.happened_at.localeCompare(b.happened_at));
    await insert(client, INSERT_DEALS, deals);
    await insert(client, INSERT_ACTIVITIES, activities);
    await client.query('COMMIT');
    // Statistics and the visibility map, without which no query can be answered from an index alone.
    await client.query('VACUUM (ANALYZE) deals, activities');
    return { deals: deals.length, activities: activities.length };
  } finally {
    await client.end();
  }
}

function parseArguments(args) {
  const options = { rows: { type: 'string' }, 'if-empty': { type: 'boolean' }, 'as-of': { type: 'string' } };
  let values;
  try {
    ({ values } = parseArgs({ args, options }));
  } catch (error) {
    throw new ConfigError([error.message]);
  }
  const rows = /^\d+$/.test(values.rows) ? Number(values.rows) : NaN;
  const asOf = values['as-of'] === undefined ? new Date() : new Date(values['as-of']);
  const problems = [];
  if (!(rows >= 1 && rows <= MAX_ROWS)) problems.push(`--rows must be an integer from 1 to ${MAX_ROWS}`);
  if (Number.isNaN(asOf.getTime())) problems.push('--as-of must be a date, e.g. 2026-11-24');
  if (problems.length > 0) throw new ConfigError(problems);
  return { rows, ifEmpty: values['if-empty'] === true, asOf };
}

if (import.meta.main) {
  await runCommand('seed', async () => {
    const options = parseArguments(process.argv.slice(2));
    process.stdout.write(`${JSON.stringify({ seeded: await seed(loadCommandConfig(process.env), options) })}\n`);
  });
}
