import { useRef } from 'react';
import type { RevenueMonth } from '../api/model';
import { useResource } from '../api/useResource';
import { formatCount, formatMonthLong, plural } from '../lib/format';
import { formatCents, formatCentsCompact } from '../lib/money';
import { useVisible } from '../lib/useVisible';
import { ErrorBoundary } from '../ui/ErrorBoundary';
import { EmptyMessage, ErrorMessage } from '../ui/Message';
import { Panel } from '../ui/Panel';
import { Skeleton } from '../ui/Skeleton';
import { useLazy } from '../ui/useLazy';
import styles from './Revenue.module.css';

const MONTHS = 12;

// The chart library is larger than the rest of the page: it comes when its data has come and its place is on screen.
const loadChart = () => import('./RevenueChart');

export function Revenue({ revision }: { revision: number }) {
  const { data, error, loading, retry } = useResource<{ months: RevenueMonth[] }>(
    `/api/revenue?months=${MONTHS}`,
    revision,
  );
  const place = useRef<HTMLDivElement>(null);
  const visible = useVisible(place);
  const months = data?.months ?? [];
  const empty = months.every((month) => month.won_count === 0 && month.lost_count === 0);
  const chart = useLazy(loadChart, visible && !empty);
  const won = months.reduce((sum, month) => sum + month.won_cents, 0);
  const wonCount = months.reduce((sum, month) => sum + month.won_count, 0);

  return (
    <Panel
      title="Revenue won"
      aside={
        data !== undefined && (
          <p className={styles.total} title={`${formatCents(won)}, ${plural(wonCount, 'deal')}`}>
            {MONTHS} months <strong>{formatCentsCompact(won)}</strong>
          </p>
        )
      }
    >
      {error !== undefined && (
        <ErrorMessage
          title={data === undefined ? 'The revenue could not be loaded' : 'The revenue could not be refreshed'}
          detail={error.message}
          retry={retry}
          inline={data !== undefined}
        />
      )}
      {data !== undefined && empty && (
        <EmptyMessage title="No deal was closed yet" detail={`Won deals of the last ${MONTHS} months appear here.`} />
      )}
      <div ref={place} className={styles.place} hidden={data === undefined ? error !== undefined : empty} aria-busy={loading}>
        {chart.Component !== undefined && data !== undefined && (
          <ErrorBoundary>
            <chart.Component months={months} />
          </ErrorBoundary>
        )}
        {chart.Component === undefined && !chart.failed && (
          <Skeleton label="Loading the revenue chart" className={styles.loading} />
        )}
        {chart.failed && (
          <ErrorMessage
            title="The chart could not be loaded"
            detail="Check the connection; the figures are complete without it."
            retry={chart.retry}
          />
        )}
      </div>
      {data !== undefined && !empty && (
        // A table takes the width that it needs: only a box around it can be small.
        <div className="visually-hidden">
          <table>
            <caption>Revenue won, by month</caption>
            <thead>
              <tr>
                <th scope="col">Month</th>
                <th scope="col">Won</th>
                <th scope="col">Deals won</th>
                <th scope="col">Deals lost</th>
              </tr>
            </thead>
            <tbody>
              {months.map((month) => (
                <tr key={month.month}>
                  <th scope="row">{formatMonthLong(month.month)}</th>
                  <td>{formatCents(month.won_cents)}</td>
                  <td>{formatCount(month.won_count)}</td>
                  <td>{formatCount(month.lost_count)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
