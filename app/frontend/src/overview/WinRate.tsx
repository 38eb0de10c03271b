import { useQuery } from '@tanstack/react-query';
import type { RevenueMonth } from '../api/model';
import { REVENUE_MONTHS, revenueQuery } from '../api/queries';
import { formatCount, formatMonthLong, formatMonthShort, formatRatio, NONE } from '../lib/format';
import { Answer } from '../ui/Answer';
import { EmptyMessage } from '../ui/Message';
import { Panel } from '../ui/Panel';
import styles from './WinRate.module.css';

function rateOf(won: number, lost: number): string {
  return won + lost === 0 ? NONE : formatRatio(won / (won + lost));
}

/** Won and lost deals by month, as bars of plain boxes. */
export function WinRate() {
  const answer = useQuery(revenueQuery);
  const months = answer.data?.months ?? [];
  const won = months.reduce((sum, month) => sum + month.won_count, 0);
  const lost = months.reduce((sum, month) => sum + month.lost_count, 0);

  return (
    <Panel
      title="Win rate"
      aside={
        answer.data !== undefined && (
          <p className={styles.total}>
            {REVENUE_MONTHS} months <strong>{rateOf(won, lost)}</strong>
          </p>
        )
      }
    >
      <Answer query={answer} name="the win rate" skeleton={{ lines: 1, className: styles.place }}>
        {() =>
          won + lost === 0 ? (
            <EmptyMessage title="No deal was closed yet" detail="Won and lost deals appear here by month." />
          ) : (
            <div className={styles.place} aria-busy={answer.isFetching}>
              <Bars months={months} />
              <p className={styles.legend}>
                <span data-stage="won">{formatCount(won)} won</span>
                <span data-stage="lost">{formatCount(lost)} lost</span>
              </p>
            </div>
          )
        }
      </Answer>
    </Panel>
  );
}

function Bars({ months }: { months: RevenueMonth[] }) {
  const most = Math.max(1, ...months.map((month) => month.won_count + month.lost_count));
  const height = (count: number) => ({ height: `${(100 * count) / most}%` });
  return (
    <ol className={styles.bars} aria-label="Win rate by month">
      {months.map(({ month, won_count: won, lost_count: lost }) => (
        <li key={month} title={`${formatMonthLong(month)}: ${rateOf(won, lost)}, ${won} won, ${lost} lost`}>
          <span className={styles.bar} aria-hidden="true">
            <span data-stage="lost" style={height(lost)} />
            <span data-stage="won" style={height(won)} />
          </span>
          <span className={styles.month} aria-hidden="true">
            {formatMonthShort(month).slice(0, 3)}
          </span>
          <span className="visually-hidden">
            {formatMonthLong(month)}: {rateOf(won, lost)}, {won} won, {lost} lost
          </span>
        </li>
      ))}
    </ol>
  );
}
