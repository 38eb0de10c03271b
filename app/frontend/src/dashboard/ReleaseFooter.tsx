import { useReleases } from '../api/release';
import { Button } from '../ui/Button';
import styles from './ReleaseFooter.module.css';

export function ReleaseFooter() {
  const { first, current } = useReleases();
  return (
    <footer className={styles.footer}>
      <p>Sixty Sales Dashboard</p>
      {current !== null && (
        <p>
          Release <code>{current}</code>
        </p>
      )}
      <p aria-live="polite" className={styles.news}>
        {first !== current && 'A new release is being served.'}
      </p>
      {first !== current && (
        <Button
          onClick={() => {
            window.location.reload();
          }}
        >
          Reload the page
        </Button>
      )}
    </footer>
  );
}
