// The page of the real Memory Monitor, which watches a container that is filled, paused and removed beneath it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { launch, open } from './browser.mjs';
import { MB, POLICY } from './fixture.mjs';

const STACK = 'sixtytestbrowser';
const [MONITOR, WATCHED] = [`${STACK}-monitor`, `${STACK}-redis`];
const SETTINGS = {
  stack: STACK, total: 2048 * MB, total_alert: 1638 * MB, total_critical: 1843 * MB,
  warning_percent: 80, container_percent: 85, critical_percent: 90,
  services: {
    redis: { limit: 64 * MB, reservation: 32 * MB, usage_target: 56 * MB, alert: 54 * MB },
    postgres: { limit: 512 * MB, reservation: 256 * MB, usage_target: 400 * MB, alert: 435 * MB },
  },
  leak: { bucket: 60, window: 3600, least_growth: 4 * MB, least_growth_percent: 5, least_window: 1800 },
};
const docker = async (...parts) => (await promisify(execFile)('docker', parts, { timeout: 60_000 })).stdout.trim();
const remove = () => docker('rm', '--force', '--volumes', MONITOR, WATCHED).catch((error) => {
  if (!/No such container/.test(error.stderr)) throw error;
});
let browser;
let folder;
let url;

before(async () => {
  const { SIXTY_MEMORY_MONITOR_IMAGE: monitor, SIXTY_BASE_IMAGE: base } = process.env;
  assert.ok(monitor && base, 'run tests/browser.sh, which names the images');
  folder = await mkdtemp(join(tmpdir(), 'browser-'));
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'monitor.json'), JSON.stringify(SETTINGS));
  await remove();
  const systemd = await docker('info', '--format', '{{.CgroupDriver}}') === 'systemd';
  const parent = systemd ? `${STACK}-redis.slice` : `/${STACK}/redis`;
  await docker('run', '--detach', '--name', WATCHED, '--memory', '64m', '--memory-swap', '64m', '--network', 'none',
    '--cgroup-parent', parent, '--init', '--tmpfs', '/full:size=64m', base, 'sleep', '600');
  await docker('run', '--detach', '--name', MONITOR, '--memory', '32m', '--memory-swap', '32m', '--read-only',
    '--cap-drop', 'ALL', '--init', '--publish', '127.0.0.1::8080', '--volume', '/sys/fs/cgroup:/host/cgroup:ro',
    '--volume', `${folder}:/etc/sixty/current:ro`, monitor);
  url = `http://${(await docker('port', MONITOR, '8080/tcp')).split('\n')[0]}/`;
  await answers(url);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await remove();
  if (folder) await rm(folder, { recursive: true });
});

async function answers(address) {
  const end = Date.now() + 20_000;
  for (;;) {
    try {
      const response = await fetch(`${address}api/v1/status`, { signal: AbortSignal.timeout(2000) });
      if (response.ok) return;
    } catch (error) {
      if (Date.now() > end) throw new Error(await docker('logs', MONITOR), { cause: error });
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

test('a real container fills, goes stale with its monitor, and goes', { timeout: 50_000 }, async () => {
  const page = await open(browser, url);
  const said = (service, field) => page.locator('#known tbody', { has: page.getByText(service, { exact: true }) })
    .locator(`[data-f=${field}]`).innerText();
  const becomes = (service, level) => page.waitForFunction(([name, wanted]) => [...document
    .querySelectorAll('#known tbody')].some((body) => body.querySelector('[data-f=name]').textContent === name
      && body.querySelector('.level').textContent === wanted), [service, level], { timeout: 15_000 });

  assert.equal((await fetch(url)).headers.get('content-security-policy'), POLICY);
  assert.equal(await page.innerText('#stack'), STACK);
  assert.match(await page.innerText('.figure'), /^[\d.]+ MB of 2,048 MB\s+OK$/);
  assert.match(await page.innerText('#host'), /^[\d,.]+ MB available$/);
  await becomes('redis', 'OK');
  await becomes('postgres', 'Not running');
  assert.match(await said('redis', 'rest'), /^[\d.]+ of 64 MB$/);
  assert.match(await said('redis', 'age'), /^\d+ (s|min) ago$/);
  assert.ok(await page.isVisible('#others'), 'the monitor itself is in no stack here');

  await docker('exec', WATCHED, 'dd', 'if=/dev/zero', 'of=/full/block', 'bs=1M', 'count=59');
  await becomes('redis', 'Critical');
  assert.ok(parseFloat(await said('redis', 'used')) >= 90);
  assert.match(await page.innerText('#announce'), /^redis: Critical, 9\d\.\d %/);
  assert.match(await page.innerText('#verdict'), /^Critical: redis at 9\d\.\d %/);

  await docker('pause', MONITOR);
  await page.waitForSelector('#stale:not([hidden])', { timeout: 10_000 });
  assert.match(await page.innerText('#stale'), /^Stale since [\d:]{8}: the monitor did not answer within 5 s/);
  await docker('unpause', MONITOR);
  await page.waitForSelector('#stale', { state: 'hidden', timeout: 15_000 });

  await docker('rm', '--force', WATCHED);
  await becomes('redis', 'Not running');
  assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation').length), 1);
  assert.deepEqual(page.problems, []);
});
