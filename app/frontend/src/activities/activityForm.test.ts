import { expect, it } from 'vitest';
import { parseActivity } from './activityForm';

const NOW = Date.UTC(2026, 10, 24, 12);

function form(changes: Record<string, string> = {}): FormData {
  const data = new FormData();
  const fields = { deal_id: '3', type: 'call', subject: ' Price ', owner: 'Ada', happened_at: '2026-11-24T06:30', ...changes };
  for (const [name, value] of Object.entries(fields)) data.set(name, value);
  return data;
}

it('takes a local time for what it is', () => {
  // New York is five hours behind in November.
  expect(parseActivity(form(), NOW)).toEqual({
    activity: { deal_id: 3, type: 'call', subject: 'Price', owner: 'Ada', happened_at: '2026-11-24T11:30:00.000Z' },
  });
});

it('leaves the time to the API when there is none', () => {
  expect(parseActivity(form({ happened_at: '' }), NOW)).toEqual({
    activity: { deal_id: 3, type: 'call', subject: 'Price', owner: 'Ada' },
  });
});

it.each([
  [{ deal_id: '' }, { deal_id: 'Choose a deal.' }],
  [{ type: 'stage_change' }, { type: 'Choose a type.' }],
  [{ subject: '  ' }, { subject: 'Enter what it was about.' }],
  [{ subject: 'x'.repeat(501) }, { subject: 'Use at most 500 characters (now 501).' }],
  [{ owner: '' }, { owner: 'Enter an owner.' }],
  [{ happened_at: 'soon' }, { happened_at: 'Enter a date and a time.' }],
  [{ happened_at: '2026-11-24T08:00' }, { happened_at: 'Enter a time that is not to come.' }],
])('refuses %o', (changes, faults) => {
  expect(parseActivity(form(changes), NOW)).toEqual({ faults });
});
