// The dashboard in Chromium, through nginx, with the API and its database.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import axe from 'axe-core';
import { launch } from '../browser.mjs';
import { api, counted, made, MARK, SITE, tidy, visit } from './visit.mjs';

const PATHS = ['/', '/deals', '/deals?view=scroll', '/deals?view=board', '/activities', '/settings', '/nowhere'];
let browser;
let page;

before(async () => (browser = await launch()));
after(async () => {
  await browser.close();
  await tidy();
});
afterEach(async () => {
  await page?.context().close();
  page = null;
});

const heading = (name) => page.getByRole('heading', { level: 1, name }).waitFor();
const column = (stage) => page.getByRole('region', { name: stage, exact: true });
const card = (stage) => column(stage).getByRole('article').filter({ hasText: MARK });
const filled = async (dialog, fields) => {
  for (const [name, value] of Object.entries(fields)) {
    await dialog.getByRole('textbox', { name, exact: true }).fill(value);
  }
};
const clean = () => assert.deepEqual(page.problems, []);

describe('every page', () => {
  for (const [width, colorScheme] of [[390, 'dark'], [1280, 'light'], [390, 'light'], [1280, 'dark']]) {
    test(`is accessible and fits, ${width} px, ${colorScheme}`, async () => {
      page = await visit(browser, '/settings', { viewport: { width, height: 900 }, colorScheme });
      for (const path of PATHS) {
        await page.goto(`${SITE}${path}`);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForFunction(() => !document.querySelector('main [aria-busy=true]'));
        await page.evaluate(axe.source);
        const { violations } = await page.evaluate(() => globalThis.axe.run());
        assert.deepEqual(violations.map(({ id, nodes }) => [path, id, nodes.map(({ html }) => html)]), []);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(over <= 0, `${path} is ${over} px too wide`);
      }
      clean();
    });
  }
});

describe('a deal', () => {
  test('is created, moved by keyboard and by mouse, and won; the figures follow', async () => {
    page = await visit(browser, '/');
    const [open, won] = [await counted(page, 'open deal'), await counted(page, 'won deal')];

    await page.getByRole('link', { name: 'Deals', exact: true }).click();
    await heading('Deals');
    await page.getByRole('button', { name: 'New deal' }).click();
    const dialog = page.getByRole('dialog', { name: 'New deal' });
    await dialog.getByRole('button', { name: 'Create deal' }).click();
    await dialog.getByRole('textbox', { name: 'Deal', exact: true }).and(page.locator('[aria-invalid=true]')).waitFor();
    await filled(dialog, { Deal: MARK, Company: 'Example', Owner: 'Test', 'Amount (USD)': '1,234.00' });
    await dialog.getByRole('button', { name: 'Create deal' }).click();
    await dialog.waitFor({ state: 'detached' });

    await page.goto(`${SITE}/deals?view=board&q=${encodeURIComponent(MARK)}`);
    await card('Lead').waitFor();
    await card('Lead').getByRole('button', { name: `Move ${MARK}` }).focus();
    await page.keyboard.press('Space');
    await page.getByText(`${MARK} is over Lead.`).waitFor({ state: 'attached' });
    await page.keyboard.press('ArrowRight');
    await page.getByText(`${MARK} is over Qualified.`).waitFor({ state: 'attached' });
    await page.keyboard.press('Space');
    await card('Qualified').waitFor();

    const handle = await card('Qualified').getByRole('button', { name: `Move ${MARK}` }).boundingBox();
    const target = await column('Proposal').boundingBox();
    await page.mouse.move(handle.x + handle.width / 2, handle.y + handle.height / 2);
    await page.mouse.down();
    await page.mouse.move(target.x + target.width / 2, target.y + 80, { steps: 12 });
    await page.mouse.up();
    await card('Proposal').waitFor();

    await card('Proposal').getByRole('combobox', { name: `Stage of ${MARK}` }).selectOption('won');
    await card('Won').waitFor();
    const { items: [stored] } = await api(`/deals?q=${encodeURIComponent(MARK)}`);
    assert.deepEqual([stored.stage, stored.amount_cents], ['won', 123_400]);

    await page.getByRole('link', { name: 'Overview', exact: true }).click();
    await heading('Overview');
    await page.waitForFunction(([before]) => {
      const text = document.querySelector('section[aria-label=Summary]').innerText.replaceAll(',', '');
      return text.includes(`${before + 1} won deal`);
    }, [won]);
    assert.equal(await counted(page, 'open deal'), open);
    // The chart is loaded when its place is on screen.
    await page.getByRole('heading', { name: 'Revenue' }).scrollIntoViewIfNeeded();
    await page.locator('.recharts-surface').first().waitFor();
    clean();
  });

  test('of somebody else is there without a reload', async () => {
    page = await visit(browser, '/');
    await page.locator('[data-state=live]').waitFor();
    const open = await counted(page, 'open deal');
    await page.evaluate(() => (globalThis.mark = true));
    const deal = await api('/deals', { method: 'POST', body: made() });
    await page.waitForFunction((text) => document.querySelector('section[aria-label=Summary]').innerText
      .replaceAll(',', '').includes(text), `${open + 1} open deal`);
    await api(`/deals/${deal.id}/move`, { method: 'POST', body: { stage: 'lost' } });
    await page.waitForFunction((text) => document.querySelector('section[aria-label=Summary]').innerText
      .replaceAll(',', '').includes(text), `${open} open deal`);
    assert.equal(await page.evaluate(() => globalThis.mark), true);
    clean();
  });
});

describe('the list', () => {
  const stages = () => page.locator('table td select')
    .evaluateAll((all) => [...new Set(all.map(({ value }) => value))]);
  const amounts = () => page.getByRole('table', { name: 'Deals' }).locator('tbody tr').evaluateAll((rows) =>
    rows.map((row) => Number(row.cells[4].textContent.replaceAll(/[^\d.]/g, ''))));

  test('is filtered, sorted and turned over', async () => {
    page = await visit(browser, '/deals');
    await page.getByRole('combobox', { name: 'Stage', exact: true }).selectOption('won');
    await page.getByRole('columnheader', { name: 'Amount' }).getByRole('button').click();
    await page.waitForURL(/stage=won/);
    await page.waitForFunction(() => !document.querySelector('main [aria-busy=true]'));
    assert.deepEqual(await stages(), ['won']);
    const first = await amounts();
    assert.deepEqual(first, first.toSorted((a, b) => b - a));
    await page.getByRole('button', { name: /Next/ }).click();
    await page.waitForURL(/page=2/);
    await page.waitForFunction(() => !document.querySelector('main [aria-busy=true]'));
    const second = await amounts();
    assert.ok(second[0] <= first.at(-1), `${second[0]} after ${first.at(-1)}`);
    await page.goBack();
    await page.waitForURL((url) => !url.search.includes('page=2'));
    clean();
  });

  test('has all its rows within reach, and few of them in the page', async () => {
    page = await visit(browser, '/deals?view=scroll');
    const scroller = page.getByRole('region', { name: 'All deals' });
    await scroller.locator('tbody tr td').first().waitFor();
    const total = Number(await scroller.locator('[aria-rowcount]').getAttribute('aria-rowcount'));
    assert.ok(total > 200, `only ${total} rows`);
    await scroller.evaluate((element) => element.scrollTo(0, element.scrollHeight));
    await scroller.locator(`tr[aria-rowindex="${total}"] td`).first().waitFor();
    const rows = await scroller.locator('tbody tr').count();
    assert.ok(rows < 60, `${rows} of ${total} rows are in the page`);
    clean();
  });
});

describe('by keyboard alone', () => {
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.id);
  async function tabTo(name) {
    for (let presses = 0; presses < 30; presses += 1) {
      await page.keyboard.press('Tab');
      if ((await focused()) === name) return;
    }
    assert.fail(`${name} is not reached; the focus is on ${await focused()}`);
  }

  test('one skips, changes the page, and creates a deal', async () => {
    page = await visit(browser, '/');
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'Skip to the content');
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, 'none');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'content');

    await page.goto(`${SITE}/`);
    await heading('Overview');
    await tabTo('Deals');
    await page.keyboard.press('Enter');
    await heading('Deals');
    await page.waitForFunction(() => document.activeElement.tagName === 'H1');
    await tabTo('New deal');
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'New deal' });
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.activeElement.textContent.trim() === 'New deal');

    await page.keyboard.press('Enter');
    await dialog.waitFor();
    for (const value of [`${MARK} keyboard`, 'Example', 'Test']) {
      await page.keyboard.type(value);
      await page.keyboard.press('Tab');
    }
    for (const skipped of ['stage', 'probability']) {
      assert.equal(await page.evaluate(() => document.activeElement.name), skipped);
      await page.keyboard.press('Tab');
    }
    await page.keyboard.type('99');
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'detached' });
    const { total } = await api(`/deals?q=${encodeURIComponent(`${MARK} keyboard`)}`);
    assert.equal(total, 1);
    clean();
  });
});

describe('without the network', () => {
  test('the second visit works, says how old its figures are, and refuses to write', async () => {
    page = await visit(browser, '/');
    // The worker takes in what was read before it was there.
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    await page.waitForFunction(() => !document.querySelector('main [aria-busy=true]'));
    const online = await page.getByRole('region', { name: 'Summary' }).innerText();
    await page.getByRole('link', { name: 'Deals', exact: true }).click();
    await page.getByRole('table', { name: 'Deals' }).waitFor();

    await page.context().setOffline(true);
    await page.goto(`${SITE}/`);
    await heading('Overview');
    await page.getByText(/Offline\. Figures from \d/).waitFor();
    await page.waitForFunction((text) =>
      document.querySelector('section[aria-label=Summary]').innerText === text, online);
    await page.getByRole('link', { name: 'Deals', exact: true }).click();
    await page.getByRole('table', { name: 'Deals' }).waitFor();
    await page.getByRole('button', { name: 'New deal' }).click();
    const dialog = page.getByRole('dialog', { name: 'New deal' });
    await filled(dialog, { Deal: `${MARK} offline`, Company: 'Example', Owner: 'Test', 'Amount (USD)': '1' });
    await dialog.getByRole('button', { name: 'Create deal' }).click();
    await dialog.getByText(/offline|connection/i).first().waitFor();
    await page.keyboard.press('Escape');

    await page.context().setOffline(false);
    await page.getByText(/Offline\./).waitFor({ state: 'detached', timeout: 60_000 });
    const { total } = await api(`/deals?q=${encodeURIComponent(`${MARK} offline`)}`);
    assert.equal(total, 0);
    // What the browser itself says of a request without a network is no fault of the page.
    page.problems = page.problems.filter((text) => !/ERR_INTERNET_DISCONNECTED|Failed to load resource/.test(text));
    clean();
  });
});
