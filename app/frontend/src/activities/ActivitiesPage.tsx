import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { startTransition, useCallback, useState } from 'react';
import { useSearchParams } from 'wouter';
import { ACTIVITY_LABELS, ACTIVITY_TYPES, isActivityType, type ActivityType } from '../api/model';
import { activitiesQuery } from '../api/queries';
import { formatCount } from '../lib/format';
import { Page } from '../shell/Page';
import { Answer } from '../ui/Answer';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { LazyDialog } from '../ui/LazyDialog';
import type { DialogProps } from '../ui/Dialog';
import { EmptyMessage } from '../ui/Message';
import { Pagination } from '../ui/Pagination';
import { Select } from '../ui/Select';
import { part, prefetch } from '../ui/useLazy';
import { ActivityList } from './ActivityList';
import styles from './ActivitiesPage.module.css';

const PAGE_SIZE = 20;
// What the API takes at most.
const MAX_PAGE = 100_000;

const logDialog = part<DialogProps>(() => import('./LogActivityDialog'));

const prepare = () => {
  prefetch(logDialog);
};

export default function ActivitiesPage() {
  const [params, setParams] = useSearchParams();
  const [opener, setOpener] = useState<HTMLElement>();
  const close = useCallback(() => {
    setOpener(undefined);
  }, []);
  const typeGiven = params.get('type');
  const type = isActivityType(typeGiven) ? typeGiven : undefined;
  const pageGiven = Number(params.get('page') ?? 1);
  const page = Number.isInteger(pageGiven) && pageGiven >= 1 && pageGiven <= MAX_PAGE ? pageGiven : 1;
  const answer = useQuery({ ...activitiesQuery(type, page, PAGE_SIZE), placeholderData: keepPreviousData });

  const show = (next: ActivityType | undefined, nextPage: number) => {
    setParams({ ...(next !== undefined && { type: next }), ...(nextPage > 1 && { page: String(nextPage) }) }, { replace: true });
  };

  return (
    <Page
      title="Activities"
      aside={<p role="status">{answer.data !== undefined && formatCount(answer.data.total)}</p>}
      actions={
        <>
          <Select
            aria-label="Type"
            value={type ?? ''}
            onChange={({ target: { value } }) => {
              show(isActivityType(value) ? value : undefined, 1);
            }}
          >
            <option value="">All types</option>
            {ACTIVITY_TYPES.map((known) => (
              <option key={known} value={known}>
                {ACTIVITY_LABELS[known]}
              </option>
            ))}
          </Select>
          <Button
            look="primary"
            aria-haspopup="dialog"
            onPointerEnter={prepare}
            onFocus={prepare}
            onClick={({ currentTarget }) => {
              // The button answers first.
              startTransition(() => {
                setOpener(currentTarget);
              });
            }}
          >
            <Icon name="plus" />
            Log activity
          </Button>
        </>
      }
    >
      <section aria-label="Activities" className={styles.panel}>
        <Answer query={answer} name="the activities" skeleton={{ lines: 12, className: styles.loading }}>
          {({ items, total, page_size: pageSize }) => (
            <>
              {items.length > 0 && <ActivityList activities={items} busy={answer.isFetching} />}
              {items.length === 0 && total > 0 && (
                <EmptyMessage
                  title={`There is no page ${page}`}
                  detail={`The list has ${formatCount(total)} activities.`}
                  action={
                    <Button
                      onClick={() => {
                        show(type, 1);
                      }}
                    >
                      Go to the first page
                    </Button>
                  }
                />
              )}
              {total === 0 && (
                <EmptyMessage
                  picture
                  title={type === undefined ? 'There are no activities yet' : 'No activity of this type'}
                  detail="Log a call, a mail or a meeting with “Log activity”; moves of deals appear by themselves."
                />
              )}
              {total > pageSize && items.length > 0 && (
                <Pagination
                  of="activities"
                  page={page}
                  pageSize={pageSize}
                  total={total}
                  onPage={(next) => {
                    show(type, next);
                    window.scrollTo(0, 0);
                  }}
                />
              )}
            </>
          )}
        </Answer>
      </section>
      {opener !== undefined && <LazyDialog dialog={logDialog} opener={opener} onClose={close} />}
    </Page>
  );
}
