import type { ComponentProps } from 'react';
import { Icon } from './Icon';
import styles from './Select.module.css';

/** The platform's own select, for its keyboard and its picker on a phone; only the arrow is ours. */
export function Select({ className = '', children, ...props }: ComponentProps<'select'>) {
  return (
    <span className={`${styles.select} ${className}`}>
      <select {...props}>{children}</select>
      <Icon name="chevron" className={styles.arrow} />
    </span>
  );
}
