import { useQuery } from '@tanstack/react-query';
import type { Summary } from '../api/model';
import { summaryQuery } from '../api/queries';
import { formatRatio, NONE, plural } from '../lib/format';
import { formatCents, formatCentsCompact } from '../lib/money';
import { Answer } from '../ui/Answer';
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
    { label: 'Win rate', value: formatRatio(summary.win_rate), note: 'of closed deals' },
    {
      label: 'Average deal',
      value: average === undefined ? NONE : formatCentsCompact(average),
      exact: average === undefined ? undefined : formatCents(average),
      note: 'per won deal',
    },
  ];
}

export function SummaryCards() {
  const answer = useQuery(summaryQuery);
  return (
    <section aria-label="Summary" aria-busy={answer.isFetching}>
      <Answer query={answer} name="the summary" skeleton={{ lines: 4, className: styles.loading }} inline>
        {(summary) => (
          <dl className={styles.cards}>
            {cardsOf(summary).map((card) => (
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
      </Answer>
    </section>
  );
}
