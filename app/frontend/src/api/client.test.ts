import { renderHook } from '@testing-library/react';
import { describe, expect, it, vi } from 'vitest';
import { apiError } from '../test/fakeApi';
import { createDeal, get, moveDeal, type ApiError } from './client';
import { useReleases } from './release';

const live = () => new AbortController().signal;

function answerWith(answer: () => Response | Promise<Response>): void {
  vi.stubGlobal('fetch', () => Promise.resolve().then(answer));
}

async function failure(request: Promise<unknown>): Promise<ApiError> {
  return request.then(
    () => expect.fail('the request succeeded'),
    (error: unknown) => error as ApiError,
  );
}

describe('a failed request', () => {
  it('says what the API says, as a sentence', async () => {
    answerWith(() => apiError(503, 'database_unavailable', 'the database does not answer; nothing was changed'));
    const error = await failure(get('/api/summary', live()));
    expect(error).toMatchObject({ status: 503, code: 'database_unavailable', outcomeUnknown: false });
    expect(error.message).toBe('The database does not answer; nothing was changed.');
  });

  it('gives the faults of single fields', async () => {
    answerWith(() =>
      apiError(400, 'validation_failed', 'body.company is bad', [{ field: 'body.company', message: 'is bad' }, 'odd']),
    );
    expect((await failure(moveDeal(1, 'won'))).fields).toEqual({ company: 'Is bad.' });
  });

  it.each([
    [502, /502/],
    [429, /Too many requests/],
    [413, /refused \(413\)/],
  ])('is put in words when nginx answers %d with HTML', async (status, message) => {
    answerWith(() => new Response('<h1>no</h1>', { status, headers: { 'Content-Type': 'text/html' } }));
    const error = await failure(get('/api/summary', live()));
    expect(error.message).toMatch(message);
    expect(error.code).toBe('http');
  });

  it('tells an unreachable server from an unreadable answer', async () => {
    answerWith(() => Promise.reject(new TypeError('Failed to fetch')));
    expect(await failure(get('/api/summary', live()))).toMatchObject({ code: 'network', status: 0 });
    answerWith(() => new Response('<html>', { status: 200 }));
    expect((await failure(get('/api/summary', live()))).message).toMatch(/could not be read/);
  });

  it('gives up after 15 seconds, and leaves open whether a write happened', async () => {
    const timeout = new AbortController();
    const spy = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(timeout.signal);
    vi.stubGlobal(
      'fetch',
      (_path: string, init: RequestInit) =>
        new Promise((_resolve, reject) => {
          init.signal?.addEventListener('abort', () => {
            reject(new DOMException('aborted', 'AbortError'));
          });
        }),
    );
    const request = failure(
      createDeal({ name: 'a', company: 'b', owner: 'c', stage: 'lead', amount_cents: 1, probability: 1 }),
    );
    expect(spy).toHaveBeenCalledWith(15_000);
    timeout.abort();
    expect(await request).toMatchObject({ code: 'timeout', outcomeUnknown: true });
  });
});

it('notes the release of every answer, of errors too', async () => {
  const { result, rerender } = renderHook(() => useReleases());
  expect(result.current).toEqual({ first: null, current: null });
  answerWith(() => apiError(503, 'x', 'y'));
  await failure(get('/api/summary', live()));
  answerWith(() => Response.json({}, { headers: { 'X-Release': 'r2' } }));
  await get('/api/summary', live());
  rerender();
  expect(result.current).toEqual({ first: 'r1', current: 'r2' });
});
