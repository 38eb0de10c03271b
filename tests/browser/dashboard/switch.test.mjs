// Pages that are open while a new release is deployed. DEPLOY is the command that deploys the stack.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { launch } from '../browser.mjs';
import { visit } from './visit.mjs';

const APP = new URL('../../../app/', import.meta.url).pathname;
const BEFORE = 'Sixty Sales Dashboard';
const AFTER = 'Sixty Sales Dashboard, the next';
let browser;
let copy;

before(async () => {
  browser = await launch();
  copy = await mkdtemp(join(tmpdir(), 'sixty-next-'));
  await cp(APP, copy, { recursive: true, filter: (path) => !/\/(node_modules|dist|coverage)$/.test(path) });
  const shell = join(copy, 'frontend/src/shell/Shell.tsx');
  const text = await readFile(shell, 'utf8');
  assert.ok(text.includes(`<p>${BEFORE}</p>`));
  await writeFile(shell, text.replace(`<p>${BEFORE}</p>`, `<p>${AFTER}</p>`));
});
after(async () => {
  await browser.close();
  await rm(copy, { recursive: true, force: true });
});

const footer = (page) => page.locator('footer').innerText();

test('a page that is open goes on, offers the new release, and loads it whole', { timeout: 400_000 }, async () => {
  const one = await visit(browser, '/');
  await one.evaluate(() => navigator.serviceWorker.ready);
  await one.reload();
  await one.waitForFunction(() => navigator.serviceWorker.controller !== null);
  // Without a worker, and without what it would have loaded in idle time.
  const other = await visit(browser, '/', { serviceWorkers: 'block', javaScriptEnabled: true });
  await other.route(/feature-(settings|activities)/, (route) => route.abort());
  await other.reload();
  await other.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();

  const deploy = `${process.env.DEPLOY} -e release_app_source=${copy}`;
  await promisify(execFile)('bash', ['-c', deploy], { maxBuffer: 1 << 26 })
    .catch((error) => assert.fail(`the deploy failed: ${error.stdout.slice(-3000)}`));

  // A part that was never loaded, of a release that is not served any more.
  await other.unrouteAll();
  other.problems.length = 0;
  await other.getByRole('link', { name: 'Settings', exact: true }).click();
  await other.getByRole('heading', { level: 1, name: 'Settings' }).waitFor();
  assert.deepEqual(other.problems, []);

  // The answer of the new API tells of it at the next reading.
  await one.getByRole('button', { name: 'Refresh' }).click();
  await one.getByText('A new release is ready.').waitFor({ timeout: 60_000 });
  assert.ok(!(await footer(one)).includes(AFTER));
  await one.getByRole('link', { name: 'Settings', exact: true }).click();
  await one.getByRole('heading', { level: 1, name: 'Settings' }).waitFor();
  await one.getByRole('button', { name: 'Load it now' }).click();
  await one.getByText(AFTER).waitFor({ timeout: 60_000 });
  for (const name of ['Overview', 'Deals', 'Activities']) {
    await one.getByRole('link', { name, exact: true }).click();
    await one.getByRole('heading', { level: 1, name }).waitFor();
  }
  await one.waitForTimeout(2000);
  assert.equal(await one.getByText('A new release is ready.').count(), 0);
  const caches = await one.evaluate(() => globalThis.caches.keys());
  assert.equal(caches.filter((name) => name.includes('precache')).length, 1, caches);
  // The stream of a release that leaves is ended, which the browser may tell.
  assert.deepEqual(one.problems.filter((text) => !/api\/stream/.test(text)), []);
});
