import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { Redis } from 'ioredis';
import pg from 'pg';
import pino from 'pino';
import { buildApp } from '../../src/app.js';
import { loadCommandConfig, loadServerConfig } from '../../src/config.js';
import { loggerOptions } from '../../src/log.js';
import { migrate } from '../../src/migrate.js';

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: the tests need a real PostgreSQL and Redis, see README.md`);
  return value;
}

export const servers = {
  database: { host: required('TEST_DATABASE_HOST'), port: Number(required('TEST_DATABASE_PORT')) },
  redis: { host: required('TEST_REDIS_HOST'), port: Number(required('TEST_REDIS_PORT')) },
};

const adminOptions = {
  ...servers.database,
  user: required('TEST_DATABASE_USER'),
  password: required('TEST_DATABASE_PASSWORD'),
};

async function withAdmin(database, work) {
  const client = new pg.Client({ ...adminOptions, database });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * What one test file needs, removed after it: a database owned by a role without any privilege of its own, a Redis
 * user with no more than the README says, secret files and a folder. `env(overrides)` is the environment of a server.
 * To be called at the top level of the file: a hook registered inside another belongs to that one.
 */
export async function createEnvironment() {
  const name = `sixty_test_${randomBytes(4).toString('hex')}`;
  const secret = randomBytes(12).toString('hex');
  const directory = mkdtempSync(join(tmpdir(), 'sixty-api-'));
  const secretFile = join(directory, 'secret');
  writeFileSync(secretFile, `${secret}\n`, { mode: 0o600 });

  await withAdmin('postgres', async (client) => {
    await client.query(`CREATE ROLE ${name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '${secret}'`);
    await client.query(`CREATE DATABASE ${name} OWNER ${name}`);
  });
  const redis = new Redis({ ...servers.redis, password: process.env.TEST_REDIS_PASSWORD || undefined });
  await redis.acl('SETUSER', name, 'on', `>${secret}`, '~sixty:api:*', 'resetchannels', '-@all',
    '+get', '+set', '+client|setname');

  const apps = [];
  after(async () => {
    await Promise.all(apps.map((app) => app.close()));
    await redis.acl('DELUSER', name);
    redis.disconnect();
    await withAdmin('postgres', async (client) => {
      await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await client.query(`DROP ROLE ${name}`);
    });
    rmSync(directory, { recursive: true });
  });

  const env = (overrides = {}) => ({
    RELEASE_ID: 'r-test',
    HOST: '127.0.0.1',
    PORT: '0',
    DATABASE_HOST: servers.database.host,
    DATABASE_PORT: String(servers.database.port),
    DATABASE_NAME: name,
    DATABASE_USER: name,
    DATABASE_PASSWORD_FILE: secretFile,
    REDIS_HOST: servers.redis.host,
    REDIS_PORT: String(servers.redis.port),
    REDIS_USER: name,
    REDIS_PASSWORD_FILE: secretFile,
    ...overrides,
  });

  return {
    name,
    secret,
    directory,
    redis,
    env,
    commandConfig: loadCommandConfig(env()),
    /** Runs SQL as the superuser of the tests in the test's own database. */
    sql: (text, values) => withAdmin(name, async (client) => (await client.query(text, values)).rows),
    async migrate() {
      return migrate(loadCommandConfig(env()));
    },
    /** An application; by default waits until its cache is in use. `app.lines` collects its log. */
    async app(overrides, { cached = true } = {}) {
      const lines = [];
      const config = loadServerConfig(env(overrides));
      const options = loggerOptions({ level: 'debug', release: config.release });
      const logger = pino(options, { write: (line) => lines.push(JSON.parse(line)) });
      const app = await buildApp({ config, logger });
      apps.push(app);
      app.lines = lines;
      if (cached) await eventually(async () => (await get(app, '/health/ready')).body.status === 'ok');
      return app;
    },
  };
}

/** Waits until `condition` holds; fails after `seconds`. */
export async function eventually(condition, seconds = 8) {
  const deadline = Date.now() + seconds * 1_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`did not happen within ${seconds} s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** One request by inject, the body parsed. */
export async function send(app, method, url, payload, headers) {
  const response = await app.inject({ method, url, payload, headers });
  const json = response.body !== '' && response.headers['content-type']?.startsWith('application/json');
  return { status: response.statusCode, headers: response.headers, body: json ? response.json() : response.body };
}

export const get = (app, url, headers) => send(app, 'GET', url, undefined, headers);

export const deal = (more = {}) => ({ name: 'Annual renewal', company: 'Cedar Foods', owner: 'Grace Kim', ...more });
