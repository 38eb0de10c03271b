import { Link } from 'wouter';
import { Icon, type IconName } from './Icon';
import styles from './Tabs.module.css';

interface Tab {
  label: string;
  icon?: IconName;
  to: string;
  current: boolean;
  onPrepare?: () => void;
}

/** Views of one page: links, as each has an address. */
export function Tabs({ label, tabs }: { label: string; tabs: Tab[] }) {
  return (
    <nav aria-label={label} className={styles.tabs}>
      {tabs.map((tab) => (
        <Link
          key={tab.label}
          to={tab.to}
          replace
          className={styles.tab}
          aria-current={tab.current ? 'true' : undefined}
          onPointerEnter={tab.onPrepare}
          onFocus={tab.onPrepare}
        >
          {tab.icon !== undefined && <Icon name={tab.icon} />}
          {tab.label}
        </Link>
      ))}
    </nav>
  );
}
