import { describe, expect, it } from 'vitest';
import { parseDeal } from './dealForm';

const FILLED = {
  name: ' Annual licence ',
  company: 'Northwind',
  owner: 'Ada Novak',
  stage: 'proposal',
  amount_cents: '12,500.50',
  probability: '50',
  expected_close: '2026-12-31',
};

function form(changes: Record<string, string> = {}): FormData {
  const data = new FormData();
  for (const [field, value] of Object.entries({ ...FILLED, ...changes })) data.set(field, value);
  return data;
}

describe('parseDeal', () => {
  it('gives what the API takes', () => {
    expect(parseDeal(form())).toEqual({
      deal: {
        name: 'Annual licence',
        company: 'Northwind',
        owner: 'Ada Novak',
        stage: 'proposal',
        amount_cents: 1_250_050,
        probability: 50,
        expected_close: '2026-12-31',
      },
    });
  });

  it('leaves the date to the API when there is none', () => {
    const parsed = parseDeal(form({ expected_close: '' }));
    expect(parsed).toHaveProperty('deal');
    expect(parsed).not.toHaveProperty('deal.expected_close');
  });

  it.each([
    ['name', '  ', 'Enter a name.'],
    ['name', 'x'.repeat(201), 'Use at most 200 characters (now 201).'],
    ['owner', 'x'.repeat(101), 'Use at most 100 characters (now 101).'],
    ['company', '', 'Enter a company.'],
    ['stage', 'nowhere', 'Choose a stage.'],
    ['amount_cents', 'a lot', 'Enter an amount like 12500 or 12,500.50.'],
    ['amount_cents', '1000000000.01', 'Enter at most $1,000,000,000.'],
    ['probability', '101', 'Enter a whole number from 0 to 100.'],
    ['probability', '12.5', 'Enter a whole number from 0 to 100.'],
    ['expected_close', '31.12.2026', 'Enter a date.'],
  ])('refuses %s %j', (field, value, fault) => {
    expect(parseDeal(form({ [field]: value }))).toEqual({ faults: { [field]: fault } });
  });

  it('names every fault at once', () => {
    expect(parseDeal(new FormData())).toEqual({
      faults: {
        name: 'Enter a name.',
        company: 'Enter a company.',
        owner: 'Enter an owner.',
        stage: 'Choose a stage.',
        amount_cents: 'Enter an amount like 12500 or 12,500.50.',
        probability: 'Enter a whole number from 0 to 100.',
      },
    });
  });
});
