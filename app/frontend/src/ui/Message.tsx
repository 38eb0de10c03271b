import type { ReactNode } from 'react';
import { NothingHere } from '../pwa/NothingHere';
import { Button } from './Button';
import styles from './Message.module.css';

interface ErrorMessageProps {
  title: string;
  detail: string;
  retry: () => void;
  /** One line above content that is still shown, instead of in its place. */
  inline?: boolean;
}

export function ErrorMessage({ title, detail, retry, inline = false }: ErrorMessageProps) {
  return (
    <div role="alert" className={`${styles.message} ${styles.error} ${inline ? styles.inline : ''}`}>
      <div>
        <p className={styles.title}>{title}</p>
        <p className={styles.detail}>{detail}</p>
      </div>
      <Button onClick={retry}>Try again</Button>
    </div>
  );
}

interface EmptyMessageProps {
  title: string;
  detail: string;
  action?: ReactNode;
  /** Where a whole page is empty. */
  picture?: boolean;
}

export function EmptyMessage({ title, detail, action, picture = false }: EmptyMessageProps) {
  return (
    <div className={styles.message}>
      {picture && <NothingHere />}
      <div>
        <p className={styles.title}>{title}</p>
        <p className={styles.detail}>{detail}</p>
      </div>
      {action}
    </div>
  );
}
