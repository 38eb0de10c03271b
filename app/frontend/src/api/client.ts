import { noteAnswer, noteUnreachable } from './connection';
import type { Activity, Deal, NewActivity, NewDeal, Stage } from './model';
import { noteRelease } from './release';

const TIMEOUT_MS = 15_000;

/** A request that failed, with a message that can be shown to a person. */
export class ApiError extends Error {
  override name = 'ApiError';

  constructor(
    message: string,
    /** The error code of the API, or `network`, `timeout`, `offline` or `http` when no answer of the API came. */
    readonly code: string,
    /** The HTTP status; 0 when there was no answer. */
    readonly status: number,
    readonly details?: unknown,
  ) {
    super(message);
  }

  /** Whether a write may have happened all the same. */
  get outcomeUnknown(): boolean {
    return this.code === 'timeout' || this.code === 'outcome_unknown' || this.status === 504;
  }

  /** What the API says about single fields of the body, by the name of the field. */
  get fields(): Record<string, string> {
    if (!Array.isArray(this.details)) return {};
    const fields: Record<string, string> = {};
    for (const detail of this.details as unknown[]) {
      const { field, message } = (detail ?? {}) as { field?: unknown; message?: unknown };
      if (typeof field === 'string' && typeof message === 'string') {
        fields[field.replace(/^body\./, '')] = sentence(message);
      }
    }
    return fields;
  }
}

function messageFor(status: number): string {
  if (status === 429) return 'Too many requests in a short time. Wait a moment, then try again.';
  if (status >= 500) return `The server could not answer (${status}). Try again in a moment.`;
  return `The request was refused (${status}).`;
}

/** The messages of the API are clauses: `the database does not answer`. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

/** The `error` object of an API answer; nginx answers some failures itself, with HTML. */
async function errorOf(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => undefined);
  const error = (body as { error?: { code?: unknown; message?: unknown; details?: unknown } } | undefined)?.error;
  const message = typeof error?.message === 'string' && error.message !== '' ? sentence(error.message) : messageFor(response.status);
  return new ApiError(message, typeof error?.code === 'string' ? error.code : 'http', response.status, error?.details);
}

async function request(path: string, init: RequestInit & { signal?: AbortSignal }): Promise<unknown> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  try {
    const response = await fetch(path, { ...init, signal });
    noteRelease(response.headers.get('X-Release'));
    noteAnswer(path, response.headers);
    if (!response.ok) throw await errorOf(response);
    return await response.json();
  } catch (error) {
    if (error instanceof ApiError || init.signal?.aborted === true) throw error;
    if (timeout.aborted) {
      throw new ApiError(`The server did not answer within ${TIMEOUT_MS / 1000} seconds.`, 'timeout', 0);
    }
    if (error instanceof SyntaxError) {
      throw new ApiError('The answer of the server could not be read.', 'http', 200);
    }
    noteUnreachable();
    throw new ApiError(
      navigator.onLine ? 'The server cannot be reached. Check the connection.' : 'You are offline, and there is no earlier copy of this.',
      'network',
      0,
    );
  }
}

/** Writes at once or not at all: nothing waits for the connection to come back. */
async function send(method: 'POST' | 'PATCH', path: string, body: unknown): Promise<unknown> {
  if (!navigator.onLine) {
    throw new ApiError('You are offline, so nothing was sent. Try again when the connection is back.', 'offline', 0);
  }
  return request(path, {
    method,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
}

/** Reads `path`; the caller knows what the API answers there. */
export async function get<T>(path: string, signal: AbortSignal): Promise<T> {
  return (await request(path, { signal })) as T;
}

export async function createDeal(deal: NewDeal): Promise<Deal> {
  return (await send('POST', '/api/deals', deal)) as Deal;
}

/** Moves a deal; it takes on the usual probability of its new stage. */
export async function moveDeal(id: number, stage: Stage): Promise<Deal> {
  return (await send('POST', `/api/deals/${id}/move`, { stage })) as Deal;
}

export async function updateDeal(id: number, changes: Partial<Omit<NewDeal, 'stage'>>): Promise<Deal> {
  return (await send('PATCH', `/api/deals/${id}`, changes)) as Deal;
}

export async function createActivity(activity: NewActivity): Promise<Activity> {
  return (await send('POST', '/api/activities', activity)) as Activity;
}
