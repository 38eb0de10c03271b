import { once } from './once';

// Amounts travel and are summed in integer cents; a decimal point appears only here.
const LOCALE = 'en-US';
const CURRENCY = 'USD';

const exact = once(() => new Intl.NumberFormat(LOCALE, { style: 'currency', currency: CURRENCY }));
const whole = once(() => new Intl.NumberFormat(LOCALE, { style: 'currency', currency: CURRENCY, maximumFractionDigits: 0 }));
const compact = once(() => new Intl.NumberFormat(LOCALE, {
  style: 'currency',
  currency: CURRENCY,
  notation: 'compact',
  maximumSignificantDigits: 3,
}));

/** `$1,234.50`; whole amounts without the zeros, `$1,234`. */
export function formatCents(cents: number): string {
  return (cents % 100 === 0 ? whole() : exact()).format(cents / 100);
}

/** As a person types it: `1234.50`. */
export function formatPlainCents(cents: number): string {
  const digits = String(cents).padStart(3, '0');
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

/** For headlines and axes: `$1.24M`, `$843K`, `$0`. */
export function formatCentsCompact(cents: number): string {
  return compact().format(cents / 100);
}

/**
 * Cents of what a person typed (`12500`, `$12,500.5`), exactly: digits are shifted, never multiplied.
 * `undefined` when it is no amount, has more than two decimals, or is beyond safe integers.
 */
export function parseCents(text: string): number | undefined {
  const match = /^\$?\s*(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{1,2}))?$/.exec(text.trim());
  if (match === null) return undefined;
  const cents = Number(`${(match[1] ?? '').replaceAll(',', '')}${(match[2] ?? '').padEnd(2, '0')}`);
  return Number.isSafeInteger(cents) ? cents : undefined;
}
