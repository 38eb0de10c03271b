import { describe, expect, it } from 'vitest';
import { dealsPath, EVERYTHING, fromSearch, isFiltered, toSearch, type DealQuery } from './dealQuery';

const SPECIAL: DealQuery = { view: 'scroll', q: 'Söder & Co', stage: 'won', sort: 'amount_cents', order: 'asc', page: 3 };

describe('the address of the page', () => {
  it('is bare for the usual view', () => {
    expect(toSearch(EVERYTHING)).toBe('');
    expect(fromSearch('')).toEqual(EVERYTHING);
  });

  it('brings a view back', () => {
    expect(fromSearch(toSearch(SPECIAL))).toEqual(SPECIAL);
  });

  it.each([
    ['?stage=nowhere', EVERYTHING],
    ['?sort=id;drop&order=up', EVERYTHING],
    ['?view=cube', EVERYTHING],
    ['?view=board', { ...EVERYTHING, view: 'board' }],
    ['?page=-1', EVERYTHING],
    ['?page=1.5', EVERYTHING],
    ['?page=1e9', EVERYTHING],
    ['?sort=name', { ...EVERYTHING, sort: 'name', order: 'asc' }],
    [`?q=${'x'.repeat(150)}`, { ...EVERYTHING, q: 'x'.repeat(100) }],
  ])('takes %s for what makes sense of it', (search, query) => {
    expect(fromSearch(search)).toEqual(query);
  });
});

describe('dealsPath', () => {
  it('asks for a page of everything', () => {
    expect(dealsPath(EVERYTHING)).toBe('/api/deals?sort=created_at&order=desc&page=1&page_size=20');
  });

  it('asks for pages of another size', () => {
    expect(dealsPath({ ...EVERYTHING, page: 7 }, 100)).toBe('/api/deals?sort=created_at&order=desc&page=7&page_size=100');
  });

  it('leaves out a search of blanks, which the API refuses', () => {
    expect(dealsPath({ ...EVERYTHING, q: '  ' })).toBe(dealsPath(EVERYTHING));
  });

  it('escapes', () => {
    expect(dealsPath(SPECIAL)).toContain('q=S%C3%B6der+%26+Co&stage=won');
  });
});

it('knows a filter from an order', () => {
  expect(isFiltered({ ...EVERYTHING, q: ' ' })).toBe(false);
  expect(isFiltered({ ...EVERYTHING, sort: 'name', page: 2 })).toBe(false);
  expect(isFiltered({ ...EVERYTHING, stage: 'won' })).toBe(true);
  expect(isFiltered({ ...EVERYTHING, q: 'x' })).toBe(true);
});
