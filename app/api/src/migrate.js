import { fileURLToPath } from 'node:url';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import pg from 'pg';
import { runCommand } from './command.js';
import { loadCommandConfig } from './config.js';
import { connectionOptions } from './db.js';

const STATEMENT_TIMEOUT_MS = 600_000;

const complain = (message) => process.stderr.write(`migrate: ${message}\n`);

/**
 * Brings the schema up to date: all that is due in one transaction, one process at a time (advisory lock).
 * Returns the names of the migrations that ran. A lock that is not had within the limit is an error: a migration
 * that waits for a table lock blocks every query that comes after it.
 */
export async function migrate({ database, lockTimeoutSeconds }) {
  const client = new pg.Client(connectionOptions(database, 'sixty-migrate', STATEMENT_TIMEOUT_MS));
  client.on('error', () => {}); // the query under way is rejected with it
  await client.connect();
  try {
    await client.query(`SET lock_timeout = '${lockTimeoutSeconds}s'`);
    // The runner takes this lock too, but reports a failure to get it in three ways.
    await client.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
    const done = await runner({
      dbClient: client,
      dir: fileURLToPath(new URL('../migrations', import.meta.url)),
      migrationsTable: 'schema_migrations',
      direction: 'up',
      advisoryLockMode: 'wait',
      logger: { info() {}, debug() {}, warn: complain, error: complain },
    });
    return done.map(({ name }) => name);
  } finally {
    await client.end();
  }
}

if (import.meta.main) {
  await runCommand('migrate', async () => {
    const names = await migrate(loadCommandConfig(process.env));
    process.stdout.write(`${JSON.stringify({ migrated: names })}\n`);
  });
}
