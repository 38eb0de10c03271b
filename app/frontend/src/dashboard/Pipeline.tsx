import { OPEN_STAGES, STAGE_LABELS, STAGES, type Stage, type StageTotal } from '../api/model';
import { useResource } from '../api/useResource';
import { formatCount, plural } from '../lib/format';
import { formatCents, formatCentsCompact } from '../lib/money';
import { EmptyMessage, ErrorMessage } from '../ui/Message';
import { Panel } from '../ui/Panel';
import { Skeleton } from '../ui/Skeleton';
import styles from './Pipeline.module.css';

interface PipelineProps {
  revision: number;
  selected: Stage | undefined;
  /** A stage whose deals shall be listed; `undefined` for all. */
  onSelect: (stage: Stage | undefined) => void;
}

export function Pipeline({ revision, selected, onSelect }: PipelineProps) {
  const { data, error, loading, retry } = useResource<{ stages: StageTotal[] }>('/api/pipeline', revision);
  // A stage without deals is a stage all the same.
  const stages = STAGES.map(
    (stage) =>
      data?.stages.find((total) => total.stage === stage) ?? { stage, count: 0, amount_cents: 0, weighted_cents: 0 },
  );
  const open = stages.filter((total) => OPEN_STAGES.includes(total.stage));
  const closed = stages.filter((total) => !OPEN_STAGES.includes(total.stage));
  const most = Math.max(1, ...open.map((total) => total.amount_cents));
  const weighted = open.reduce((sum, total) => sum + total.weighted_cents, 0);

  const stageButton = (total: StageTotal) => (
    <button
      type="button"
      data-stage={total.stage}
      className={styles.stage}
      aria-pressed={selected === total.stage}
      title={`${formatCents(total.amount_cents)}, weighted ${formatCents(total.weighted_cents)}`}
      onClick={() => {
        onSelect(selected === total.stage ? undefined : total.stage);
      }}
    >
      <span className={styles.name}>{STAGE_LABELS[total.stage]}</span>
      <span className={styles.count}>
        {formatCount(total.count)}
        <span className="visually-hidden"> {total.count === 1 ? 'deal' : 'deals'}, </span>
      </span>
      <span className={styles.amount}>{formatCentsCompact(total.amount_cents)}</span>
      {OPEN_STAGES.includes(total.stage) && (
        <span className={styles.track} aria-hidden="true">
          <span className={styles.bar} style={{ width: `${(100 * total.amount_cents) / most}%` }} />
        </span>
      )}
    </button>
  );

  return (
    <Panel
      title="Pipeline"
      aside={
        data !== undefined && (
          <p className={styles.weighted} title={formatCents(weighted)}>
            Weighted <strong>{formatCentsCompact(weighted)}</strong>
          </p>
        )
      }
    >
      {error !== undefined && (
        <ErrorMessage
          title={data === undefined ? 'The pipeline could not be loaded' : 'The pipeline could not be refreshed'}
          detail={error.message}
          retry={retry}
          inline={data !== undefined}
        />
      )}
      {data === undefined && error === undefined && (
        <Skeleton label="Loading the pipeline" lines={5} className={styles.loading} />
      )}
      {data !== undefined && stages.every((total) => total.count === 0) && (
        <EmptyMessage title="The pipeline is empty" detail="Deals appear here by stage once there are any." />
      )}
      {stages.some((total) => total.count > 0) && (
        <div className={styles.stages} aria-busy={loading}>
          <ul aria-label="Open stages" className={styles.open}>
            {open.map((total) => (
              <li key={total.stage}>{stageButton(total)}</li>
            ))}
          </ul>
          <ul aria-label="Closed stages" className={styles.closed}>
            {closed.map((total) => (
              <li key={total.stage}>{stageButton(total)}</li>
            ))}
          </ul>
          <p className="visually-hidden">
            {plural(open.reduce((sum, total) => sum + total.count, 0), 'open deal')} in all. Choose a stage to list its deals.
          </p>
        </div>
      )}
    </Panel>
  );
}
