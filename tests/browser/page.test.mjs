// The page in Debian's Chromium against the answers of fixture.mjs: what it says, and what it does with time and
// faults.
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { after, afterEach, before, describe, test } from 'node:test';
import axe from 'axe-core';
import { launch, open } from './browser.mjs';
import { HOSTILE, MB, NOW, STATES, everything, running, serve, status } from './fixture.mjs';

const WIDTHS = [390, 1280];
const POLL = 2000;
let browser;
let site;
let page;

before(async () => (browser = await launch()));
after(() => browser.close());
afterEach(async () => {
  await page?.context().close();
  await site?.close();
  page = site = null;
});

async function visit(answer, options) {
  site = await serve(answer);
  page = await open(browser, site.url, options);
  return page;
}

// Time is the test's own: timers of the page run when it says so.
async function visitAt(answer, options = {}) {
  site = await serve(answer);
  page = await open(browser, site.url, { ...options, time: NOW * 1000 });
}

async function nextPoll(change = () => {}) {
  site.answer = structuredClone(site.answer);
  site.answer.time += POLL / 1000;
  change(site.answer);
  const asked = page.waitForResponse('**/api/v1/status');
  await page.clock.runFor(POLL);
  await (await asked).finished();
  // The answer is read and painted in tasks that follow.
  await page.waitForFunction((time) => document.getElementById('live').textContent.endsWith(time),
    new Date(site.answer.time * 1000).toLocaleTimeString('en-GB', { timeZone: 'Europe/Berlin' }));
}

const text = (selector) => page.locator(selector).first().innerText();
const findings = () => page.locator('#findings li').allInnerTexts();
const rows = (table = 'known') => page.$$eval(`#${table} tbody`, (bodies) => bodies.map((body) => {
  const said = (field) => body.querySelector(`[data-f=${field}]`).textContent;
  return Object.fromEntries(['name', 'where', 'level', 'flag', 'used', 'rest', 'idle', 'growth', 'trend', 'restarts',
    'oom', 'age', 'start'].map((field) => [field, said(field)]));
}));
const row = async (name, table) => (await rows(table)).find((one) => one.name === name);

describe('what it says', () => {
  afterEach(() => assert.deepEqual(page?.problems ?? [], []));

  test('ok: totals, marks, host, phase, release, and each service', async () => {
    await visit(STATES.ok());
    assert.equal(await text('#verdict'), 'All within limits');
    assert.deepEqual(await findings(), []);
    assert.match(await text('.figure'), /^658 MB of 2,048 MB\s+OK$/);
    assert.equal(await text('#total-more'), '32.1 % unreclaimable, 957 MB with cache');
    assert.equal(await text('#mark-alert'), 'alert 1,638 MB');
    assert.equal(await text('#mark-critical'), 'critical 1,843 MB');
    assert.equal(await text('#host'), '912 MB available');
    assert.equal(await text('#host-more'), 'of 1,978 MB, no swap');
    assert.equal(await text('#phase'), 'Steady');
    assert.equal(await text('#phase-more'), '13 containers, limits add up to 1,616 MB');
    assert.equal(await text('#release'), '20261124-1803-55ec219');
    assert.equal(await text('#release-more'), 'on blue since 24 Nov, 19:12, 8 h ago');
    assert.equal(await text('#live'), 'Live, sample of 03:12:44');
    assert.equal((await rows()).length, 13);
    assert.deepEqual(await row('postgres'), {
      name: 'postgres', where: '', level: 'OK', flag: '', used: '36.6 %', rest: '187 of 512 MB', idle: '',
      growth: '+1.8 MB/h', trend: '81 % confidence', restarts: '0', oom: '0', age: '8 h ago', start: '24 Nov, 19:12',
    });
    assert.equal((await row('loki')).growth, '−0.3 MB/h');
    assert.equal((await row('api')).where, 'blue · 20261124-1803-55ec219');
    assert.equal(await page.title(), 'All within limits · Memory Monitor');
  });

  for (const [state, level, used, verdict] of [
    ['warning', 'Warning', '82.1 %', 'Warning: redis at 82.1 %'],
    ['alert', 'Alert', '86.3 %', 'Alert: api (blue) at 86.3 %'],
    ['critical', 'Critical', '91.6 %', 'Critical: api (blue) at 91.6 %, full in 26 min'],
  ]) {
    test(`${state}: in words, first of all, and in the title of the tab`, async () => {
      await visit(STATES[state]());
      assert.equal(await text('#verdict'), verdict);
      assert.equal(await page.title(), `${verdict} · Memory Monitor`);
      const [worst] = await rows();
      assert.equal(worst.level, level);
      assert.equal(worst.used, used);
      assert.match(decodeURIComponent(await page.getAttribute('#icon', 'href')), /fill="#[0-9a-f]{6}"/);
    });
  }

  test('a whole stack that is too full leads the page', async () => {
    await visit(STATES.total());
    assert.equal(await text('#verdict'), 'Critical: the whole stack');
    assert.match(await text('.figure'), /^1,861 MB of 2,048 MB\s+Critical$/);
  });

  test('leak: growth, confidence, flag and exhaustion', async () => {
    await visit(STATES.leak());
    assert.equal(await text('#verdict'), 'Leak suspected: api (blue), full in 6 h 9 min');
    const [api] = await rows();
    assert.deepEqual([api.name, api.level, api.flag, api.growth, api.trend],
      ['api', 'OK', 'Leak suspected', '+24.3 MB/h', 'full in 6 h 9 min\n96 % confidence']);
  });

  test('OOM kills, restarts, start time, swap', async () => {
    await visit(STATES.oom());
    const redis = await row('redis');
    assert.deepEqual([redis.restarts, redis.oom, redis.age, redis.start], ['4', '3', '1 min ago', '25 Nov, 03:11']);
    assert.equal(await text('#oom'), '3');
    assert.equal(await text('#oom-more'), 'since it started, 3 in this stack');
    assert.equal(await text('#host-more'), 'of 1,978 MB, swap 12 MB of 512 MB');
    assert.deepEqual(await findings(), ['OOM-killed: redis']);
  });

  test('a service of the budget that does not run says so', async () => {
    await visit(STATES.stopped());
    assert.equal(await text('#verdict'), 'All that runs is within limits');
    assert.deepEqual(await findings(), ['Not running: grafana, loki']);
    const grafana = await row('grafana');
    assert.deepEqual([grafana.level, grafana.idle, grafana.used, grafana.growth, grafana.age],
      ['Not running', 'limit 128 MB, none in use', '–', '–', '–']);
    assert.equal(await page.getByRole('meter', { name: 'Memory of grafana' }).count(), 0);
    assert.deepEqual((await rows()).slice(0, 2).map((one) => one.name), ['grafana', 'loki']);
  });

  test('a monitor that has just started knows no growth, no release', async () => {
    await visit(STATES.fresh());
    const nginx = await row('nginx');
    assert.deepEqual([nginx.growth, nginx.trend, nginx.age], ['–', 'not known yet', '20 s ago']);
    assert.equal(await text('#release'), 'None');
  });

  test('overlap: two rows of the API, each with its slot and release', async () => {
    await visit(STATES.overlap());
    assert.equal(await text('#phase'), 'Overlap of two releases');
    assert.deepEqual((await rows()).filter((one) => one.name === 'api').map((one) => one.where),
      ['blue · 20261124-1803-55ec219', 'green · 20261125-0210-9f31c0d']);
    const together = /^Unreclaimable memory of api, its releases together, over 1 h: .* last 273 MB\.$/;
    assert.equal(await page.getByRole('img', { name: together }).count(), 2);
  });

  test('a host whose kernel allows less than the budget says so', async () => {
    const answer = STATES.ok();
    Object.assign(answer.total, { limit: 1678 * MB, percent: 39.2 });
    await visit(answer);
    assert.equal(await text('#total-more'),
      "39.2 % unreclaimable of the kernel's limit of 1,678 MB, 957 MB with cache");
  });

  test('other stacks and unknown containers have their own section', async () => {
    await visit(STATES.strangers());
    assert.equal((await rows()).length, 13);
    const [redis, cron] = await rows('unknown');
    assert.deepEqual([redis.name, redis.where, redis.level, redis.used], ['redis', 'stack staging', 'Alert', '89.1 %']);
    assert.deepEqual([cron.name, cron.where, cron.idle, cron.used, cron.rest],
      ['backup_cron', 'no stack', 'no limit', '20 MB', 'usage 24 MB']);
    assert.equal(await text('#verdict'), 'Alert: redis of staging at 89.1 %');
  });

  test('empty', async () => {
    await visit(STATES.empty());
    assert.equal(await text('#verdict'), 'Nothing to watch');
    assert.ok(await page.isVisible('#empty'));
    assert.ok(!await page.isVisible('#known') && !await page.isVisible('#others'));
  });

  test('hostile names are text', async () => {
    await visit(STATES.hostile());
    const shown = new Set((await rows('unknown')).map((one) => one.name));
    for (const name of HOSTILE) assert.ok(shown.has(name.replace('\u202E', '\ufffd')), name.slice(0, 40));
    assert.equal(await page.locator('main :is(img, script, iframe, form, a)').count(), 0);
    assert.equal(await page.locator('script').count(), 1);
    await page.locator('#known button').first().click();
    assert.ok((await text('.detail dl')).includes(HOSTILE[1]));
    assert.doesNotMatch(await page.title(), /owned|\u202E/);
    const heights = await page.$$eval('.service', (list) => list.map((one) => one.offsetHeight));
    assert.ok(Math.max(...heights) < 130, `rows of ${Math.max(...heights)} pixels`);
  });

  test('bars and marks are where the numbers are', async () => {
    await visit(STATES.night(), { reducedMotion: 'reduce' });
    const drawn = await page.$$eval('#known [data-f=bar]:not([hidden])', (bars) => bars.map((bar) => {
      const box = bar.getBoundingClientRect();
      const percent = (x) => (x - box.left) / box.width * 100;
      const edge = (selector) => percent(bar.querySelector(selector).getBoundingClientRect().right);
      const target = bar.querySelector('.target').getBoundingClientRect();
      return { name: bar.getAttribute('aria-label'), core: edge('.core'), usage: edge('.usage'),
        target: percent(target.left + target.width / 2),
        ticks: [...bar.querySelectorAll('.tick')].map((one) => percent(one.getBoundingClientRect().left)) };
    }));
    const near = (a, b, what) => assert.ok(Math.abs(a - b) < 0.6, `${what}: ${a} is not ${b}`);
    assert.equal(drawn.length, 12);
    for (const bar of drawn) {
      const s = site.answer.services.find((one) => bar.name === `Memory of ${one.service}`
        || bar.name === `Memory of ${one.service} (${one.slot})`);
      near(bar.core, s.percent, `${s.service} unreclaimable`);
      near(bar.usage, s.usage / s.limit * 100, `${s.service} usage`);
      near(bar.target, s.usage_target / s.limit * 100, `${s.service} target`);
      [80, 85, 90].forEach((mark, i) => near(bar.ticks[i], mark, `${s.service} mark`));
    }
    const total = await page.$eval('#total-bar', (bar) => [...bar.children].map((part) => {
      const [outer, inner] = [bar.getBoundingClientRect(), part.getBoundingClientRect()];
      return ((part.matches('.tick') ? inner.left : inner.right) - outer.left) / outer.width * 100;
    }));
    const { total: all } = site.answer;
    [all.usage / 2048 / MB * 100, all.percent, 1638 / 20.48, 1843 / 20.48]
      .forEach((p, i) => near(total[i], p, `total ${i}`));
  });

  test('history: a rising line for a leak, a flat one for noise, with a description', async () => {
    await visit(STATES.night());
    const ends = async (name) => page.locator('#known tbody', { has: page.getByText(name, { exact: true }) })
      .locator('[data-f=spark] path').evaluate((path) => {
        const length = path.getTotalLength();
        return [path.getPointAtLength(0), path.getPointAtLength(length)].map(({ x, y }) => [x, y]);
      });
    const [[from, low], [to, high]] = await ends('api');
    assert.ok(from < 4 && to > 116 && low - high > 12, `from ${from},${low} to ${to},${high}`);
    const [[, one], [, two]] = await ends('nginx');
    assert.ok(Math.abs(one - two) < 3);
    const line = page.getByRole('img', { name: /^Unreclaimable memory of api \(blue\) over 1 h: lowest 2\d\d MB/ });
    assert.match(await line.getAttribute('aria-label'), /highest 35\d MB, last 35\d MB\.$/);
  });
});

describe('time and faults', () => {
  test('it is updated in place, without a reload', async () => {
    await visitAt(STATES.ok());
    const node = await page.$('#known tbody:has-text("redis")');
    const points = () => page.$eval('#known tbody:has-text("redis") path', (path) => path.getAttribute('d'));
    const drawn = await points();
    for (let i = 0; i < 10; i += 1) {
      await nextPoll((answer) => {
        const redis = answer.services.find((s) => s.service === 'redis');
        Object.assign(redis, { unreclaimable: 52 * MB, usage: 55 * MB, percent: 81.25, level: 'warning', restarts: 2 });
      });
    }
    const redis = await row('redis');
    assert.deepEqual([redis.level, redis.used, redis.rest, redis.restarts], ['Warning', '81.3 %', '52 of 64 MB', '2']);
    assert.equal((await rows())[0].name, 'redis');
    assert.ok(await node.evaluate((one) => one.isConnected && one === document.querySelector('#known tbody')));
    assert.notEqual(await points(), drawn);
    assert.equal(site.requests.filter((path) => path === '/').length, 1);
    assert.equal(site.requests.filter((path) => path === '/api/v1/history').length, 1);
    assert.deepEqual(page.problems, []);
  });

  test('a container that goes, and one that comes', async () => {
    await visitAt(STATES.overlap());
    await nextPoll((answer) => (answer.services = everything()));
    assert.equal((await rows()).filter((one) => one.name === 'api').length, 1);
    await nextPoll((answer) => answer.services.push(running('api', { slot: 'green', release: 'r3' })));
    assert.equal((await rows()).filter((one) => one.name === 'api').length, 2);
  });

  test('a row does not jump for less than two points', async () => {
    await visitAt(STATES.ok());
    const order = async () => (await rows()).map((one) => one.name).slice(0, 2);
    assert.deepEqual(await order(), ['grafana', 'memory_monitor']);
    const percent = (value) => (answer) => Object.assign(answer.services[7], { percent: value });
    await nextPoll(percent(62.9));
    assert.deepEqual(await order(), ['grafana', 'memory_monitor']);
    await nextPoll(percent(64));
    assert.deepEqual(await order(), ['memory_monitor', 'grafana']);
  });

  for (const [name, fault, why] of [
    ['an error', (response) => response.writeHead(503).end(), 'the monitor answers with HTTP 503'],
    ['no connection', (response) => response.destroy(), 'the monitor does not answer'],
    ['something else than JSON', (response) => response.end('<html>'), 'the answer cannot be read'],
    ['half a status', (response) => response.end('{"services": []}'), 'the answer cannot be read'],
  ]) {
    test(`${name}: stale, less and less asked, and live again`, async () => {
      await visitAt(STATES.critical());
      site.fault = fault;
      await page.clock.runFor(POLL);
      await page.waitForSelector('#stale:not([hidden])');
      assert.ok((await text('#stale')).startsWith(`Stale since 03:12:44: ${why}`), await text('#stale'));
      assert.equal(await text('#live'), 'Stale since 03:12:44');
      assert.equal(await text('#verdict'), 'Last known: Critical: api (blue) at 91.6 %, full in 26 min');
      assert.match(await page.title(), /^Stale since 03:12:44/);
      assert.equal((await rows())[0].used, '91.6 %');
      let tries = 0;
      page.on('request', (request) => request.url().endsWith('/status') && (tries += 1));
      for (let i = 0; i < 30; i += 1) {
        await page.clock.runFor(2000);
        await page.evaluate(() => fetch('/app.js'));
      }
      assert.ok(tries >= 3 && tries <= 6, `${tries} tries in a minute`);
      site.fault = null;
      site.answer.time += 62;
      await page.clock.runFor(30_000);
      await page.waitForSelector('#stale', { state: 'hidden' });
      assert.equal(await text('#verdict'), 'Critical: api (blue) at 91.6 %, full in 26 min');
      assert.equal(site.requests.filter((path) => path.endsWith('/history')).length, 2, 'what was missed is fetched');
      assert.equal(await text('#announce'), 'Live again');
    });
  }

  test('a monitor that answers but takes no samples is stale too', async () => {
    await visitAt(STATES.ok());
    for (let i = 0; i < 7; i += 1) {
      const asked = page.waitForResponse('**/status');
      await page.clock.runFor(POLL);
      await (await asked).finished();
      await page.evaluate(() => new Promise((resolve) => queueMicrotask(resolve)));
    }
    await page.waitForSelector('#stale:not([hidden])');
    assert.equal(await text('#stale'), 'Stale since 03:12:44: the monitor answers, but takes no samples.');
    await nextPoll();
    await page.waitForSelector('#stale', { state: 'hidden' });
  });

  test('without a history the page goes on, and asks again', async () => {
    site = await serve(STATES.ok());
    const json = (response) => response.end(JSON.stringify(site.answer));
    site.fault = (response, path) => (path.endsWith('history') ? response.writeHead(500).end() : json(response));
    page = await open(browser, site.url, { time: NOW * 1000 });
    assert.equal(await text('#verdict'), 'All within limits');
    assert.equal(await text('#history-note'), 'No history: the monitor answers with HTTP 500.');
    site.fault = null;
    await nextPoll();
    assert.equal(await text('#history-note'), '');
    assert.ok(await page.isVisible('[data-f=spark]'));
  });

  test('changes of level are announced, polls are not', async () => {
    await visitAt(STATES.ok());
    await page.evaluate(() => {
      window.said = [];
      new MutationObserver(() => window.said.push(document.getElementById('announce').textContent))
        .observe(document.getElementById('announce'), { childList: true, characterData: true, subtree: true });
    });
    const change = (values) => (answer) => Object.assign(answer.services[1], values);
    await nextPoll(change({ percent: 60, unreclaimable: 230 * MB }));
    await nextPoll(change({ percent: 61, unreclaimable: 235 * MB }));
    assert.deepEqual(await page.evaluate('said'), []);
    await nextPoll(change({ percent: 91.2, level: 'critical' }));
    await nextPoll(change({ percent: 91.9 }));
    assert.deepEqual(await page.evaluate('said'), ['api (blue): Critical, 91.2 %']);
    await nextPoll((answer) => (answer.total.level = 'alert'));
    assert.equal(await text('#announce'), 'The whole stack: Alert, 658 MB');
    assert.equal(await page.getAttribute('#announce', 'role'), 'status');
    assert.equal(await page.locator('[aria-live], [role=alert], [role=status], [role=log]').count(), 1);
  });

  test('a hundred containers: no long task, and no node left behind', async () => {
    await visitAt(STATES.hundred());
    assert.equal((await rows('unknown')).length, 87);
    await page.evaluate(() => {
      window.long = [];
      new PerformanceObserver((list) => window.long.push(...list.getEntries().map((entry) => entry.duration)))
        .observe({ type: 'longtask' });
    });
    const nodes = () => page.evaluate(() => document.querySelectorAll('*').length);
    const before = await nodes();
    for (let i = 0; i < 20; i += 1) {
      await nextPoll((answer) => answer.services.forEach((s) => {
        s.unreclaimable *= 1.01;
        s.percent *= 1 + Math.sin(i + s.limit) / 20;
      }));
    }
    assert.equal(await nodes(), before);
    const worst = Math.max(0, ...await page.evaluate('long'));
    assert.ok(worst < 250, `a task of ${worst} ms`);
    assert.deepEqual(page.problems, []);
  });
});

describe('for everybody', () => {
  test('keyboard: skip, order, details, and the focus stays on a row that moves', async () => {
    await visitAt(STATES.night());
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the services');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.value), 'worst');
    assert.deepEqual((await rows()).map((one) => one.name).slice(0, 5),
      ['api', 'redis', 'prometheus', 'loki', 'grafana']);
    await page.keyboard.press('ArrowRight');
    assert.deepEqual((await rows()).map((one) => one.name), site.answer.services.slice(0, 13).map((s) => s.service));
    assert.match(page.url(), /#budget$/);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    const button = page.getByRole('button', { name: 'nginx', exact: true });
    assert.equal(await button.getAttribute('aria-expanded'), 'true');
    assert.match(await text('.detail'), /Peak of usage\s+17.9 MB/);
    assert.match(await text('.detail figcaption'), /over 1 h: .* The scale ends at the limit of 128 MB/);
    await page.locator('[value=worst]').check();
    await button.focus();
    await nextPoll((answer) => Object.assign(answer.services[0], { percent: 99, level: 'critical' }));
    assert.equal((await rows())[0].name, 'nginx');
    assert.ok(await button.evaluate((one) => one === document.activeElement));
    await page.keyboard.press('Space');
    assert.ok(!await page.isVisible('.detail'));
    await page.goto(`${site.url}#budget`);
    await page.reload();
    await page.waitForSelector('main[aria-busy=false]');
    assert.ok(await page.isChecked('[value=budget]'));
  });

  for (const width of WIDTHS) {
    test(`a table with meters at ${width} pixels`, async () => {
      await visit(STATES.night(), { viewport: { width, height: 844 } });
      const table = page.getByRole('table', { name: 'Services' });
      assert.equal(await table.getByRole('row').count(), 14);
      assert.equal(await table.getByRole('columnheader').count(), 9);
      assert.equal(await table.getByRole('row').nth(1).getByRole('cell').count(), 8);
      assert.equal(await table.getByRole('row').nth(1).getByRole('rowheader').count(), 1);
      const meter = page.getByRole('meter', { name: 'Memory of api (blue)' });
      assert.equal(await meter.getAttribute('aria-valuenow'), '91.6');
      assert.equal(await meter.getAttribute('aria-valuetext'), '91.6 % unreclaimable, Critical, target below 320 MB; '
        + '352 MB of 384 MB, with page cache 359 MB');
      assert.match(await page.getByRole('meter', { name: 'Memory of the whole stack' }).getAttribute('aria-valuetext'),
        /OK, alert at 1,638 MB, critical at 1,843 MB; 859 MB of 2,048 MB/);
      for (const role of ['banner', 'main', 'contentinfo']) assert.equal(await page.getByRole(role).count(), 1);
    });
  }

  for (const state of ['night', 'hostile', 'empty']) {
    test(`axe finds nothing: ${state}, at both widths, light and dark`, async () => {
      await visit(STATES[state](), { reducedMotion: 'reduce' });
      if (state !== 'empty') await page.locator('#known button').first().click();
      if (state === 'hostile') {
        site.fault = (response) => response.destroy();
        await page.waitForSelector('#stale:not([hidden])');
      }
      await page.evaluate(axe.source);
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 844 });
        for (const colorScheme of ['light', 'dark']) {
          await page.emulateMedia({ colorScheme });
          const { violations, passes } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a',
            'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], resultTypes: ['violations'] }));
          const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
          assert.deepEqual(found, [], `${width} ${colorScheme}`);
          assert.ok(passes.some(({ id }) => id === 'color-contrast'));
        }
      }
    });
  }

  test('nothing is wider than its window', async () => {
    await visit(STATES.ok());
    for (const [state, make] of Object.entries(STATES)) {
      site.answer = make();
      await page.reload();
      await page.waitForSelector('main[aria-busy=false]');
      if (state !== 'empty') await page.locator('button').first().click();
      for (const width of [320, 390, 800, 1280]) {
        await page.setViewportSize({ width, height: 844 });
        const scrollWidth = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(scrollWidth <= width, `${state} at ${width}: ${scrollWidth}`);
      }
    }
  });

  test('nothing moves for those who ask for it', async () => {
    const duration = () => page.$eval('.bar .core', (node) => getComputedStyle(node).transitionDuration);
    await visit(STATES.ok(), { reducedMotion: 'no-preference' });
    assert.equal(await duration(), '0.4s');
    await page.emulateMedia({ reducedMotion: 'reduce' });
    assert.equal(await duration(), '0s');
  });

  test('small, and whole without the internet', async () => {
    const folder = new URL('../../roles/image/files/memory_monitor/memory_monitor/static/', import.meta.url);
    const files = ['index.html', 'app.js', 'style.css'];
    const sizes = await Promise.all(files.map(async (file) => (await stat(new URL(file, folder))).size));
    assert.ok(sizes.reduce((a, b) => a + b) < 40 * 1024, String(sizes));
    for (const file of files) {
      const source = (await readFile(new URL(file, folder), 'utf8')).replace('http://www.w3.org/2000/svg', '');
      assert.doesNotMatch(source, /https?:\/\/|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b/, file);
    }
    await visit(status(everything()));
    assert.deepEqual([...new Set(site.requests)].sort(),
      ['/', '/api/v1/history', '/api/v1/status', '/app.js', '/style.css']);
    assert.deepEqual(page.problems, []);
  });
});
