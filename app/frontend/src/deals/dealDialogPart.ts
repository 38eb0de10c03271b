import type { DialogProps } from '../ui/Dialog';
import type { Deal } from '../api/model';
import { part } from '../ui/useLazy';

export interface DealDialogProps extends DialogProps {
  /** The deal to edit; without, a new one. */
  deal?: Deal;
  onSaved: (deal: Deal) => void;
}

export const dealDialog = part<DealDialogProps>(() => import('./DealDialog'));
