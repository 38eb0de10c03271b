import { isStage, type Deal, type NewDeal } from '../api/model';
import { formatCents, parseCents } from '../lib/money';

export type Field = 'name' | 'company' | 'owner' | 'stage' | 'amount_cents' | 'probability' | 'expected_close';

/** The fields that are wrong, and why. */
export type Faults = Partial<Record<Field, string>>;

// What the API takes at most.
const MAX_AMOUNT_CENTS = 100_000_000_000;
const TEXTS = [
  ['name', 'a name', 200],
  ['company', 'a company', 200],
  ['owner', 'an owner', 100],
] as const;

function text(form: FormData, field: Field): string {
  const value = form.get(field);
  return typeof value === 'string' ? value.trim() : '';
}

/** What a person filled in as a deal that the API takes, or what is wrong with it. */
export function parseDeal(form: FormData): { deal: NewDeal } | { faults: Faults } {
  const faults: Faults = {};
  for (const [field, label, most] of TEXTS) {
    const length = text(form, field).length;
    if (length === 0) faults[field] = `Enter ${label}.`;
    else if (length > most) faults[field] = `Use at most ${most} characters (now ${length}).`;
  }
  const stage = text(form, 'stage');
  if (!isStage(stage)) faults.stage = 'Choose a stage.';
  const amount = parseCents(text(form, 'amount_cents'));
  if (amount === undefined) faults.amount_cents = 'Enter an amount like 12500 or 12,500.50.';
  else if (amount > MAX_AMOUNT_CENTS) faults.amount_cents = `Enter at most ${formatCents(MAX_AMOUNT_CENTS)}.`;
  const probability = text(form, 'probability');
  if (!/^\d{1,3}$/.test(probability) || Number(probability) > 100) {
    faults.probability = 'Enter a whole number from 0 to 100.';
  }
  const expectedClose = text(form, 'expected_close');
  if (expectedClose !== '' && !/^\d{4}-\d{2}-\d{2}$/.test(expectedClose)) {
    faults.expected_close = 'Enter a date.';
  }
  if (!isStage(stage) || amount === undefined || Object.keys(faults).length > 0) return { faults };
  return {
    deal: {
      name: text(form, 'name'),
      company: text(form, 'company'),
      owner: text(form, 'owner'),
      stage,
      amount_cents: amount,
      probability: Number(probability),
      ...(expectedClose !== '' && { expected_close: expectedClose }),
    },
  };
}

/** What `form` says otherwise than `deal`, but for the stage: a deal is moved, not edited, to another one. */
export function changesOf(deal: Deal, form: NewDeal): Partial<Omit<NewDeal, 'stage'>> {
  return Object.fromEntries(
    Object.entries(form).filter(([field, value]) => field !== 'stage' && deal[field as keyof NewDeal] !== value),
  );
}
