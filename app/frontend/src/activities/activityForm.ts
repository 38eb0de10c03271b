import { LOGGED_TYPES, type NewActivity } from '../api/model';
import type { Faults } from '../ui/Field';

// What the API takes at most.
const TEXTS = [
  ['subject', 'what it was about', 500],
  ['owner', 'an owner', 100],
] as const;

/** What a person filled in as an activity that the API takes, or what is wrong with it. Times are local. */
export function parseActivity(form: FormData, now: number): { activity: NewActivity } | { faults: Faults } {
  const text = (field: string) => {
    const value = form.get(field);
    return typeof value === 'string' ? value.trim() : '';
  };
  const faults: Faults = {};
  for (const [field, label, most] of TEXTS) {
    const { length } = text(field);
    if (length === 0) faults[field] = `Enter ${label}.`;
    else if (length > most) faults[field] = `Use at most ${most} characters (now ${length}).`;
  }
  const type = LOGGED_TYPES.find((known) => known === text('type'));
  if (type === undefined) faults.type = 'Choose a type.';
  const deal = Number(text('deal_id'));
  if (!Number.isSafeInteger(deal) || deal < 1) faults.deal_id = 'Choose a deal.';
  const happened = text('happened_at') === '' ? undefined : Date.parse(text('happened_at'));
  if (Number.isNaN(happened)) faults.happened_at = 'Enter a date and a time.';
  else if (happened !== undefined && happened > now + 60_000) faults.happened_at = 'Enter a time that is not to come.';
  if (type === undefined || Object.keys(faults).length > 0) return { faults };
  return {
    activity: {
      deal_id: deal,
      type,
      subject: text('subject'),
      owner: text('owner'),
      ...(happened !== undefined && { happened_at: new Date(happened).toISOString() }),
    },
  };
}
