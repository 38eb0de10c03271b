import type { Deal, Stage } from '../api/model';
import type { EditDeal } from './DealName';
import type { DealQuery } from './dealQuery';

/** What every view of the deals is given. */
export interface DealViewProps {
  /** What the filters say. */
  query: DealQuery;
  /** The same with the search that is asked for: not while somebody types. */
  asked: DealQuery;
  onQuery: (query: DealQuery) => void;
  onMove: (deal: Deal, stage: Stage) => void;
  onEdit: EditDeal;
  /** A deal in the stage that it is on its way to. */
  shown: (deal: Deal) => Deal;
}
