// What lighthouse.memory-config.js makes of the environment, for the tools that read it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { defaultConfig } from 'lighthouse';
import { initializeConfig } from 'lighthouse/core/config/config.js';

const FILE = new URL('../../lighthouse.memory-config.js', import.meta.url).pathname;

function read(environment = {}) {
  const program = `console.log(JSON.stringify(require(${JSON.stringify(FILE)})))`;
  // Nothing of the caller's own settings.
  const env = { PATH: process.env.PATH, ...environment };
  return JSON.parse(execFileSync(process.execPath, ['-e', program], { env, encoding: 'utf8', stdio: 'pipe' }));
}

test('the thresholds of the requirement are the defaults', () => {
  const { metrics } = read();
  const thresholds = Object.fromEntries(Object.entries(metrics).map(([key, m]) => [key, [m.test, m.threshold]]));
  assert.deepEqual(thresholds, {
    lcp: ['<=', 2000], lcp_applied: ['<=', 2000], fid: ['<=', 50], cls: ['<=', 0.05], tti: ['<=', 3000],
    score: ['>', 85], load: ['<', 2000], inp: ['<=', null], tbt: ['<=', null], max_fid: ['<=', null],
  });
});

test('the environment changes them, for Lighthouse CI as well; empty is not set', () => {
  const config = read({
    PERFORMANCE_THRESHOLD_LCP: ' 2500 ', PERFORMANCE_THRESHOLD_CLS: '0.1', PERFORMANCE_THRESHOLD_TTI: '', RUNS: '3',
    URL: 'http://localhost:8088', PERFORMANCE_CPU_SLOWDOWN: '6.4',
  });
  assert.equal(config.metrics.lcp.threshold, 2500);
  assert.equal(config.metrics.lcp_applied.threshold, 2500);
  assert.equal(config.metrics.tti.threshold, 3000);
  assert.equal(config.settings.throttling.cpuSlowdownMultiplier, 6.4);
  const { collect, assert: { assertions } } = config.ci;
  assert.deepEqual([collect.url, collect.numberOfRuns], [['http://localhost:8088'], 3]);
  assert.equal(collect.settings.throttling.cpuSlowdownMultiplier, 6.4);
  assert.equal(assertions['largest-contentful-paint'][1].maxNumericValue, 2500);
  assert.equal(assertions['cumulative-layout-shift'][1].maxNumericValue, 0.1);
  assert.equal(assertions['categories:performance'][1].minScore, 0.85);
});

for (const value of ['fast', '0', '-1', 'Infinity', '2000ms']) {
  test(`a threshold of '${value}' is refused with its name`, () => {
    assert.throws(() => read({ PERFORMANCE_THRESHOLD_FID: value }), (error) => {
      assert.match(error.stderr, /PERFORMANCE_THRESHOLD_FID is '.+'\. It has to be a number above 0/);
      return true;
    });
  });
}

test('Lighthouse takes the file as it is, and knows every audit that it names', async () => {
  const config = read({ PERFORMANCE_CPU_SLOWDOWN: '6' });
  const { resolvedConfig } = await initializeConfig('navigation', config);
  const { settings } = resolvedConfig;
  assert.deepEqual([settings.formFactor, settings.onlyCategories], ['mobile', ['performance']]);
  // The rest of the throttling is Lighthouse's.
  assert.deepEqual([settings.throttling.cpuSlowdownMultiplier, settings.throttling.rttMs], [6, 150]);
  const audits = new Set(defaultConfig.audits.map((audit) => (audit.path ?? audit).split('/').at(-1)));
  const named = Object.keys(config.ci.assert.assertions).filter((name) => !name.startsWith('categories:'));
  for (const name of [...named, 'max-potential-fid', 'interaction-to-next-paint']) assert.ok(audits.has(name), name);
});
