import { formatCount } from '../lib/format';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import styles from './Pagination.module.css';

interface PaginationProps {
  /** Of what, as `deals`. */
  of: string;
  page: number;
  pageSize: number;
  total: number;
  onPage: (page: number) => void;
}

export function Pagination({ of, page, pageSize, total, onPage }: PaginationProps) {
  const pages = Math.ceil(total / pageSize);
  const first = (page - 1) * pageSize + 1;
  const last = Math.min(page * pageSize, total);
  return (
    <nav aria-label={`Pages of the ${of}`} className={styles.pagination}>
      <p>
        {formatCount(first)}–{formatCount(last)} of {formatCount(total)}
      </p>
      <div className={styles.buttons}>
        <Turn to={page - 1} possible={page > 1} label="Previous" onPage={onPage} />
        <span aria-current="page" className={styles.current}>
          Page {formatCount(page)} of {formatCount(pages)}
        </span>
        <Turn to={page + 1} possible={page < pages} label="Next" onPage={onPage} />
      </div>
    </nav>
  );
}

interface TurnProps {
  to: number;
  possible: boolean;
  label: 'Previous' | 'Next';
  onPage: (page: number) => void;
}

/** Not `disabled` at the ends: the keyboard would lose its place with the last turn. */
function Turn({ to, possible, label, onPage }: TurnProps) {
  return (
    <Button
      aria-disabled={!possible}
      onClick={() => {
        if (possible) onPage(to);
      }}
    >
      {label === 'Previous' && <Icon name="left" />}
      {label}
      {label === 'Next' && <Icon name="right" />}
    </Button>
  );
}
