import { STAGES, type Deal, type Stage } from '../api/model';

/**
 * The deals of all columns, each once and where it is now: a deal that moves is in the answer of its old column until
 * that is read again, and then for a moment in both or in none. Of two, the one that changed last counts.
 */
export function byStage(deals: readonly Deal[]): Record<Stage, Deal[]> {
  const newest = new Map<number, Deal>();
  for (const deal of deals) {
    const known = newest.get(deal.id);
    if (known === undefined || known.updated_at < deal.updated_at) newest.set(deal.id, deal);
  }
  const all = [...newest.values()].sort((a, b) => b.updated_at.localeCompare(a.updated_at));
  return Object.fromEntries(STAGES.map((stage) => [stage, all.filter((deal) => deal.stage === stage)])) as Record<Stage, Deal[]>;
}
