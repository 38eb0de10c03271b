import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ConfigError, loadCommandConfig, loadServerConfig } from '../src/config.js';
import { run } from './support/server.js';

const directory = mkdtempSync(join(tmpdir(), 'sixty-config-'));
after(() => rmSync(directory, { recursive: true }));
const file = (name, content) => {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
};
const secret = file('secret', 's3cret-value\n');
const good = {
  RELEASE_ID: 'r1', DATABASE_HOST: 'postgres', DATABASE_NAME: 'sixty', DATABASE_USER: 'api',
  DATABASE_PASSWORD_FILE: secret, REDIS_HOST: 'redis', REDIS_USER: 'api', REDIS_PASSWORD_FILE: secret,
};

test('defaults', () => {
  assert.deepEqual(loadServerConfig(good), {
    release: 'r1',
    host: '0.0.0.0',
    port: 3000,
    database: {
      host: 'postgres', port: 5432, database: 'sixty', user: 'api', password: 's3cret-value', poolMax: 5,
      connectTimeoutMs: 2_000, statementTimeoutMs: 5_000,
    },
    redis: { host: 'redis', port: 6379, user: 'api', password: 's3cret-value' },
    cache: { maxEntries: 50, ttlSeconds: 30 },
    log: { file: undefined, level: 'info' },
    gc: { heapMarkMb: 0, minIntervalSeconds: 10 },
    streamMax: 200,
    drainTimeoutSeconds: 25,
  });
  assert.equal(loadCommandConfig(good).lockTimeoutSeconds, 5);
});

describe('refused', () => {
  const cases = [
    [{ RELEASE_ID: undefined }, 'RELEASE_ID is not set'],
    [{ RELEASE_ID: 'a\nb' }, /^RELEASE_ID: "a\nb" is not a release id/],
    [{ DATABASE_HOST: '' }, 'DATABASE_HOST is not set'],
    [{ PORT: '70000' }, 'PORT: "70000" is not an integer from 0 to 65535'],
    [{ PORT: '3000x' }, 'PORT: "3000x" is not an integer from 0 to 65535'],
    [{ DATABASE_POOL_MAX: '1' }, 'DATABASE_POOL_MAX: "1" is not an integer from 2 to 100'],
    [{ CACHE_TTL_SECONDS: '1.5' }, 'CACHE_TTL_SECONDS: "1.5" is not an integer from 1 to 3600'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL: "loud" is not one of debug, info, warn, error'],
    [{ DATABASE_PASSWORD_FILE: undefined }, 'DATABASE_PASSWORD_FILE is not set'],
    [{ DATABASE_PASSWORD_FILE: '/no/such' }, /cannot read the secret file \/no\/such as uid \d+ \(ENOENT\)$/],
    [{ REDIS_PASSWORD_FILE: file('empty', '\n') }, /^REDIS_PASSWORD_FILE: the secret file .*empty is empty$/],
  ];
  for (const [change, expected] of cases) {
    test(JSON.stringify(change), () => {
      assert.throws(() => loadServerConfig({ ...good, ...change }), (error) => {
        assert.ok(error instanceof ConfigError);
        assert.equal(error.problems.length, 1);
        if (expected instanceof RegExp) assert.match(error.problems[0], expected);
        else assert.equal(error.problems[0], expected);
        return true;
      });
    });
  }
});

describe('the process', () => {
  test('ends with 78 and names everything that is wrong, and no secret', async () => {
    const { code, stdout, stderr } = await run('server.js', [], { DATABASE_PASSWORD_FILE: secret, PORT: 'x' });
    assert.equal(code, 78);
    assert.equal(stdout, '');
    assert.equal(stderr, [
      'bad configuration, nothing was started:',
      '  - RELEASE_ID is not set',
      '  - PORT: "x" is not an integer from 0 to 65535',
      '  - DATABASE_HOST is not set',
      '  - DATABASE_NAME is not set',
      '  - DATABASE_USER is not set',
      '  - REDIS_HOST is not set',
      '',
    ].join('\n'));
  });

  test('ends with 78 when the log cannot be written', async () => {
    const { code, stderr } = await run('server.js', [], { ...good, LOG_FILE: '/no/such/api.log' });
    assert.equal(code, 78);
    assert.match(stderr, /LOG_FILE: cannot append to \/no\/such\/api\.log as uid \d+ \(ENOENT\)/);
  });

  for (const script of ['migrate.js', 'seed.js']) {
    test(`${script} ends with 78 as well`, async () => {
      const { code, stderr } = await run(script, ['--rows', '1'].slice(0, script === 'seed.js' ? 2 : 0), {});
      assert.equal(code, 78);
      assert.match(stderr, /DATABASE_HOST is not set/);
    });
  }
});
