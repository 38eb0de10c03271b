// One measurement of a page, in a browser that somebody else has started and will end:
//   node page.mjs benchmark PORT                        prints Lighthouse's benchmarkIndex, a few times
//   node page.mjs measure PORT URL FORM DIRECTORY NAME  writes DIRECTORY/NAME.{html,json}, prints the figures
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { desktopConfig, startFlow } from 'lighthouse';
import { pageFunctions } from 'lighthouse/core/lib/page-functions.js';
import puppeteer from 'puppeteer-core';
import memoryConfig from '../../lighthouse.memory-config.js';

const BENCHMARKS = 5;
const LOAD_TIMEOUT = 45_000;
const CLICKABLE_TIMEOUT = 30_000;
// After this long a page has answered an interaction, or Lighthouse counts it as slow anyway.
const PAUSE = 700;
// A table has hundreds of rows.
const OF_A_KIND = 2;
const FEWEST = 3;

const visible = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled
  && element.getBoundingClientRect().width > 0;

async function benchmark(browser) {
  const page = await browser.newPage();
  const indexes = [];
  for (let i = 0; i < BENCHMARKS; i += 1) indexes.push(await page.evaluate(pageFunctions.computeBenchmarkIndex));
  return { indexes };
}

async function findVisible(page, selector) {
  const found = [];
  for (const element of await page.$$(selector)) {
    if (await element.evaluate(visible)) found.push(element);
    else await element.dispose();
  }
  return found;
}

// A person clicks or taps, types and reads. An element that a click has removed is passed over.
async function interact(page, form) {
  const { navigation, actions, search } = memoryConfig;
  const done = [];
  const press = async (element) => {
    const [label, opens] = await element.evaluate((e) => [(e.ariaLabel || e.textContent).trim(), e.ariaHasPopup]);
    await (form === 'mobile' ? element.tap() : element.click());
    done.push(label.slice(0, 40));
    await sleep(PAUSE);
    if (opens === 'dialog') {
      await page.keyboard.press('Escape');
      await sleep(PAUSE);
    }
  };
  const use = async () => {
    for (const selector of actions) {
      for (let i = 0; i < OF_A_KIND; i += 1) {
        const element = (await findVisible(page, selector))[i];
        if (element) await press(element);
      }
    }
    const [field] = await findVisible(page, search);
    if (field) {
      await field.type('an', { delay: 80 });
      done.push('type into the search field');
      await sleep(PAUSE);
    }
  };

  const any = [navigation, ...actions].join(', ');
  const deadline = Date.now() + CLICKABLE_TIMEOUT;
  let [first] = await findVisible(page, any);
  while (!first) {
    if (Date.now() > deadline) throw new Error(`nothing to click appeared in ${CLICKABLE_TIMEOUT / 1000} s (${any})`);
    await sleep(20);
    [first] = await findVisible(page, any);
  }
  await press(first);
  const loaded = () => performance.getEntriesByType('navigation')[0].loadEventEnd > 0;
  await page.waitForFunction(loaded, { timeout: LOAD_TIMEOUT });
  const links = (await findVisible(page, navigation)).length;
  if (links === 0) await use();
  for (let i = 0; i < links; i += 1) {
    const link = (await findVisible(page, navigation))[i];
    if (link) await press(link);
    await use();
  }
  if (done.length < FEWEST) {
    throw new Error(`only ${done.length} interactions (${done.join(', ')}), INP needs ${FEWEST}. Looked for ${any}`);
  }
  return done;
}

/** What the browser itself knows about the load, the paint and the first input of this document. */
const observed = async () => {
  const entries = (type) => new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the browser reported no ${type} within 5 s`)), 5000);
    new PerformanceObserver((list) => {
      clearTimeout(late);
      resolve(list.getEntries());
    }).observe({ type, buffered: true });
  });
  const [[navigation], paints, [input]] = [
    performance.getEntriesByType('navigation'), await entries('largest-contentful-paint'), await entries('first-input'),
  ];
  const { startTime, processingStart } = input;
  return {
    lcp: paints.at(-1).startTime, load: navigation.loadEventEnd,
    fid: processingStart - startTime, first_input_at: startTime,
  };
};

async function measure(browser, url, form, directory, name) {
  const config = { extends: memoryConfig.extends, settings: { ...memoryConfig.settings } };
  if (form === 'desktop') Object.assign(config.settings, desktopConfig.settings);
  const page = await browser.newPage();
  const flow = await startFlow(page, { config, name: `${url}, ${form}` });

  // First, since nothing is cached yet: a load with the throttling applied, and a person who does not wait for its end.
  // Lighthouse calculates the throttling of the second step, which can give neither a load event nor an interaction.
  await flow.startTimespan({ name: 'Cold load and interactions, throttling applied' });
  const response = await page.goto(url, { waitUntil: 'domcontentloaded', timeout: LOAD_TIMEOUT });
  if (!response.ok()) throw new Error(`${url} answered ${response.status()}`);
  const interactions = await interact(page, form);
  const { lcp, fid, load, first_input_at: firstInputAt } = await page.evaluate(observed);
  await flow.endTimespan();

  await flow.navigate(url, { name: 'Cold load' });

  const result = await flow.createFlowResult();
  const [timespan, navigation] = result.steps.map((step) => step.lhr);
  for (const lhr of [timespan, navigation]) {
    if (lhr.runtimeError) throw new Error(`Lighthouse: ${lhr.runtimeError.message}`);
  }
  const number = (lhr, audit) => {
    const found = lhr.audits[audit];
    if (typeof found?.numericValue !== 'number') {
      throw new Error(`Lighthouse has no ${audit}: ${found?.errorMessage ?? found?.explanation ?? 'not applicable'}`);
    }
    return found.numericValue;
  };
  await mkdir(directory, { recursive: true });
  await writeFile(path.join(directory, `${name}.html`), await flow.generateReport());
  await writeFile(path.join(directory, `${name}.json`), JSON.stringify(result));
  return {
    lighthouse: navigation.lighthouseVersion,
    user_agent: navigation.environment.hostUserAgent,
    benchmark_index: navigation.environment.benchmarkIndex,
    cpu_slowdown: navigation.configSettings.throttling.cpuSlowdownMultiplier,
    warnings: navigation.runWarnings,
    interactions,
    first_input_at_ms: firstInputAt,
    figures: {
      score: navigation.categories.performance.score * 100,
      lcp: number(navigation, 'largest-contentful-paint'),
      lcp_applied: lcp,
      // The worse of the load alone and of the load with somebody who uses it.
      cls: Math.max(number(navigation, 'cumulative-layout-shift'), number(timespan, 'cumulative-layout-shift')),
      tti: number(navigation, 'interactive'),
      tbt: number(navigation, 'total-blocking-time'),
      max_fid: number(navigation, 'max-potential-fid'),
      fid,
      inp: number(timespan, 'interaction-to-next-paint'),
      load,
    },
  };
}

const [what, port, ...rest] = process.argv.slice(2);
const browser = await puppeteer.connect({ browserURL: `http://127.0.0.1:${port}`, defaultViewport: null });
try {
  const result = await ({ benchmark, measure })[what](browser, ...rest);
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  await browser.disconnect();
}
