import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState } from 'react';
import { dealsQuery } from '../api/queries';
import { Answer } from '../ui/Answer';
import { Pagination } from '../ui/Pagination';
import { DealTable } from './DealTable';
import { dealsPath } from './dealQuery';
import type { DealViewProps } from './dealView';
import { NoDeals } from './NoDeals';
import styles from './DealPages.module.css';

/** The deals as pages of a table. */
export function DealPages({ query, asked, onQuery, onMove, onEdit, shown }: DealViewProps) {
  const path = dealsPath(asked);
  const answer = useQuery({ ...dealsQuery(path), placeholderData: keepPreviousData });
  const { data } = answer;
  const [answered, setAnswered] = useState(path);
  if (!answer.isPlaceholderData && answered !== path) setAnswered(path);
  const place = useRef<HTMLDivElement>(null);
  const moved = useRef<number>(undefined);

  const move = useCallback<DealViewProps['onMove']>((deal, stage) => {
    moved.current = deal.id;
    onMove(deal, stage);
  }, [onMove]);

  // A moved deal may have left the filtered list, and its row takes the keyboard's place with it.
  useEffect(() => {
    if (moved.current === undefined || data === undefined) return;
    const gone = !data.items.some((deal) => deal.id === moved.current);
    if (!gone) return;
    moved.current = undefined;
    if (document.activeElement === document.body) place.current?.focus({ preventScroll: true });
  }, [data]);

  return (
    <div ref={place} tabIndex={-1} role="group" aria-label="Deals" className={styles.place}>
      <Answer query={answer} name="the deals" skeleton={{ lines: 8, className: styles.loading }}>
        {({ items, total, page, page_size: pageSize }) =>
          items.length === 0 ? (
            <NoDeals query={asked} total={total} onQuery={onQuery} />
          ) : (
            <>
              <DealTable
                deals={items.map(shown)}
                of={answered}
                busy={answer.isFetching}
                query={query}
                onQuery={onQuery}
                onMove={move}
                onEdit={onEdit}
              />
              {total > pageSize && (
                <Pagination
                  of="deals"
                  page={page}
                  pageSize={pageSize}
                  total={total}
                  onPage={(next) => {
                    onQuery({ ...query, page: next });
                    place.current?.scrollIntoView({ block: 'nearest' });
                  }}
                />
              )}
            </>
          )
        }
      </Answer>
    </div>
  );
}
