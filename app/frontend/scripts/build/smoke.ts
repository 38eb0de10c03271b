/**
 * Opens the built page in a browser: a build can succeed and give a blank page, as when chunks wait for each other.
 * SMOKE: `auto` leaves it out, in one line, where there is no browser; `required` fails there; `off` leaves it out.
 */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { headerPolicy } from './csp.ts';
import { answers } from './smoke-api.ts';

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable'];
const TIMEOUT_MS = 15_000;
const TYPES: Record<string, string> = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.avif': 'image/avif',
  '.webp': 'image/webp',
  '.webmanifest': 'application/manifest+json',
};

function answerApi(response: ServerResponse, method: string, url: URL, unknown: string[]): void {
  const headers = { 'Content-Type': 'application/json', 'X-Release': 'smoke' };
  if (url.pathname === '/api/stream') {
    response.writeHead(200, { ...headers, 'Content-Type': 'text/event-stream' }).write('retry: 60000\n\n');
    return;
  }
  const answer = answers(url);
  if (method !== 'GET' || answer === undefined) unknown.push(`${method} ${url.pathname}`);
  response.writeHead(answer === undefined ? 404 : 200, headers).end(JSON.stringify(answer ?? { error: { code: 'not_found', message: 'unknown' } }));
}

/** The bundle as nginx serves it, and an API of examples, on a free port of this machine. */
async function serve(dist: string, unknown: string[]) {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (url.pathname.startsWith('/api/')) {
      answerApi(response, request.method ?? 'GET', url, unknown);
      return;
    }
    const name = extname(url.pathname) === '' ? 'index.html' : normalize(url.pathname);
    readFile(join(dist, name)).then(
      (content) => {
        response.writeHead(200, {
          'Content-Type': TYPES[extname(name)] ?? 'application/octet-stream',
          'Content-Security-Policy': headerPolicy,
          'X-Content-Type-Options': 'nosniff',
        });
        response.end(content);
      },
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function heading(page: Page): Promise<string> {
  const first = page.getByRole('heading', { level: 1 });
  await first.waitFor({ timeout: TIMEOUT_MS });
  // Not that of the page before its scripts, nor of one whose code is on its way.
  await page.locator('[data-page-loading]').first().waitFor({ state: 'detached', timeout: TIMEOUT_MS });
  return (await first.innerText()).trim();
}

/** The title of the page before its scripts, and where it is; it is there when they never come. */
async function beforeScripts(browser: Browser, origin: string): Promise<string> {
  const page = await browser.newPage();
  await page.route('**/assets/*.js', (route) => route.abort());
  await page.goto(origin, { waitUntil: 'domcontentloaded', timeout: TIMEOUT_MS });
  const place = await placeOfTitle(page);
  await page.close();
  return place;
}

async function placeOfTitle(page: Page): Promise<string> {
  const title = page.getByRole('heading', { level: 1 });
  await title.waitFor({ timeout: TIMEOUT_MS });
  const { x, y, height } = (await title.boundingBox()) ?? {};
  return `"${await title.innerText()}" at ${x}, ${y}, ${height} px high`;
}

async function visit(page: Page, origin: string): Promise<string> {
  await page.goto(origin, { waitUntil: 'load', timeout: TIMEOUT_MS });
  const text = await heading(page);
  await page.evaluate(async () => {
    const { active } = await navigator.serviceWorker.ready;
    while (active !== null && active.state !== 'activated') await new Promise((resolve) => setTimeout(resolve, 50));
  });
  return text;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}

async function look(executablePath: string, dist: string): Promise<string> {
  const problems: string[] = [];
  const unknown: string[] = [];
  const { server, origin } = await serve(dist, unknown);
  const browser = await chromium.launch({
    executablePath,
    args: ['--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--no-first-run'],
    chromiumSandbox: process.getuid?.() !== 0,
  });
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  try {
    const page = await browser.newPage();
    let online = true;
    const note = (problem: string) => {
      if (online) problems.push(problem);
    };
    // A violation of the policy is an error of the console too.
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) note(`${message.type()}: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => {
      note(`exception: ${error.message}`);
    });
    const text = await visit(page, origin).catch((error: unknown) => {
      note(`No heading, or no service worker: ${firstLine(error)}`);
      return '';
    });
    const [before, after] = await Promise.all([beforeScripts(browser, origin), placeOfTitle(page)]).catch((error: unknown) => {
      note(`The page before its scripts has no title: ${firstLine(error)}`);
      return [];
    });
    if (before !== after) note(`The page before its scripts has ${before}, with them it has ${after}: it would jump.`);
    if (unknown.length > 0) note(`The page asked for ${unknown.join(', ')}; give scripts/build/smoke-api.ts an answer for it.`);
    online = false;
    stop();
    if (problems.length === 0) {
      await page.reload({ waitUntil: 'commit', timeout: TIMEOUT_MS }).then(() => heading(page)).catch((error: unknown) => {
        problems.push(`Offline, a second visit shows no heading: ${firstLine(error)}`);
      });
    }
    if (problems.length > 0) {
      throw new Error(
        `The built page does not work in ${executablePath}:\n  ${problems.join('\n  ')}\n` +
          'Nothing was deployed; dist/ is left to look at (npm run preview).',
      );
    }
    return `Smoke test: Chromium ${browser.version()} shows "${text}" without an error, and again offline.`;
  } finally {
    stop();
    await browser.close();
  }
}

/** What came of it, in a line. */
async function smoke(dist: string, environment: NodeJS.ProcessEnv): Promise<string> {
  const mode = environment.SMOKE ?? 'auto';
  if (!['auto', 'required', 'off'].includes(mode)) throw new Error(`SMOKE=${mode} is none of auto, required and off.`);
  if (mode === 'off') return 'Smoke test: left out (SMOKE=off).';
  const given = environment.CHROMIUM_PATH ?? '';
  if (given !== '' && !existsSync(given)) throw new Error(`CHROMIUM_PATH=${given} does not exist.`);
  const browser = given === '' ? BROWSERS.find((path) => existsSync(path)) : given;
  if (browser !== undefined) return look(browser, dist);
  const missing = 'there is no browser (CHROMIUM_PATH, or the package chromium), so nobody has seen the built page';
  if (mode === 'required') throw new Error(`SMOKE=required, but ${missing}.`);
  return `Smoke test: left out; ${missing}.`;
}

try {
  console.log(await smoke(join(import.meta.dirname, '../../dist'), process.env));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
