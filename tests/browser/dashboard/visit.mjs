// The dashboard as it is served, and what the tests leave in it.
import { open } from '../browser.mjs';

export const SITE = process.env.URL ?? 'http://localhost';
// Of this run alone; what is named so is removed in the end.
export const MARK = `E2E ${Date.now().toString(36)}`;

export const visit = (browser, path, options) => open(browser, `${SITE}${path}`, { ready: 'h1', ...options });

/** Asks the API; nginx lets an address have 20 requests a second, and refuses what is more. */
export async function api(path, { method = 'GET', body } = {}) {
  for (;;) {
    const answer = await fetch(`${SITE}/api${path}`, {
      method,
      headers: body && { 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    if (answer.status === 429) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      continue;
    }
    if (!answer.ok) throw new Error(`${method} /api${path}: HTTP ${answer.status}`);
    return answer.status === 204 ? undefined : answer.json();
  }
}

export const made = (changes = {}) => ({
  name: MARK, company: 'Example', owner: 'Test', stage: 'lead', amount_cents: 123_400, probability: 10,
  expected_close: '2027-01-31', ...changes,
});

export async function tidy() {
  const { items } = await api(`/deals?q=${encodeURIComponent(MARK)}&page_size=100`);
  for (const { id } of items) await api(`/deals/${id}`, { method: 'DELETE' });
}

/** A number out of a card of the overview: `won deal` of "12 won deals". */
export async function counted(page, what) {
  const text = await page.getByRole('region', { name: 'Summary' }).innerText();
  return Number(new RegExp(`([\\d,.]+) ${what}`).exec(text)[1].replaceAll(/\D/g, ''));
}
