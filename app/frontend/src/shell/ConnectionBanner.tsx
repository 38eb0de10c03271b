import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { useConnection } from '../api/connection';
import { refresh } from '../api/queries';
import { formatMoment } from '../lib/format';
import { Button } from '../ui/Button';
import styles from './ConnectionBanner.module.css';

/** Says that the figures are old ones, and reads them anew once the server is back. */
export function ConnectionBanner() {
  const { offline, figuresFrom } = useConnection();
  const queryClient = useQueryClient();
  const wasOffline = useRef(false);

  useEffect(() => {
    if (wasOffline.current && !offline) refresh(queryClient);
    wasOffline.current = offline;
  }, [offline, queryClient]);

  return (
    <div role="status">
      {offline && (
        <div className={styles.banner}>
          <p>
            <strong>Offline.</strong>{' '}
            {figuresFrom === undefined ? 'What is shown may be old.' : `Figures from ${formatMoment(figuresFrom)}.`}{' '}
            Changes are not possible until the connection is back.
          </p>
          <Button
            look="quiet"
            onClick={() => {
              refresh(queryClient);
            }}
          >
            Try now
          </Button>
        </div>
      )}
    </div>
  );
}
