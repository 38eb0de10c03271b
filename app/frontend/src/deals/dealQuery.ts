import { useCallback } from 'react';
import { useLocation, useSearch } from 'wouter';
import { isStage, type Stage } from '../api/model';

/** What the API can sort by; it has an index for each. */
export const SORTS = ['created_at', 'updated_at', 'amount_cents', 'expected_close', 'name', 'company'] as const;

/** Pages of a table, one long table, or a board with a column for each stage. */
export const VIEWS = ['pages', 'scroll', 'board'] as const;

export type View = (typeof VIEWS)[number];
export type Sort = (typeof SORTS)[number];
export type Order = 'asc' | 'desc';

/** What the deal list shows; it lives in the address of the page, so that a view can be shared and reloaded. */
export interface DealQuery {
  view: View;
  q: string;
  stage: Stage | undefined;
  sort: Sort;
  order: Order;
  page: number;
}

export const PAGE_SIZE = 20;
/** What the API gives at most. */
export const MAX_PAGE_SIZE = 100;

// What the API takes at most.
export const MAX_SEARCH = 100;
const MAX_PAGE = 100_000;

/** No filter, newest first: a new deal is on top, and a moved one stays where it is. */
export const EVERYTHING: DealQuery = {
  view: 'pages',
  q: '',
  stage: undefined,
  sort: 'created_at',
  order: 'desc',
  page: 1,
};

export function isFiltered(query: DealQuery): boolean {
  return query.q.trim() !== '' || query.stage !== undefined;
}

/** The same view in the same order, without filters. */
export function unfiltered({ view, sort, order }: DealQuery): DealQuery {
  return { ...EVERYTHING, view, sort, order };
}

/** What a first click on a column shows: the largest and the newest first, names from A, the next to close first. */
export function firstOrder(sort: Sort): Order {
  return sort === 'amount_cents' || sort === 'created_at' || sort === 'updated_at' ? 'desc' : 'asc';
}

export function ariaSort(sort: Sort | undefined, query: DealQuery): 'ascending' | 'descending' | undefined {
  if (sort !== query.sort) return undefined;
  return query.order === 'asc' ? 'ascending' : 'descending';
}

/** The path of the API that answers `query`. */
export function dealsPath(query: DealQuery, pageSize = PAGE_SIZE): string {
  const params = new URLSearchParams();
  const q = query.q.trim();
  if (q !== '') params.set('q', q);
  if (query.stage !== undefined) params.set('stage', query.stage);
  params.set('sort', query.sort);
  params.set('order', query.order);
  params.set('page', String(query.page));
  params.set('page_size', String(pageSize));
  return `/api/deals?${params.toString()}`;
}

/** The query string of the page: only what differs from `EVERYTHING`. */
export function toSearch(query: DealQuery): string {
  const params = new URLSearchParams();
  if (query.view !== EVERYTHING.view) params.set('view', query.view);
  if (query.q !== '') params.set('q', query.q);
  if (query.stage !== undefined) params.set('stage', query.stage);
  if (query.sort !== EVERYTHING.sort || query.order !== EVERYTHING.order) {
    params.set('sort', query.sort);
    params.set('order', query.order);
  }
  if (query.page !== 1) params.set('page', String(query.page));
  const search = params.toString();
  return search === '' ? '' : `?${search}`;
}

/** Reads what a person may have edited: whatever makes no sense is as if it were not there. */
export function fromSearch(search: string): DealQuery {
  const params = new URLSearchParams(search);
  const stage = params.get('stage');
  const sort = SORTS.find((known) => known === params.get('sort')) ?? EVERYTHING.sort;
  const order = params.get('order');
  const page = Number(params.get('page') ?? 1);
  return {
    view: VIEWS.find((known) => known === params.get('view')) ?? EVERYTHING.view,
    q: (params.get('q') ?? '').slice(0, MAX_SEARCH),
    stage: isStage(stage) ? stage : undefined,
    sort,
    order: order === 'asc' || order === 'desc' ? order : firstOrder(sort),
    page: Number.isInteger(page) && page >= 1 && page <= MAX_PAGE ? page : 1,
  };
}

export function useDealQuery(): [DealQuery, (query: DealQuery) => void] {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const change = useCallback(
    (next: DealQuery) => {
      navigate(`${path}${toSearch(next)}`, { replace: true });
    },
    [path, navigate],
  );
  return [fromSearch(search), change];
}
