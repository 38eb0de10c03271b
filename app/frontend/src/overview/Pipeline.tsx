import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { OPEN_STAGES, STAGE_LABELS, STAGES, type Stage, type StageTotal } from '../api/model';
import { pipelineQuery } from '../api/queries';
import { formatCount, plural } from '../lib/format';
import { formatCents, formatCentsCompact } from '../lib/money';
import { Answer } from '../ui/Answer';
import { EmptyMessage } from '../ui/Message';
import { Panel } from '../ui/Panel';
import styles from './Pipeline.module.css';

const isOpen = (stage: Stage) => OPEN_STAGES.includes(stage);

/** All stages: one without deals is a stage all the same. */
function complete(totals: StageTotal[]): StageTotal[] {
  return STAGES.map(
    (stage) => totals.find((total) => total.stage === stage) ?? { stage, count: 0, amount_cents: 0, weighted_cents: 0 },
  );
}

/** The stages as a funnel; each leads to its deals. */
export function Pipeline() {
  const answer = useQuery(pipelineQuery);
  const stages = complete(answer.data?.stages ?? []);
  const weighted = stages.reduce((sum, total) => sum + (isOpen(total.stage) ? total.weighted_cents : 0), 0);

  return (
    <Panel
      title="Pipeline"
      aside={
        answer.data !== undefined && (
          <p className={styles.weighted} title={formatCents(weighted)}>
            Weighted <strong>{formatCentsCompact(weighted)}</strong>
          </p>
        )
      }
    >
      <Answer query={answer} name="the pipeline" skeleton={{ lines: 5, className: styles.loading }}>
        {() =>
          stages.every((total) => total.count === 0) ? (
            <EmptyMessage title="The pipeline is empty" detail="Deals appear here by stage once there are any." />
          ) : (
            <Stages stages={stages} busy={answer.isFetching} />
          )
        }
      </Answer>
    </Panel>
  );
}

function Stages({ stages, busy }: { stages: StageTotal[]; busy: boolean }) {
  const open = stages.filter((total) => isOpen(total.stage));
  const closed = stages.filter((total) => !isOpen(total.stage));
  const most = Math.max(1, ...open.map((total) => total.amount_cents));
  return (
    <div className={styles.stages} aria-busy={busy}>
      <ul aria-label="Open stages" className={styles.open}>
        {open.map((total) => (
          <li key={total.stage}>
            <StageLink total={total} share={total.amount_cents / most} />
          </li>
        ))}
      </ul>
      <ul aria-label="Closed stages" className={styles.closed}>
        {closed.map((total) => (
          <li key={total.stage}>
            <StageLink total={total} />
          </li>
        ))}
      </ul>
      <p className="visually-hidden">{plural(open.reduce((sum, total) => sum + total.count, 0), 'open deal')} in all.</p>
    </div>
  );
}

/** `share` is of the widest bar. */
function StageLink({ total, share }: { total: StageTotal; share?: number }) {
  return (
    <Link
      to={`/deals?stage=${total.stage}`}
      data-stage={total.stage}
      className={styles.stage}
      title={`${formatCents(total.amount_cents)}, weighted ${formatCents(total.weighted_cents)}`}
    >
      <span className={styles.name}>{STAGE_LABELS[total.stage]}</span>
      <span className={styles.count}>
        {formatCount(total.count)}
        <span className="visually-hidden"> {total.count === 1 ? 'deal' : 'deals'}, </span>
      </span>
      <span className={styles.amount}>{formatCentsCompact(total.amount_cents)}</span>
      {share !== undefined && (
        <span className={styles.track} aria-hidden="true">
          <span className={styles.bar} style={{ width: `${100 * share}%` }} />
        </span>
      )}
    </Link>
  );
}
