import { useCallback, useEffect, useRef, useState, type FocusEvent, type ReactNode } from 'react';
import { Button } from './Button';
import { Icon } from './Icon';
import { NoticeContext, type Notice } from './notices';
import styles from './NoticeProvider.module.css';

const SHOWN_MS = 10_000;

export function NoticeProvider({ children }: { children: ReactNode }) {
  const [notice, setNotice] = useState<Notice>();
  // Whoever is on their way to "Undo" is not raced.
  const [held, setHeld] = useState(false);

  const cameFrom = useRef<HTMLElement>(null);

  const dismiss = useCallback(() => {
    setNotice(undefined);
    setHeld(false);
  }, []);

  // The buttons vanish with the notice: the keyboard goes back to where it was before.
  const dismissByHand = () => {
    dismiss();
    cameFrom.current?.focus();
  };

  useEffect(() => {
    if (notice === undefined || held || notice.tone === 'error') return;
    const timer = setTimeout(dismiss, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [notice, held, dismiss]);

  const hold = () => {
    setHeld(true);
  };
  const holdFocus = (event: FocusEvent<HTMLElement>) => {
    const from = event.relatedTarget;
    if (from instanceof HTMLElement && !event.currentTarget.contains(from)) cameFrom.current = from;
    hold();
  };
  const release = () => {
    setHeld(false);
  };

  return (
    <NoticeContext value={setNotice}>
      {children}
      {/* The live region stays in the page: one that comes with its text is often not read out. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- it only watches its buttons */}
      <div
        className={styles.region}
        role="status"
        onMouseEnter={hold}
        onMouseLeave={release}
        onFocus={holdFocus}
        onBlur={release}
      >
        {notice !== undefined && (
          <div className={`${styles.notice} ${notice.tone === 'error' ? styles.error : ''}`}>
            <p>{notice.text}</p>
            {notice.action !== undefined && (
              <Button
                look="quiet"
                className={styles.action}
                onClick={() => {
                  dismissByHand();
                  notice.action?.run();
                }}
              >
                {notice.action.label}
              </Button>
            )}
            <Button look="quiet" className={styles.action} aria-label="Dismiss" onClick={dismissByHand}>
              <Icon name="close" />
            </Button>
          </div>
        )}
      </div>
    </NoticeContext>
  );
}
