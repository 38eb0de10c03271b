import { useEffect, useRef, type ReactNode, type Ref } from 'react';
import { useLocation } from 'wouter';
import { cameBack } from './travel';
import styles from './Page.module.css';

let shown: string | undefined;

interface PageHeadProps {
  title: string;
  /** A figure beside the title. */
  aside?: ReactNode;
  actions?: ReactNode;
  headingRef?: Ref<HTMLHeadingElement>;
}

export function PageHead({ title, aside, actions, headingRef }: PageHeadProps) {
  return (
    <div className={styles.head}>
      <div className={styles.title}>
        <h1 ref={headingRef} tabIndex={-1}>
          {title}
        </h1>
        {aside}
      </div>
      {actions !== undefined && <div className={styles.actions}>{actions}</div>}
    </div>
  );
}

interface PageProps extends Omit<PageHeadProps, 'headingRef'> {
  children: ReactNode;
}

/** What every page has: its title, in the tab too, and after a change of the page the keyboard at its beginning. */
export function Page({ title, children, ...head }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const [pathname] = useLocation();

  useEffect(() => {
    document.title = `${title} · Sixty Sales`;
  }, [title]);

  useEffect(() => {
    // Not at the first page of a visit, where the browser begins by itself.
    if (shown !== undefined && shown !== pathname) {
      if (!cameBack()) window.scrollTo(0, 0);
      heading.current?.focus({ preventScroll: true });
    }
    shown = pathname;
  }, [pathname]);

  return (
    <>
      <PageHead title={title} {...head} headingRef={heading} />
      {children}
    </>
  );
}
