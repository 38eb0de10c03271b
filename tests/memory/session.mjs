// A person who goes round the dashboard, in a browser that somebody else has started and will end:
//   node session.mjs '{"port": 9222, "url": "http://localhost", "warmUp": 60, "rounds": 120, "leak": null}'
// Prints a line of JSON for each sample: {round, heap, nodes, listeners}, each after collections.
import { readFile } from 'node:fs/promises';
import { chromium } from '../browser/node_modules/playwright-core/index.mjs';

const SAMPLES = 24;
const PATIENCE = 20_000;
const VIEWS = ['Board', 'All', 'Pages'];
const PAGES = { '/': 'Overview', '/deals': 'Deals', '/activities': 'Activities', '/settings': 'Settings' };

const { port, url, warmUp, rounds, leak } = JSON.parse(process.argv[2]);
const browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`);
// A service worker would answer before the leak can be planted.
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, serviceWorkers: 'block' });
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE);
const problems = [];
page.on('pageerror', (error) => problems.push(String(error)));

const script = '/planted-leak.js';
let planted = leak === null;
if (leak !== null) {
  await page.route('**/*', async (route, request) => {
    if (request.resourceType() !== 'document') return route.fallback();
    const response = await route.fetch();
    const body = (await response.text()).replace('<head>', `<head><script src="${script}"></script>`);
    return route.fulfill({ response, body });
  });
  await page.route(`**${script}`, async (route) => {
    planted = true;
    await route.fulfill({ contentType: 'text/javascript', body: `{${await readFile(leak, 'utf8')}}` });
  });
}

const pages = page.getByRole('navigation', { name: 'Pages', exact: true });
const content = page.getByRole('main');
const views = content.getByRole('navigation', { name: 'Views of the deals' });

// Nothing is being loaded any more: neither a skeleton nor a region that says it is busy.
const settled = () => page.waitForFunction(() => !document.querySelector('[aria-busy="true"]')
  && ![...document.querySelectorAll('main [role="status"]')].some((each) => /^loading/i.test(each.textContent)))
  .then((handle) => handle.dispose());

async function visit(name) {
  await pages.getByRole('link', { name, exact: true }).click();
  await content.getByRole('heading', { level: 1 }).waitFor();
  await settled();
}

async function round() {
  for (const name of Object.values(PAGES)) {
    await visit(name);
    if (name !== 'Deals') continue;
    for (const view of VIEWS) {
      await views.getByRole('link', { name: view, exact: true }).click();
      await settled();
    }
    await content.getByRole('button', { name: 'New deal' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
  }
}

async function sample(cdp, number) {
  for (let run = 0; run < 3; run += 1) await cdp.send('HeapProfiler.collectGarbage');
  const { metrics } = await cdp.send('Performance.getMetrics');
  const { JSHeapUsedSize: heap, Nodes: nodes, JSEventListeners: listeners } =
    Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  process.stdout.write(`${JSON.stringify({ round: number, heap, nodes, listeners })}\n`);
}

try {
  await page.goto(url);
  await page.getByRole('heading', { level: 1 }).waitFor();
  const missing = [];
  for (const [path, name] of Object.entries(PAGES)) {
    const links = pages.getByRole('link', { name, exact: true });
    if ((await links.count()) === 0) missing.push(`"${name}" (${path})`);
  }
  if (missing.length > 0) {
    throw new Error(`the dashboard at ${url} has no link to ${missing.join(', ')} in its navigation "Pages": it`
      + ' cannot be gone round. Is the frontend that is deployed the one this test knows?');
  }
  if (!planted) throw new Error('the leak was not planted: the page did not load it');

  const cdp = await context.newCDPSession(page);
  await cdp.send('Performance.enable');
  for (let number = 0; number < warmUp; number += 1) await round();
  const every = rounds / SAMPLES;
  let due = 0;
  for (let number = 0; number <= rounds; number += 1) {
    if (number >= due) {
      await sample(cdp, number);
      due += every;
    }
    if (number < rounds) await round();
  }
  if (problems.length > 0) throw new Error(`the page had ${problems.length} errors, first: ${problems[0]}`);
} finally {
  await context.close();
  await browser.close();
}
