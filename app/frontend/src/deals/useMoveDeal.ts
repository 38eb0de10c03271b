import { useMutation, useMutationState, useQueryClient } from '@tanstack/react-query';
import { useCallback } from 'react';
import { moveDeal, updateDeal } from '../api/client';
import { STAGE_LABELS, type Deal, type Stage } from '../api/model';
import { refresh, replaceDeal } from '../api/queries';
import { useNotify } from '../ui/notices';

interface Move {
  deal: Deal;
  stage: Stage;
  /** Takes an earlier move back, with the probability that the deal had. */
  back?: boolean;
}

const KEY = ['move-deal'];

/**
 * Moves deals between stages. `shown` gives a deal with the stage that it is on its way to, so that a move is seen at
 * once, and is seen to be undone when it fails.
 */
export function useMoveDeal() {
  const queryClient = useQueryClient();
  const notify = useNotify();

  const { mutate } = useMutation<Deal, Error, Move>({
    mutationKey: KEY,
    // One after the other: two moves of one deal must not overtake each other.
    scope: { id: 'move-deal' },
    mutationFn: async ({ deal, stage, back }) => {
      const moved = await moveDeal(deal.id, stage);
      return back === true && moved.probability !== deal.probability ? updateDeal(deal.id, { probability: deal.probability }) : moved;
    },
    onSuccess: (moved, { deal, stage, back }) => {
      replaceDeal(queryClient, moved);
      refresh(queryClient);
      if (back === true) {
        notify({ text: `${deal.name} is back in ${STAGE_LABELS[stage]}.` });
        return;
      }
      notify({
        text: `${deal.name} moved to ${STAGE_LABELS[stage]}.`,
        action: {
          label: 'Undo',
          run: () => {
            mutate({ deal, stage: deal.stage, back: true });
          },
        },
      });
    },
    onError: (error, { deal }) => {
      notify({ tone: 'error', text: `${deal.name} was not moved. ${error.message}` });
      // Somebody else may have moved or deleted it, or half of this may have happened: look again.
      refresh(queryClient);
    },
  });

  const pending = useMutationState({
    filters: { mutationKey: KEY, status: 'pending' },
    select: ({ state }) => ({ ...(state.variables as Move), at: state.submittedAt }),
  });

  // The same from render to render: rows that did not change are not drawn again.
  const move = useCallback((deal: Deal, stage: Stage) => {
    if (deal.stage !== stage) mutate({ deal, stage });
  }, [mutate]);

  return {
    move,
    shown: (deal: Deal): Deal => {
      const move = pending.findLast((one) => one.deal.id === deal.id);
      return move === undefined ? deal : { ...deal, stage: move.stage, updated_at: new Date(move.at).toISOString() };
    },
  };
}
