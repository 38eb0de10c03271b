import { act, renderHook, waitFor } from '@testing-library/react';
import { expect, it, vi } from 'vitest';
import { useLazy } from './useLazy';

const Part = () => null;

it('loads nothing before it is wanted', async () => {
  const load = vi.fn(() => Promise.resolve({ default: Part }));
  const { result, rerender } = renderHook(({ wanted }) => useLazy(load, wanted), { initialProps: { wanted: false } });
  expect(load).not.toHaveBeenCalled();
  rerender({ wanted: true });
  await waitFor(() => {
    expect(result.current.Component).toBe(Part);
  });
});

it('can be tried again after a failure', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const load = vi
    .fn<() => Promise<{ default: typeof Part }>>()
    .mockRejectedValueOnce(new TypeError('Failed to fetch dynamically imported module'))
    .mockResolvedValueOnce({ default: Part });
  const { result } = renderHook(() => useLazy(load, true));
  await waitFor(() => {
    expect(result.current.failed).toBe(true);
  });
  expect(log).toHaveBeenCalledOnce();
  act(() => {
    result.current.retry();
  });
  expect(result.current.failed).toBe(false);
  await waitFor(() => {
    expect(result.current.Component).toBe(Part);
  });
});
