import { once } from './once';

const LOCALE = 'en-US';

const integer = once(() => new Intl.NumberFormat(LOCALE));
const percent = once(() => new Intl.NumberFormat(LOCALE, { style: 'percent', maximumFractionDigits: 0 }));
// Days and months have no zone: they are read and written in UTC, or the day shifts west of Greenwich.
const day = once(() => new Intl.DateTimeFormat(LOCALE, { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' }));
const shortMonth = once(() => new Intl.DateTimeFormat(LOCALE, { month: 'short', timeZone: 'UTC' }));
const longMonth = once(() => new Intl.DateTimeFormat(LOCALE, { month: 'long', year: 'numeric', timeZone: 'UTC' }));
const time = once(() => new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit', hour12: false }));
const moment = once(() => new Intl.DateTimeFormat(LOCALE, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  hour12: false,
}));

/** Stands for a value that is not there. */
export const NONE = '–';

export function formatCount(count: number): string {
  return integer().format(count);
}

/** `1 deal`, `2 deals` */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** 0.425 -> `43%` */
export function formatRatio(ratio: number): string {
  return percent().format(ratio);
}

/** `2026-11-24`, or a timestamp that begins so -> `Nov 24, 2026` */
export function formatDay(date: string): string {
  const parsed = Date.parse(`${date.slice(0, 10)}T00:00:00Z`);
  return Number.isNaN(parsed) ? NONE : day().format(parsed);
}

/** `2026-11` -> `Nov`, and `Jan 26` where a year begins */
export function formatMonthShort(month: string): string {
  const parsed = Date.parse(`${month}-01T00:00:00Z`);
  if (Number.isNaN(parsed)) return month;
  const name = shortMonth().format(parsed);
  return month.endsWith('-01') ? `${name} ${month.slice(2, 4)}` : name;
}

/** `2026-11` -> `November 2026` */
export function formatMonthLong(month: string): string {
  const parsed = Date.parse(`${month}-01T00:00:00Z`);
  return Number.isNaN(parsed) ? month : longMonth().format(parsed);
}

/** The day that many days after `from` (milliseconds), as a date field and the API write it. */
export function dayAfter(days: number, from: number): string {
  return new Date(from + days * 86_400_000).toISOString().slice(0, 10);
}

/** The local time of day, `14:05` */
export function formatTime(milliseconds: number): string {
  return time().format(milliseconds);
}

/** `14:05`, or `Nov 24, 14:05` on another local day than today. */
export function formatMoment(milliseconds: number): string {
  const sameDay = new Date(milliseconds).toDateString() === new Date().toDateString();
  return sameDay ? time().format(milliseconds) : moment().format(milliseconds);
}

/** A moment as a field of the type datetime-local writes it: local, without a zone. */
export function localMoment(milliseconds: number): string {
  const offset = new Date(milliseconds).getTimezoneOffset() * 60_000;
  return new Date(milliseconds - offset).toISOString().slice(0, 16);
}
