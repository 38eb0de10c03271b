import pg from 'pg';
import { ApiError, databaseUnavailable, outcomeUnknown } from './errors.js';

const { builtins } = pg.types;

// bigint as number (amounts stay below 2^53), date as the text it is (a Date would shift it by the time zone).
const types = {
  getTypeParser: (oid, format) => {
    if (oid === builtins.INT8) return Number;
    if (oid === builtins.DATE) return (text) => text;
    return pg.types.getTypeParser(oid, format);
  },
};

/** Options of pg for a connection of this program. `statementTimeoutMs` 0 means no limit. */
export function connectionOptions(database, applicationName, statementTimeoutMs = database.statementTimeoutMs) {
  return {
    host: database.host,
    port: database.port,
    database: database.database,
    user: database.user,
    password: database.password,
    application_name: applicationName,
    connectionTimeoutMillis: database.connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types,
  };
}

const CONNECTION_CODES = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH',
]);
// Errors of pg that carry no code.
const CONNECTION_MESSAGE = /Connection terminated|not queryable|Query read timeout/;

/** Whether the connection, not the statement, failed. SQLSTATE: 08 link, 28 and 3D login, 53300 full, 57P stop. */
export function isConnectionError({ code, message }) {
  if (CONNECTION_CODES.has(code)) return true;
  if (typeof code === 'string' && /^(08...|28...|3D000|53300|57P0[1-4])$/.test(code)) return true;
  return CONNECTION_MESSAGE.test(message);
}

// Lost after it was established: a new connection may well work at once, unlike one that is refused or times out.
const isLostConnection = ({ code, message }) =>
  ['ECONNRESET', 'EPIPE', '57P01', '57P02'].includes(code) || /terminated unexpectedly|not queryable/.test(message);

const isPoolExhausted = ({ message }) => message === 'timeout exceeded when trying to connect';

const isStatementTimeout = ({ code }) => code === '57014';

const isDiskFull = ({ code }) => code === '53100';

/**
 * The pool and the only two ways to use it. Both repeat once, on a new connection, what was cut before anything
 * could have been committed; so a restart of PostgreSQL costs no more than the time in which it is away.
 * Errors: ApiError `database_unavailable`, `database_busy`, `database_timeout`, `database_full`, `outcome_unknown`, or
 * pg's own.
 */
export function createDatabase({ database, release, log }) {
  const max = database.poolMax - 1; // the other one listens, see deal-events.js
  const pool = new pg.Pool({
    ...connectionOptions(database, `sixty-api/${release}`),
    // The server's own limit does not help when the network swallows its answer.
    query_timeout: database.statementTimeoutMs + 1_000,
    max,
    idleTimeoutMillis: 30_000,
  });
  let available = true;
  let answeredAt = -Infinity;

  // Without these listeners, a connection lost while idle or checked out would end the process.
  pool.on('error', (error) => log.warn({ err: error }, 'an idle PostgreSQL connection was lost'));
  pool.on('connect', (client) => client.on('error', () => {})); // the query under way is rejected with it

  function answered() {
    answeredAt = performance.now();
    if (!available) log.info('PostgreSQL answers again');
    available = true;
  }

  function lost(cause) {
    if (available) log.error({ err: cause }, `PostgreSQL at ${database.host}:${database.port} does not answer`);
    available = false;
    answeredAt = -Infinity;
  }

  function translate(error) {
    if (isPoolExhausted(error)) {
      const message = `all ${max} database connections are busy; nothing was changed`;
      return new ApiError(503, 'database_busy', message, { retryAfter: 1, cause: error });
    }
    if (isStatementTimeout(error)) {
      const message = 'the database took too long; nothing was changed';
      return new ApiError(503, 'database_timeout', message, { retryAfter: 2, cause: error });
    }
    if (isDiskFull(error)) {
      const message = 'the database has no room left on its disk; nothing was changed';
      return new ApiError(503, 'database_full', message, { retryAfter: 30, cause: error });
    }
    if (error.code === 'outcome_unknown' && isConnectionError(error.cause)) lost(error.cause);
    if (!isConnectionError(error)) return error;
    lost(error);
    return databaseUnavailable(error);
  }

  async function repeatOnce(attempt) {
    try {
      return await attempt().catch((error) => {
        if (isLostConnection(error)) return attempt();
        throw error;
      });
    } catch (error) {
      throw translate(error);
    }
  }

  /** Runs one reading statement. */
  async function query(text, values) {
    const result = await repeatOnce(() => pool.query(text, values));
    answered();
    return result.rows;
  }

  async function attemptTransaction(work) {
    const client = await pool.connect();
    let committing = false;
    let broken = true;
    try {
      await client.query('BEGIN');
      const value = await work(async (text, values) => (await client.query(text, values)).rows);
      committing = true;
      const { command } = await client.query('COMMIT');
      broken = false;
      // PostgreSQL answers ROLLBACK, without an error, when a statement before had failed.
      if (command !== 'COMMIT') throw new Error(`COMMIT was answered with ${command}`);
      return value;
    } catch (error) {
      if (committing && broken) throw outcomeUnknown(error);
      if (!broken || isConnectionError(error)) throw error;
      await client.query('ROLLBACK').then(
        () => (broken = false),
        () => {}, // the connection is destroyed below, which rolls back as well
      );
      throw error;
    } finally {
      client.release(broken);
    }
  }

  /** Runs `work(query)` in a transaction. A value is returned only after the server has confirmed the commit. */
  async function transaction(work) {
    const value = await repeatOnce(() => attemptTransaction(work));
    answered();
    return value;
  }

  /**
   * Whether the database answers and has its schema: 'ok', 'not_migrated' or 'unavailable'. A full pool that is
   * busy answering is reachable, so an answer within the last second counts.
   */
  async function check() {
    if (performance.now() - answeredAt < 1_000) return 'ok';
    try {
      const [{ migrated }] = await query("SELECT to_regclass('deals') IS NOT NULL AS migrated");
      if (migrated) return 'ok';
      answeredAt = -Infinity;
      return 'not_migrated';
    } catch (error) {
      log.warn({ err: error }, 'the readiness check of PostgreSQL failed');
      return 'unavailable';
    }
  }

  return { pool, query, transaction, check, isAvailable: () => available, close: () => pool.end() };
}
