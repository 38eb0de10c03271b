import { useQuery } from '@tanstack/react-query';
import { useRef } from 'react';
import type { RevenueMonth } from '../api/model';
import { REVENUE_MONTHS, revenueQuery } from '../api/queries';
import { formatCount, formatMonthLong, plural } from '../lib/format';
import { formatCents, formatCentsCompact } from '../lib/money';
import { useVisible } from '../lib/useVisible';
import { Answer } from '../ui/Answer';
import { ErrorBoundary } from '../ui/ErrorBoundary';
import { EmptyMessage, ErrorMessage } from '../ui/Message';
import { Panel } from '../ui/Panel';
import { Skeleton } from '../ui/Skeleton';
import { part, useLazy } from '../ui/useLazy';
import styles from './Revenue.module.css';

// The chart library is larger than the rest of the page: it comes when its data has come and its place is on screen.
const revenueChart = part(() => import('./RevenueChart'));

const nothingClosed = (months: RevenueMonth[]) => months.every((month) => month.won_count === 0 && month.lost_count === 0);

export function Revenue() {
  const answer = useQuery(revenueQuery);
  const months = answer.data?.months ?? [];
  const won = months.reduce((sum, month) => sum + month.won_cents, 0);
  const wonCount = months.reduce((sum, month) => sum + month.won_count, 0);

  return (
    <Panel
      title="Revenue won"
      aside={
        answer.data !== undefined && (
          <p className={styles.total} title={`${formatCents(won)}, ${plural(wonCount, 'deal')}`}>
            {REVENUE_MONTHS} months <strong>{formatCentsCompact(won)}</strong>
          </p>
        )
      }
    >
      <Answer query={answer} name="the revenue" skeleton={{ lines: 1, className: styles.place }}>
        {() =>
          nothingClosed(months) ? (
            <EmptyMessage title="No deal was closed yet" detail={`Won deals of the last ${REVENUE_MONTHS} months appear here.`} />
          ) : (
            <>
              <Chart months={months} busy={answer.isFetching} />
              <Table months={months} />
            </>
          )
        }
      </Answer>
    </Panel>
  );
}

function Chart({ months, busy }: { months: RevenueMonth[]; busy: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  const { Component, failed, retry } = useLazy(revenueChart, useVisible(place));
  return (
    <div ref={place} className={styles.place} aria-busy={busy}>
      {Component !== undefined && (
        <ErrorBoundary>
          <Component months={months} />
        </ErrorBoundary>
      )}
      {Component === undefined && !failed && <Skeleton label="Loading the revenue chart" />}
      {failed && (
        <ErrorMessage
          title="The chart could not be loaded"
          detail="Check the connection; the figures are complete without it."
          retry={retry}
        />
      )}
    </div>
  );
}

/** The chart for who cannot see it. */
function Table({ months }: { months: RevenueMonth[] }) {
  return (
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
  );
}
