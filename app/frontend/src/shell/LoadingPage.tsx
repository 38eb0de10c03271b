import { Skeleton } from '../ui/Skeleton';
import { PageHead } from './Page';
import styles from './LoadingPage.module.css';

/** A page whose code is on its way: its title is there already. */
export function LoadingPage({ label }: { label: string }) {
  return (
    <div data-page-loading className={styles.place}>
      <PageHead title={label} />
      <Skeleton label={`Loading ${label}`} lines={2} className={styles.loading} />
    </div>
  );
}
