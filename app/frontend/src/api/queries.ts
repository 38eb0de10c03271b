import { QueryClient, queryOptions } from '@tanstack/react-query';
import { get, type ApiError } from './client';
import { noteHidden } from './connection';
import type { Activity, ActivityType, Deal, Page, RevenueMonth, StageTotal, Summary } from './model';

declare module '@tanstack/react-query' {
  interface Register {
    defaultError: ApiError;
  }
}

/** What is refreshed together: the first part of every query key. */
export type Resource = 'summary' | 'pipeline' | 'revenue' | 'deals' | 'activities' | 'release';

/** Who comes back to a tab that shows figures older than this sees fresh ones. */
const STALE_MS = 60_000;

export function createQueryClient(): QueryClient {
  const queryClient = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: STALE_MS,
        retry: false,
        // Offline, the service worker has the answer, or the request fails and says so.
        networkMode: 'always',
        refetchOnReconnect: 'always',
      },
      // Never paused: a write happens now or is refused (client.ts).
      mutations: { networkMode: 'always' },
    },
  });
  queryClient.getQueryCache().subscribe(({ type, query }) => {
    if (type !== 'observerRemoved' || query.getObserversCount() > 0) return;
    const [, path] = query.queryKey as [Resource, string];
    // The next place that shows it must not take an old answer for a new one.
    if (noteHidden(path)) query.invalidate();
  });
  return queryClient;
}

function read<T>(resource: Resource, path: string) {
  return queryOptions({
    queryKey: [resource, path],
    queryFn: ({ signal }) => get<T>(path, signal),
  });
}

export const summaryQuery = read<Summary>('summary', '/api/summary');

export const pipelineQuery = read<{ stages: StageTotal[] }>('pipeline', '/api/pipeline');

export const REVENUE_MONTHS = 12;

export const revenueQuery = read<{ months: RevenueMonth[] }>('revenue', `/api/revenue?months=${REVENUE_MONTHS}`);

export const releaseQuery = read<{ release: string }>('release', '/api/release');

export function dealsQuery(path: string) {
  return read<Page<Deal>>('deals', path);
}

export function activitiesQuery(type: ActivityType | undefined, page: number, pageSize: number) {
  const params = new URLSearchParams();
  if (type !== undefined) params.set('type', type);
  params.set('page', String(page));
  params.set('page_size', String(pageSize));
  return read<Page<Activity>>('activities', `/api/activities?${params.toString()}`);
}

/** Reads anew what is shown of `resources`, and what is not shown once it is. */
export function refresh(queryClient: QueryClient, resources?: readonly Resource[]): void {
  if (resources === undefined) {
    void queryClient.invalidateQueries();
    return;
  }
  for (const resource of resources) void queryClient.invalidateQueries({ queryKey: [resource] });
}

/** Puts an answer of the API in the place of its older self in every list. */
export function replaceDeal(queryClient: QueryClient, deal: Deal): void {
  queryClient.setQueriesData<Page<Deal>>({ queryKey: ['deals'] satisfies [Resource] }, (page) =>
    page && { ...page, items: page.items.map((item) => (item.id === deal.id ? deal : item)) },
  );
}
