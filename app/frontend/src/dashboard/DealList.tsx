import { useEffect, useRef, useState } from 'react';
import { ApiError, moveDeal, updateDeal } from '../api/client';
import { STAGE_LABELS, type Deal, type Page, type Stage } from '../api/model';
import { useResource } from '../api/useResource';
import { formatCount, plural } from '../lib/format';
import { useDebounced } from '../lib/useDebounced';
import { Button } from '../ui/Button';
import { EmptyMessage, ErrorMessage } from '../ui/Message';
import { useNotify } from '../ui/notices';
import { Panel } from '../ui/Panel';
import { Skeleton } from '../ui/Skeleton';
import { DealFilters } from './DealFilters';
import { DealTable } from './DealTable';
import { dealsPath, EVERYTHING, isFiltered, PAGE_SIZE, type DealQuery } from './dealQuery';
import { Pagination } from './Pagination';
import styles from './DealList.module.css';

const TYPING_MS = 250;

interface DealListProps {
  revision: number;
  query: DealQuery;
  onQuery: (query: DealQuery) => void;
  /** A deal was changed: every figure of the page may be another now. */
  onChanged: () => void;
}

const NO_MOVES: ReadonlyMap<Deal['id'], Stage> = new Map();

export function DealList({ revision, query, onQuery, onChanged }: DealListProps) {
  const q = useDebounced(query.q, TYPING_MS);
  const { data, error, loading, retry } = useResource<Page<Deal>>(dealsPath({ ...query, q }), revision);
  // Stages chosen here that the list does not know yet; the next answer knows them.
  const [moves, setMoves] = useState(NO_MOVES);
  const [movesOf, setMovesOf] = useState(data);
  if (movesOf !== data) {
    setMovesOf(data);
    setMoves(NO_MOVES);
  }
  const notify = useNotify();
  const heading = useRef<HTMLHeadingElement>(null);
  const moved = useRef<Deal['id']>(undefined);

  // A moved deal may have left the filtered list, and its row takes the keyboard's place with it.
  useEffect(() => {
    const id = moved.current;
    if (id === undefined || data === undefined) return;
    moved.current = undefined;
    const gone = !data.items.some((deal) => deal.id === id);
    if (gone && document.activeElement === document.body) heading.current?.focus({ preventScroll: true });
  }, [data]);

  const setMove = (id: Deal['id'], stage: Stage | undefined) => {
    setMoves((before) => {
      const after = new Map(before);
      if (stage === undefined) after.delete(id);
      else after.set(id, stage);
      return after;
    });
  };

  /** Shows the new stage at once, and takes it back when `change` fails. */
  const move = async (deal: Deal, stage: Stage, change: () => Promise<void>) => {
    setMove(deal.id, stage);
    try {
      await change();
      moved.current = deal.id;
      onChanged();
    } catch (reason) {
      setMove(deal.id, undefined);
      const detail = reason instanceof ApiError ? reason.message : String(reason);
      notify({ tone: 'error', text: `${deal.name} was not moved. ${detail}` });
      // Somebody else moved or deleted it, or this move may have happened: look again.
      if (reason instanceof ApiError && (reason.outcomeUnknown || reason.status === 409 || reason.status === 404)) {
        onChanged();
      }
    }
  };

  const moveOn = (deal: Deal, stage: Stage) =>
    move(deal, stage, async () => {
      await moveDeal(deal.id, stage);
      notify({
        text: `${deal.name} moved to ${STAGE_LABELS[stage]}.`,
        action: {
          label: 'Undo',
          run: () => void moveBack(deal),
        },
      });
    });

  const moveBack = (deal: Deal) =>
    move(deal, deal.stage, async () => {
      const back = await moveDeal(deal.id, deal.stage);
      if (back.probability !== deal.probability) await updateDeal(deal.id, { probability: deal.probability });
      notify({ text: `${deal.name} is back in ${STAGE_LABELS[deal.stage]}.` });
    });

  const deals = data?.items.map((deal) => {
    const stage = moves.get(deal.id);
    return stage === undefined ? deal : { ...deal, stage };
  });
  const clear = () => {
    onQuery({ ...EVERYTHING, sort: query.sort, order: query.order });
  };

  return (
    <div id="deals" className={styles.anchor}>
      <Panel
        title="Deals"
        headingRef={heading}
        aside={
          <p className={styles.total} role="status">
            {data !== undefined && (isFiltered({ ...query, q }) ? `${plural(data.total, 'deal')} found` : formatCount(data.total))}
          </p>
        }
      >
        <DealFilters query={query} onQuery={onQuery} onClear={clear} />
        {error !== undefined && (
          <ErrorMessage
            title={deals === undefined ? 'The deals could not be loaded' : 'The deals could not be refreshed'}
            detail={error.message}
            retry={retry}
            inline={deals !== undefined}
          />
        )}
        {deals === undefined && error === undefined && (
          <Skeleton label="Loading the deals" lines={8} className={styles.loading} />
        )}
        {data?.items.length === 0 && (
          <NoDeals
            query={query}
            total={data.total}
            onClear={clear}
            onFirstPage={() => {
              onQuery({ ...query, page: 1 });
            }}
          />
        )}
        {deals !== undefined && deals.length > 0 && (
          <DealTable
            deals={deals}
            busy={loading}
            query={query}
            onQuery={onQuery}
            onMove={(deal, stage) => {
              void moveOn(deal, stage);
            }}
          />
        )}
        {data !== undefined && data.items.length > 0 && data.total > PAGE_SIZE && (
          <Pagination
            page={data.page}
            pageSize={data.page_size}
            total={data.total}
            onPage={(page) => {
              onQuery({ ...query, page });
              heading.current?.scrollIntoView({ block: 'nearest' });
            }}
          />
        )}
      </Panel>
    </div>
  );
}

interface NoDealsProps {
  query: DealQuery;
  total: number;
  onClear: () => void;
  onFirstPage: () => void;
}

function NoDeals({ query, total, onClear, onFirstPage }: NoDealsProps) {
  if (total > 0) {
    return (
      <EmptyMessage
        title={`There is no page ${query.page}`}
        detail={`The list has ${plural(total, 'deal')}.`}
        action={<Button onClick={onFirstPage}>Go to the first page</Button>}
      />
    );
  }
  if (isFiltered(query)) {
    return (
      <EmptyMessage
        title="No deal matches"
        detail="Try another word, or look in all stages."
        action={<Button onClick={onClear}>Clear the filters</Button>}
      />
    );
  }
  return <EmptyMessage title="There are no deals yet" detail="Create the first one with “New deal”." />;
}
