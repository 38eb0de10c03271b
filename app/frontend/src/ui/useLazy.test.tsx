import { act, renderHook, waitFor } from '@testing-library/react';
import { expect, it, vi } from 'vitest';
import { part, useLazy } from './useLazy';

const Content = () => null;
const lost = () => Promise.reject(new TypeError('Failed to fetch dynamically imported module'));
const found = () => Promise.resolve({ default: Content });

// A part waits for a second before it tries again.
const PATIENCE = { timeout: 3_000 };

it('loads nothing before it is wanted, and once for all', async () => {
  const load = vi.fn(found);
  const lazy = part(load);
  const { result, rerender } = renderHook(({ wanted }) => useLazy(lazy, wanted), { initialProps: { wanted: false } });
  expect(load).not.toHaveBeenCalled();
  rerender({ wanted: true });
  await waitFor(() => {
    expect(result.current.Component).toBe(Content);
  });
  // No skeleton the second time.
  expect(renderHook(() => useLazy(lazy)).result.current.Component).toBe(Content);
  expect(load).toHaveBeenCalledOnce();
});

it('shows what came between the rendering and its effects', async () => {
  let looks = 0;
  const lazy = {
    get Component() {
      looks += 1;
      return looks === 1 ? undefined : Content;
    },
    load: () => Promise.resolve(),
  };
  const { result } = renderHook(() => useLazy(lazy));
  await waitFor(() => {
    expect(result.current.Component).toBe(Content);
  });
});

it('tries a second time by itself', async () => {
  const load = vi.fn(found).mockImplementationOnce(lost);
  const lazy = part(load);
  const { result } = renderHook(() => useLazy(lazy));
  await waitFor(() => {
    expect(result.current.Component).toBe(Content);
  }, PATIENCE);
  expect(load).toHaveBeenCalledTimes(2);
});

it('says that it failed, and can be asked to try again', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const load = vi.fn(found).mockImplementationOnce(lost).mockImplementationOnce(lost);
  const lazy = part(load);
  const { result } = renderHook(() => useLazy(lazy));
  await waitFor(() => {
    expect(result.current.failed).toBe(true);
  }, PATIENCE);
  expect(log).toHaveBeenCalledOnce();
  act(() => {
    result.current.retry();
  });
  expect(result.current.failed).toBe(false);
  await waitFor(() => {
    expect(result.current.Component).toBe(Content);
  }, PATIENCE);
});
