import { isStage, STAGE_LABELS, STAGES, type Deal, type Stage } from '../api/model';
import { Select } from '../ui/Select';
import styles from './StageSelect.module.css';

interface StageSelectProps {
  deal: Deal;
  onMove: (deal: Deal, stage: Stage) => void;
}

export function StageSelect({ deal, onMove }: StageSelectProps) {
  return (
    <span data-stage={deal.stage} className={styles.stage}>
      <Select
        aria-label={`Stage of ${deal.name}`}
        value={deal.stage}
        onChange={(event) => {
          const stage = event.target.value;
          if (isStage(stage)) onMove(deal, stage);
        }}
      >
        {STAGES.map((stage) => (
          <option key={stage} value={stage}>
            {STAGE_LABELS[stage]}
          </option>
        ))}
      </Select>
    </span>
  );
}
