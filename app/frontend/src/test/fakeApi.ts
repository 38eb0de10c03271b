import { vi } from 'vitest';
import { OPEN_STAGES, STAGES, type Activity, type Deal, type NewActivity, type NewDeal, type Stage } from '../api/model';

const PROBABILITY: Record<Stage, number> = { lead: 10, qualified: 25, proposal: 50, negotiation: 75, won: 100, lost: 0 };

export interface Sent {
  method: string;
  path: string;
  params: URLSearchParams;
  body: unknown;
}

type Answer = (sent: Sent) => Response | Promise<Response>;

export function makeDeal(changes: Partial<Deal> & { id: number }): Deal {
  return {
    name: `Deal ${changes.id}`,
    company: 'Northwind',
    owner: 'Ada Novak',
    stage: 'lead',
    amount_cents: 100_000,
    probability: 10,
    expected_close: '2026-12-31',
    created_at: new Date(Date.UTC(2026, 0, 1) + changes.id * 60_000).toISOString(),
    updated_at: '2026-11-01T00:00:00.000Z',
    ...changes,
  };
}

export function apiError(status: number, code: string, message: string, details?: unknown): Response {
  return Response.json({ error: { code, message, details } }, { status, headers: { 'X-Release': 'r1' } });
}

/** The API of the dashboard over an array of deals, in the place of fetch. */
export class FakeApi {
  release = 'r1';
  readonly sent: Sent[] = [];
  readonly activities: Activity[] = [];
  private readonly overrides = new Map<string, Answer>();

  constructor(readonly deals: Deal[]) {
    vi.stubGlobal('fetch', (path: string, init?: RequestInit) => this.fetch(path, init));
  }

  /** Answers `method path` in this way until `restore`. */
  answer(route: string, answer: Answer): void {
    this.overrides.set(route, answer);
  }

  restore(route: string): void {
    this.overrides.delete(route);
  }

  sentTo(method: string, path: string): Sent[] {
    return this.sent.filter((one) => one.method === method && one.path === path);
  }

  private async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(path, 'http://localhost');
    const sent: Sent = {
      method: init.method ?? 'GET',
      path: url.pathname,
      params: url.searchParams,
      body: typeof init.body === 'string' ? JSON.parse(init.body) : undefined,
    };
    this.sent.push(sent);
    const override = this.overrides.get(`${sent.method} ${sent.path}`);
    return override === undefined ? this.handle(sent) : override(sent);
  }

  private handle(sent: Sent): Response {
    const id = /^\/api\/deals\/(\d+)(\/move)?$/.exec(sent.path);
    if (id !== null) {
      const deal = this.deals.find((one) => one.id === Number(id[1]));
      if (deal === undefined) return apiError(404, 'not_found', `deal ${id[1] ?? ''} does not exist`);
      Object.assign(deal, sent.body, { updated_at: new Date().toISOString() });
      if (id[2] !== undefined) deal.probability = PROBABILITY[deal.stage];
      return this.json(deal);
    }
    switch (`${sent.method} ${sent.path}`) {
      case 'GET /api/summary':
        return this.json(this.summary());
      case 'GET /api/pipeline':
        return this.json({ stages: STAGES.map((stage) => this.total(stage)) });
      case 'GET /api/revenue':
        return this.json({ months: this.revenue(Number(sent.params.get('months'))) });
      case 'GET /api/deals':
        return this.json(this.list(sent.params));
      case 'POST /api/deals': {
        const deal = makeDeal({
          ...(sent.body as NewDeal),
          id: Math.max(0, ...this.deals.map((one) => one.id)) + 1,
          created_at: new Date().toISOString(),
        });
        this.deals.push(deal);
        return this.json(deal, 201);
      }
      case 'GET /api/release':
        return this.json({ release: this.release });
      case 'GET /api/activities':
        return this.json(this.pageOf(this.activities.filter(({ type }) => (sent.params.get('type') ?? type) === type), sent.params));
      case 'POST /api/activities': {
        const body = sent.body as NewActivity;
        const deal_name = this.deals.find((deal) => deal.id === body.deal_id)?.name ?? '';
        const activity = { id: this.activities.length + 1, happened_at: new Date().toISOString(), deal_name, ...body };
        this.activities.unshift(activity);
        return this.json(activity, 201);
      }
      default:
        return apiError(404, 'not_found', `${sent.method} ${sent.path} is not known`);
    }
  }

  private json(body: unknown, status = 200): Response {
    return Response.json(body, { status, headers: { 'X-Release': this.release } });
  }

  private total(stage: Stage) {
    const deals = this.deals.filter((deal) => deal.stage === stage);
    return {
      stage,
      count: deals.length,
      amount_cents: deals.reduce((sum, deal) => sum + deal.amount_cents, 0),
      weighted_cents: deals.reduce((sum, deal) => sum + (deal.amount_cents * deal.probability) / 100, 0),
    };
  }

  private summary() {
    const open = OPEN_STAGES.map((stage) => this.total(stage));
    const won = this.total('won');
    const closed = won.count + this.total('lost').count;
    return {
      open_count: open.reduce((sum, total) => sum + total.count, 0),
      open_cents: open.reduce((sum, total) => sum + total.amount_cents, 0),
      won_cents: won.amount_cents,
      won_count: won.count,
      win_rate: closed === 0 ? 0 : won.count / closed,
      average_cents: won.count === 0 ? 0 : Math.round(won.amount_cents / won.count),
    };
  }

  /** Everything closed in the last month. */
  private revenue(months: number) {
    return Array.from({ length: months }, (_, index) => {
      const last = index === months - 1;
      return {
        month: new Date(Date.UTC(2026, 10 - (months - 1 - index), 1)).toISOString().slice(0, 7),
        won_cents: last ? this.total('won').amount_cents : 0,
        won_count: last ? this.total('won').count : 0,
        lost_count: last ? this.total('lost').count : 0,
      };
    });
  }

  private list(params: URLSearchParams) {
    const q = params.get('q')?.toLowerCase() ?? '';
    const stage = params.get('stage');
    const sort = params.get('sort') as keyof Deal;
    const direction = params.get('order') === 'asc' ? 1 : -1;
    const found = this.deals
      .filter((deal) => stage === null || deal.stage === stage)
      .filter((deal) => `${deal.name} ${deal.company} ${deal.owner}`.toLowerCase().includes(q))
      .sort((a, b) => (a[sort] < b[sort] ? -direction : a[sort] > b[sort] ? direction : 0));
    return this.pageOf(found, params);
  }

  private pageOf(found: unknown[], params: URLSearchParams) {
    const page = Number(params.get('page'));
    const size = Number(params.get('page_size'));
    return { items: found.slice((page - 1) * size, page * size), page, page_size: size, total: found.length };
  }
}
