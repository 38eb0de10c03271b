import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { startTransition, useCallback, useState } from 'react';
import type { Deal } from '../api/model';
import { dealsQuery } from '../api/queries';
import { formatCount, plural } from '../lib/format';
import { useDebounced } from '../lib/useDebounced';
import { Page } from '../shell/Page';
import type { IconName } from '../ui/Icon';
import { LazyDialog } from '../ui/LazyDialog';
import { ErrorMessage } from '../ui/Message';
import { Skeleton } from '../ui/Skeleton';
import { Tabs } from '../ui/Tabs';
import { part, prefetch, useLazy, type Part } from '../ui/useLazy';
import { dealDialog } from './dealDialogPart';
import { DealFilters } from './DealFilters';
import type { EditDeal } from './DealName';
import { DealPages } from './DealPages';
import { dealsPath, isFiltered, toSearch, useDealQuery, VIEWS, type View } from './dealQuery';
import type { DealViewProps } from './dealView';
import { NewDealButton } from './NewDealButton';
import { useMoveDeal } from './useMoveDeal';
import styles from './DealsPage.module.css';

const TYPING_MS = 250;

const TABS: Record<View, { label: string; icon: IconName }> = {
  pages: { label: 'Pages', icon: 'deals' },
  scroll: { label: 'All', icon: 'scroll' },
  board: { label: 'Board', icon: 'board' },
};

/** The views with libraries of their own. */
const LAZY_VIEWS: Record<Exclude<View, 'pages'>, Part<DealViewProps>> = {
  scroll: part(() => import('./DealScroll')),
  board: part(() => import('./Board')),
};

export default function DealsPage() {
  const [query, onQuery] = useDealQuery();
  const asked = { ...query, q: useDebounced(query.q, TYPING_MS) };
  const { move, shown } = useMoveDeal();
  const [editing, setEditing] = useState<{ deal: Deal; opener: HTMLElement }>();
  const close = useCallback(() => {
    setEditing(undefined);
  }, []);

  const edit = useCallback<EditDeal>((deal, opener) => {
    // The name answers first.
    startTransition(() => {
      setEditing({ deal, opener });
    });
  }, []);

  const view: DealViewProps = { query, asked, onQuery, onMove: move, onEdit: edit, shown };

  return (
    <Page
      title="Deals"
      aside={query.view === 'pages' && <Total {...view} />}
      actions={
        <>
          <Tabs
            label="Views of the deals"
            tabs={VIEWS.map((name) => ({
              ...TABS[name],
              to: `/deals${toSearch({ ...query, view: name, page: 1 })}`,
              current: query.view === name,
              onPrepare: () => {
                if (name !== 'pages') prefetch(LAZY_VIEWS[name]);
              },
            }))}
          />
          <NewDealButton />
        </>
      }
    >
      <section aria-label="Deals" className={query.view === 'board' ? styles.board : styles.panel}>
        <DealFilters query={query} onQuery={onQuery} />
        {query.view === 'pages' ? <DealPages {...view} /> : <LazyView key={query.view} name={query.view} {...view} />}
      </section>
      {editing !== undefined && <LazyDialog dialog={dealDialog} {...editing} onClose={close} onSaved={close} />}
    </Page>
  );
}

function Total({ asked }: DealViewProps) {
  const { data } = useQuery({ ...dealsQuery(dealsPath(asked)), placeholderData: keepPreviousData });
  return <p role="status">{data !== undefined && (isFiltered(asked) ? `${plural(data.total, 'deal')} found` : formatCount(data.total))}</p>;
}

function LazyView({ name, ...view }: DealViewProps & { name: Exclude<View, 'pages'> }) {
  const { Component, failed, retry } = useLazy(LAZY_VIEWS[name]);
  if (Component !== undefined) return <Component {...view} />;
  if (failed) return <ErrorMessage title="This view could not be loaded" detail="Check the connection, then try again." retry={retry} />;
  return <Skeleton label="Loading the view" lines={8} className={styles.loading} />;
}
