import { keepPreviousData, useQueries, useQuery } from '@tanstack/react-query';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useRef } from 'react';
import { dealsQuery } from '../api/queries';
import { useDebounced } from '../lib/useDebounced';
import { useMedia } from '../lib/useMedia';
import { Answer } from '../ui/Answer';
import { ErrorMessage } from '../ui/Message';
import { DealTable } from './DealTable';
import { dealsPath, MAX_PAGE_SIZE } from './dealQuery';
import type { DealViewProps } from './dealView';
import { NoDeals } from './NoDeals';
import styles from './DealScroll.module.css';

/** As in DealTable.module.css. */
const ROW_PX = { wide: 52, narrow: 124 };
const OVERSCAN = 8;
/** Pages that are only scrolled past are not asked for. */
const SETTLE_MS = 120;
/** What is far away is forgotten soon: a page is about 25 kB. */
const KEEP_MS = 60_000;

/** All deals in one table. Only the rows on screen are in the page, and only the pages that they are on are loaded. */
export default function DealScroll(props: DealViewProps) {
  const { asked, onQuery } = props;
  const first = useQuery({ ...dealsQuery(dealsPath({ ...asked, page: 1 }, MAX_PAGE_SIZE)), placeholderData: keepPreviousData });
  return (
    <Answer query={first} name="the deals" skeleton={{ lines: 8, className: styles.loading }}>
      {({ total }) => (total === 0 ? <NoDeals query={asked} total={0} onQuery={onQuery} /> : <Rows {...props} total={total} />)}
    </Answer>
  );
}

function Rows({ query, asked, onQuery, onMove, onEdit, shown, total }: DealViewProps & { total: number }) {
  const scroller = useRef<HTMLDivElement>(null);
  const height = useMedia('(width < 960px)') ? ROW_PX.narrow : ROW_PX.wide;
  // eslint-disable-next-line react-hooks/incompatible-library -- there is no compiler here that it could be at odds with
  const virtualizer = useVirtualizer({
    count: total,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: OVERSCAN,
  });
  const rows = virtualizer.getVirtualItems();
  const start = rows[0];
  const end = rows.at(-1);
  const pages = useDebounced(pagesOf(start?.index ?? 0, end?.index ?? 0), SETTLE_MS).split(' ').map(Number);
  const answers = useQueries({
    queries: pages.map((page) => ({ ...dealsQuery(dealsPath({ ...asked, page }, MAX_PAGE_SIZE)), gcTime: KEEP_MS })),
  });
  const loaded = new Map(pages.map((page, index) => [page, answers[index]?.data?.items]));
  const failed = answers.filter((answer) => answer.error !== null);

  return (
    <>
      {failed[0]?.error && (
        <ErrorMessage
          title="Some deals could not be loaded"
          detail={failed[0].error.message}
          retry={() => {
            for (const answer of failed) void answer.refetch();
          }}
          inline
        />
      )}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be within reach of the keyboard */}
      <div ref={scroller} role="region" aria-label="All deals" tabIndex={0} className={styles.scroller}>
        <div style={{ paddingBlock: `${start?.start ?? 0}px ${virtualizer.getTotalSize() - (end?.end ?? 0)}px` }}>
          <DealTable
            deals={rows.map(({ index }) => {
              const deal = loaded.get(pageOf(index))?.[index % MAX_PAGE_SIZE];
              return deal && shown(deal);
            })}
            part={{ first: start?.index ?? 0, total }}
            of={dealsPath(asked)}
            busy={answers.some((answer) => answer.isFetching)}
            query={query}
            onQuery={(next) => {
              scroller.current?.scrollTo({ top: 0 });
              onQuery(next);
            }}
            onMove={onMove}
            onEdit={onEdit}
          />
        </div>
      </div>
    </>
  );
}

function pageOf(index: number): number {
  return Math.floor(index / MAX_PAGE_SIZE) + 1;
}

/** The numbers of the pages with these rows, as text: it stays equal while they do. */
function pagesOf(first: number, last: number): string {
  const pages: number[] = [];
  for (let page = pageOf(first); page <= pageOf(last); page += 1) pages.push(page);
  return pages.join(' ');
}
