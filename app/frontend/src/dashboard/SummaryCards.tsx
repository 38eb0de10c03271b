import type { Summary } from '../api/model';
import type { Resource } from '../api/useResource';
import { formatRatio, NONE, plural } from '../lib/format';
import { formatCents, formatCentsCompact } from '../lib/money';
import { ErrorMessage } from '../ui/Message';
import { Skeleton } from '../ui/Skeleton';
import styles from './SummaryCards.module.css';

interface Card {
  label: string;
  value: string;
  /** The exact amount behind a short one. */
  exact?: string | undefined;
  note: string;
}

function cardsOf(summary: Summary): Card[] {
  const average = summary.won_count === 0 ? undefined : summary.average_cents;
  return [
    {
      label: 'Open pipeline',
      value: formatCentsCompact(summary.open_cents),
      exact: formatCents(summary.open_cents),
      note: plural(summary.open_count, 'open deal'),
    },
    {
      label: 'Won',
      value: formatCentsCompact(summary.won_cents),
      exact: formatCents(summary.won_cents),
      note: plural(summary.won_count, 'won deal'),
    },
    { label: 'Win rate', value: formatRatio(summary.win_rate), note: 'of the closed deals' },
    {
      label: 'Average deal',
      value: average === undefined ? NONE : formatCentsCompact(average),
      exact: average === undefined ? undefined : formatCents(average),
      note: 'per won deal',
    },
  ];
}

export function SummaryCards({ summary }: { summary: Resource<Summary> }) {
  const { data, error, retry } = summary;
  return (
    <section aria-label="Summary" aria-busy={summary.loading}>
      {error !== undefined && (
        <ErrorMessage
          title={data === undefined ? 'The summary could not be loaded' : 'The summary could not be refreshed'}
          detail={error.message}
          retry={retry}
          inline
        />
      )}
      {data === undefined && error === undefined && (
        <Skeleton label="Loading the summary" lines={4} className={styles.loading} />
      )}
      {data !== undefined && (
        <dl className={styles.cards}>
          {cardsOf(data).map((card) => (
            <div key={card.label} className={styles.card}>
              <dt>{card.label}</dt>
              <dd className={styles.value} title={card.exact}>
                {card.value}
              </dd>
              <dd className={styles.note}>{card.note}</dd>
            </div>
          ))}
        </dl>
      )}
    </section>
  );
}
