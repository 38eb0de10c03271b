import mark from '../../public/favicon.svg?inline';
import { useEffect, type ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import { useConnection } from '../api/connection';
import { useReleases } from '../api/release';
import { useLiveUpdates } from '../live/useLiveUpdates';
import { useSettings } from '../settings/settings';
import { Icon } from '../ui/Icon';
import { prefetch } from '../ui/useLazy';
import { ConnectionBanner } from './ConnectionBanner';
import { LiveIndicator } from './LiveIndicator';
import { RefreshButton } from './RefreshButton';
import { ROUTES } from './routes';
import { Update } from './Update';
import styles from './Shell.module.css';

/** The other pages, once the browser has nothing else to do. */
function usePrefetch(): void {
  useEffect(() => {
    const all = () => {
      for (const { page } of ROUTES) prefetch(page);
    };
    // Safari has no requestIdleCallback.
    if (typeof window.requestIdleCallback !== 'function') {
      const timer = setTimeout(all, 3_000);
      return () => {
        clearTimeout(timer);
      };
    }
    const request = requestIdleCallback(all, { timeout: 10_000 });
    return () => {
      cancelIdleCallback(request);
    };
  }, []);
}

export function Shell({ children }: { children: ReactNode }) {
  const [pathname] = useLocation();
  usePrefetch();
  const { live } = useSettings();
  const liveState = useLiveUpdates(live);
  const { offline } = useConnection();
  const { current } = useReleases();

  return (
    <div className={styles.shell}>
      <a
        className={styles.skip}
        href="#content"
        onClick={(event) => {
          // Not a change of the address: the router would take it for one of the page.
          event.preventDefault();
          document.getElementById('content')?.focus();
        }}
      >
        Skip to the content
      </a>
      <header className={styles.header}>
        <Link to="/" className={styles.brand}>
          <img src={mark} alt="" width="32" height="32" />
          Sixty Sales
        </Link>
        <nav aria-label="Pages" className={styles.nav}>
          {ROUTES.map(({ path, label, icon, page }) => (
            <Link
              key={path}
              to={path}
              className={styles.link}
              aria-current={path === pathname ? 'page' : undefined}
              onPointerEnter={() => {
                prefetch(page);
              }}
              onFocus={() => {
                prefetch(page);
              }}
            >
              <Icon name={icon} />
              {label}
            </Link>
          ))}
        </nav>
        <div className={styles.state}>
          <LiveIndicator state={live && offline ? 'offline' : liveState} />
          <RefreshButton />
        </div>
      </header>
      <main id="content" tabIndex={-1} className={styles.main}>
        <Update />
        <ConnectionBanner />
        {children}
      </main>
      <footer className={styles.footer}>
        <p>Sixty Sales Dashboard</p>
        {current !== null && (
          <p>
            Release <code>{current}</code>
          </p>
        )}
      </footer>
    </div>
  );
}
