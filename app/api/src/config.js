import { readFileSync } from 'node:fs';

/** EX_CONFIG of sysexits.h: the configuration is wrong, a restart does not help. */
export const EXIT_CONFIG = 78;

/** All that is wrong with the environment, in one error, so that one correction is enough. */
export class ConfigError extends Error {
  constructor(problems) {
    super(`bad configuration, nothing was started:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

const integer = (min, max) => (text) => {
  const number = /^-?\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (!(number >= min && number <= max)) throw new Error(`"${text}" is not an integer from ${min} to ${max}`);
  return number;
};

const oneOf = (...allowed) => (text) => {
  if (!allowed.includes(text)) throw new Error(`"${text}" is not one of ${allowed.join(', ')}`);
  return text;
};

const matching = (pattern, meaning) => (text) => {
  if (!pattern.test(text)) throw new Error(`"${text}" is not ${meaning}`);
  return text;
};

const string = (text) => text;

const secretFile = (path) => {
  let secret;
  try {
    secret = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new Error(`cannot read the secret file ${path} as uid ${process.getuid()} (${error.code})`, { cause: error });
  }
  if (secret === '') throw new Error(`the secret file ${path} is empty`);
  return secret;
};

// The release id is a header value and part of PostgreSQL's application_name (63 bytes).
const releaseId = matching(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$/,
  'a release id (1 to 50 letters, digits, ".", "_" or "-", the first a letter or digit)',
);

const DATABASE = {
  DATABASE_HOST: { parse: string, required: true },
  DATABASE_PORT: { parse: integer(1, 65535), fallback: 5432 },
  DATABASE_NAME: { parse: string, required: true },
  DATABASE_USER: { parse: string, required: true },
  DATABASE_PASSWORD_FILE: { parse: secretFile, required: true },
  // One of them listens to the changes of deals, so that a budget of connections stays the sum of these.
  DATABASE_POOL_MAX: { parse: integer(2, 100), fallback: 5 },
  DATABASE_CONNECT_TIMEOUT_MS: { parse: integer(100, 60_000), fallback: 2_000 },
  DATABASE_STATEMENT_TIMEOUT_MS: { parse: integer(100, 600_000), fallback: 5_000 },
};

const SERVER = {
  RELEASE_ID: { parse: releaseId, required: true },
  HOST: { parse: string, fallback: '0.0.0.0' },
  PORT: { parse: integer(0, 65535), fallback: 3000 },
  ...DATABASE,
  REDIS_HOST: { parse: string, required: true },
  REDIS_PORT: { parse: integer(1, 65535), fallback: 6379 },
  REDIS_USER: { parse: string, fallback: 'default' },
  REDIS_PASSWORD_FILE: { parse: secretFile },
  CACHE_MAX_ENTRIES: { parse: integer(1, 100_000), fallback: 50 },
  CACHE_TTL_SECONDS: { parse: integer(1, 3_600), fallback: 30 },
  LOG_FILE: { parse: string },
  LOG_LEVEL: { parse: oneOf('debug', 'info', 'warn', 'error'), fallback: 'info' },
  GC_HEAP_MARK_MB: { parse: integer(0, 65_536), fallback: 0 },
  GC_MIN_INTERVAL_SECONDS: { parse: integer(1, 3_600), fallback: 10 },
  STREAM_MAX: { parse: integer(0, 10_000), fallback: 200 },
  DRAIN_TIMEOUT_SECONDS: { parse: integer(0, 3_600), fallback: 25 },
};

const MIGRATE = { ...DATABASE, MIGRATE_LOCK_TIMEOUT_SECONDS: { parse: integer(1, 600), fallback: 5 } };

function parse(variables, env) {
  const values = {};
  const problems = [];
  for (const [name, { parse: parseOne, required, fallback }] of Object.entries(variables)) {
    const text = env[name];
    if (text === undefined || text === '') {
      if (required) problems.push(`${name} is not set`);
      values[name] = fallback;
      continue;
    }
    try {
      values[name] = parseOne(text);
    } catch (error) {
      problems.push(`${name}: ${error.message}`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return values;
}

const database = (values) => ({
  host: values.DATABASE_HOST,
  port: values.DATABASE_PORT,
  database: values.DATABASE_NAME,
  user: values.DATABASE_USER,
  password: values.DATABASE_PASSWORD_FILE,
  poolMax: values.DATABASE_POOL_MAX,
  connectTimeoutMs: values.DATABASE_CONNECT_TIMEOUT_MS,
  statementTimeoutMs: values.DATABASE_STATEMENT_TIMEOUT_MS,
});

/** Configuration of the server. Throws ConfigError, which names every variable that is wrong. */
export function loadServerConfig(env) {
  const values = parse(SERVER, env);
  return {
    release: values.RELEASE_ID,
    host: values.HOST,
    port: values.PORT,
    database: database(values),
    redis: {
      host: values.REDIS_HOST,
      port: values.REDIS_PORT,
      user: values.REDIS_USER,
      password: values.REDIS_PASSWORD_FILE,
    },
    cache: { maxEntries: values.CACHE_MAX_ENTRIES, ttlSeconds: values.CACHE_TTL_SECONDS },
    log: { file: values.LOG_FILE, level: values.LOG_LEVEL },
    gc: { heapMarkMb: values.GC_HEAP_MARK_MB, minIntervalSeconds: values.GC_MIN_INTERVAL_SECONDS },
    streamMax: values.STREAM_MAX,
    drainTimeoutSeconds: values.DRAIN_TIMEOUT_SECONDS,
  };
}

/** Configuration of the commands migrate and seed. Throws ConfigError like loadServerConfig. */
export function loadCommandConfig(env) {
  const values = parse(MIGRATE, env);
  return { database: database(values), lockTimeoutSeconds: values.MIGRATE_LOCK_TIMEOUT_SECONDS };
}
