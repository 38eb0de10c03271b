import { useIsFetching, useQueryClient } from '@tanstack/react-query';
import { refresh } from '../api/queries';
import { formatTime } from '../lib/format';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import styles from './RefreshButton.module.css';

export function RefreshButton() {
  const queryClient = useQueryClient();
  const fetching = useIsFetching() > 0;
  // The oldest of what is shown speaks for the page.
  const times = queryClient.getQueryCache().findAll({ type: 'active' }).flatMap(({ state }) => (state.data === undefined ? [] : state.dataUpdatedAt));

  return (
    <div className={styles.refresh}>
      {/* Its place is there before it is: nothing moves aside for it. */}
      <span className={styles.updated}>{times.length > 0 && `Updated ${formatTime(Math.min(...times))}`}</span>
      <Button
        look="quiet"
        aria-label="Refresh"
        title="Refresh"
        onClick={() => {
          refresh(queryClient);
        }}
      >
        <Icon name="refresh" className={fetching ? styles.turning : undefined} />
      </Button>
    </div>
  );
}
