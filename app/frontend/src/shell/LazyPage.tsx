import { ErrorBoundary } from '../ui/ErrorBoundary';
import { ErrorMessage } from '../ui/Message';
import { useLazy } from '../ui/useLazy';
import { LoadingPage } from './LoadingPage';
import { Page } from './Page';
import type { AppRoute } from './routes';
import styles from './LazyPage.module.css';

export function LazyPage({ label, page }: AppRoute) {
  const { Component, failed, retry } = useLazy(page);
  if (Component !== undefined) {
    return (
      <ErrorBoundary>
        <Component />
      </ErrorBoundary>
    );
  }
  if (failed) {
    return (
      <Page title={label}>
        <div className={styles.failure}>
          <ErrorMessage
            title="This page could not be loaded"
            detail={
              navigator.onLine
                ? 'Its code did not arrive. If trying again does not help, reload the page: there may be a new release.'
                : 'You are offline, and this page was not opened before.'
            }
            retry={retry}
          />
        </div>
      </Page>
    );
  }
  return <LoadingPage label={label} />;
}
