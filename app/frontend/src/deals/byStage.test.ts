import { expect, it } from 'vitest';
import { makeDeal } from '../test/fakeApi';
import { byStage } from './byStage';

it('has each deal once, where it was moved to last, the last changed first', () => {
  const columns = byStage([
    makeDeal({ id: 1, stage: 'lead', updated_at: '2026-11-01' }),
    makeDeal({ id: 2, stage: 'lead', updated_at: '2026-11-02' }),
    makeDeal({ id: 3, stage: 'won', updated_at: '2026-11-01' }),
    // The answer of the old column is newer than that of the new one.
    makeDeal({ id: 1, stage: 'won', updated_at: '2026-11-03' }),
  ]);
  expect(columns.lead.map(({ id }) => id)).toEqual([2]);
  expect(columns.won.map(({ id }) => id)).toEqual([1, 3]);
  expect(columns.lost).toEqual([]);
});
