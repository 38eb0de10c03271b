import { useId, type ReactNode, type Ref } from 'react';
import styles from './Panel.module.css';

interface PanelProps {
  title: string;
  /** A figure or a control at the end of the title line. */
  aside?: ReactNode;
  children: ReactNode;
  className?: string | undefined;
  headingRef?: Ref<HTMLHeadingElement>;
}

export function Panel({ title, aside, children, className = '', headingRef }: PanelProps) {
  const id = useId();
  return (
    <section className={`${styles.panel} ${className}`} aria-labelledby={id}>
      <header className={styles.header}>
        <h2 id={id} ref={headingRef} tabIndex={-1}>
          {title}
        </h2>
        {aside}
      </header>
      {children}
    </section>
  );
}
