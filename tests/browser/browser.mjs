// Debian's Chromium, and a page that remembers what went wrong in it.
import { chromium } from 'playwright-core';

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // The sandbox refuses to run as root, which CI and a container are.
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});

// `time` (ms) stops the clock of the page: it goes on by page.clock alone. `ready` is on the page once it is there.
export async function open(browser, url, { time, ready = 'main[aria-busy=false]', ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, timezoneId: 'Europe/Berlin',
    locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && page.problems.push(message.text()));
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(new URL(url).origin) && !request.url().startsWith('data:')) {
      page.problems.push(`a request to somewhere else: ${request.url()}`);
    }
  });
  await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => {
    console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
  }));
  if (time) {
    await page.clock.install({ time });
    await page.clock.pauseAt(time + 1000);
  }
  await page.goto(url);
  await page.waitForSelector(ready);
  return page;
}
