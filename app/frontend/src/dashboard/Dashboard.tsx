import { useCallback, useEffect, useReducer, useRef, useState } from 'react';
import { useResource } from '../api/useResource';
import type { Deal, Summary } from '../api/model';
import { formatTime } from '../lib/format';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { useNotify } from '../ui/notices';
import { useLazy } from '../ui/useLazy';
import { DealList } from './DealList';
import { EVERYTHING, MAX_SEARCH, useDealQuery } from './dealQuery';
import { Pipeline } from './Pipeline';
import { ReleaseFooter } from './ReleaseFooter';
import { Revenue } from './Revenue';
import { SummaryCards } from './SummaryCards';
import styles from './Dashboard.module.css';

/** Who comes back to a tab that shows figures older than this sees fresh ones. */
const STALE_MS = 60_000;

const loadNewDealDialog = () => import('./NewDealDialog');

export function Dashboard() {
  const [revision, refresh] = useReducer((count: number) => count + 1, 0);
  const summary = useResource<Summary>('/api/summary', revision);
  const [query, setQuery] = useDealQuery();
  const notify = useNotify();

  useEffect(() => {
    const onVisible = () => {
      const { loadedAt } = summary;
      if (document.visibilityState === 'visible' && loadedAt !== undefined && Date.now() - loadedAt > STALE_MS) refresh();
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      document.removeEventListener('visibilitychange', onVisible);
    };
  }, [summary]);

  const [creating, setCreating] = useState(false);
  const [dialogWanted, setDialogWanted] = useState(false);
  const newDealButton = useRef<HTMLButtonElement>(null);
  const dialog = useLazy(loadNewDealDialog, dialogWanted || creating);

  const onCreated = useCallback(
    (deal: Deal) => {
      setCreating(false);
      refresh();
      notify({
        text: `${deal.name} created.`,
        action: {
          label: 'Show',
          run: () => {
            setQuery({ ...EVERYTHING, q: deal.name.slice(0, MAX_SEARCH) });
          },
        },
      });
    },
    [notify, setQuery],
  );

  const prepareDialog = () => {
    setDialogWanted(true);
  };

  return (
    <div className={styles.page}>
      <a className={styles.skip} href="#deals">
        Skip to the deals
      </a>
      <header className={styles.header}>
        <div className={styles.brand}>
          <img src="/favicon.svg" alt="" width="36" height="36" />
          <div>
            <p className={styles.product}>Sixty Sales</p>
            <h1>Dashboard</h1>
          </div>
        </div>
        <div className={styles.actions}>
          {summary.loadedAt !== undefined && (
            <span className={styles.updated}>Updated {formatTime(summary.loadedAt)}</span>
          )}
          <Button look="quiet" aria-label="Refresh" title="Refresh" onClick={refresh}>
            <Icon name="refresh" className={summary.loading ? styles.turning : undefined} />
          </Button>
          <Button
            ref={newDealButton}
            look="primary"
            aria-haspopup="dialog"
            onPointerEnter={prepareDialog}
            onFocus={prepareDialog}
            onClick={() => {
              if (dialog.failed) dialog.retry();
              setCreating(true);
            }}
          >
            <Icon name="plus" />
            New deal
          </Button>
        </div>
      </header>

      <main className={styles.main}>
        <SummaryCards summary={summary} />
        <div className={styles.panels}>
          <Pipeline
            revision={revision}
            selected={query.stage}
            onSelect={(stage) => {
              setQuery({ ...query, stage, page: 1 });
            }}
          />
          <Revenue revision={revision} />
        </div>
        <DealList revision={revision} query={query} onQuery={setQuery} onChanged={refresh} />
      </main>

      <ReleaseFooter />

      {creating && dialog.failed && (
        <p role="alert" className={styles.dialogFailed}>
          The form could not be loaded. Check the connection, then press “New deal” again.
        </p>
      )}
      {dialog.Component !== undefined && (
        <dialog.Component
          open={creating}
          onClose={() => {
            setCreating(false);
          }}
          onCreated={onCreated}
          returnFocus={newDealButton}
        />
      )}
    </div>
  );
}
