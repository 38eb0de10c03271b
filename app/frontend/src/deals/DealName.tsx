import type { Deal } from '../api/model';
import { prefetch } from '../ui/useLazy';
import { dealDialog } from './dealDialogPart';
import styles from './DealName.module.css';

export type EditDeal = (deal: Deal, opener: HTMLElement) => void;

const prepare = () => {
  prefetch(dealDialog);
};

/** The name of a deal, which opens it. */
export function DealName({ deal, onEdit }: { deal: Deal; onEdit: EditDeal }) {
  return (
    <button
      type="button"
      className={styles.name}
      aria-haspopup="dialog"
      onPointerEnter={prepare}
      onFocus={prepare}
      onClick={(event) => {
        onEdit(deal, event.currentTarget);
      }}
    >
      {deal.name}
    </button>
  );
}
