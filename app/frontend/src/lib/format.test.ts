import { describe, expect, it } from 'vitest';
import { dayAfter, formatDay, formatMonthLong, formatMonthShort, formatRatio, plural } from './format';

describe('dates', () => {
  it('are tested in a zone west of Greenwich, where a careless parser shows the day before', () => {
    expect(new Date('2026-12-01').getDate()).toBe(30);
  });

  it('shows the day that is written', () => {
    expect(formatDay('2026-12-01')).toBe('Dec 1, 2026');
    expect(formatDay('2026-11-24T23:30:00.000Z')).toBe('Nov 24, 2026');
  });

  it('shows a dash for what is no date', () => {
    expect(formatDay('soon')).toBe('–');
  });

  it('shows months, with the year where it begins', () => {
    expect(formatMonthShort('2026-11')).toBe('Nov');
    expect(formatMonthShort('2027-01')).toBe('Jan 27');
    expect(formatMonthLong('2026-11')).toBe('November 2026');
    expect(formatMonthShort('?')).toBe('?');
    expect(formatMonthLong('?')).toBe('?');
  });

  it('counts days over the end of a year and of summer time', () => {
    expect(dayAfter(30, Date.UTC(2026, 11, 15, 23, 59))).toBe('2027-01-14');
    expect(dayAfter(1, Date.UTC(2026, 9, 31, 23, 0))).toBe('2026-11-01');
  });
});

it('shows ratios as whole per cents', () => {
  expect(formatRatio(0)).toBe('0%');
  expect(formatRatio(0.666)).toBe('67%');
  expect(formatRatio(1)).toBe('100%');
});

it('counts nouns', () => {
  expect(plural(0, 'deal')).toBe('0 deals');
  expect(plural(1, 'deal')).toBe('1 deal');
  expect(plural(3000, 'deal')).toBe('3,000 deals');
});
