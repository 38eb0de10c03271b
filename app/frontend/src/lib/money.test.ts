import { describe, expect, it } from 'vitest';
import { formatCents, formatCentsCompact, parseCents } from './money';

describe('formatCents', () => {
  it.each([
    [0, '$0'],
    [5, '$0.05'],
    [123_400, '$1,234'],
    [123_450, '$1,234.50'],
    [-2_50, '-$2.50'],
    [100_000_000_000, '$1,000,000,000'],
  ])('%d -> %s', (cents, text) => {
    expect(formatCents(cents)).toBe(text);
  });
});

describe('formatCentsCompact', () => {
  it.each([
    [0, '$0'],
    [99_900, '$999'],
    [135_000_000, '$1.35M'],
    [45_000_000, '$450K'],
    [4_780_000_000, '$47.8M'],
  ])('%d -> %s', (cents, text) => {
    expect(formatCentsCompact(cents)).toBe(text);
  });
});

describe('parseCents', () => {
  it.each([
    ['12500', 1_250_000],
    ['12,500.50', 1_250_050],
    ['$ 1,000,000', 100_000_000],
    [' 0.5 ', 50],
    // 1.15 * 100 is 114.99999999999999 in floating point.
    ['1.15', 115],
    ['90071992547409.91', Number.MAX_SAFE_INTEGER],
  ])('%s -> %d', (text, cents) => {
    expect(parseCents(text)).toBe(cents);
  });

  it.each(['', 'abc', '-5', '1.234', '1,00', '12,5000', '.5', '1e3', '90071992547409.92', '$'])('refuses %j', (text) => {
    expect(parseCents(text)).toBeUndefined();
  });

  it('reads what formatCents writes', () => {
    for (const cents of [0, 1, 99, 100, 12_345, 100_000_000_000]) expect(parseCents(formatCents(cents))).toBe(cents);
  });
});
