import { Icon } from '../ui/Icon';
import { firstOrder, type DealQuery, type Sort } from './dealQuery';
import styles from './SortButton.module.css';

interface SortButtonProps {
  label: string;
  /** Without, the column only has a name. */
  sort: Sort | undefined;
  query: DealQuery;
  onQuery: (query: DealQuery) => void;
}

/** The head of a column. */
export function SortButton({ label, sort, query, onQuery }: SortButtonProps) {
  if (sort === undefined) return <span className={styles.head}>{label}</span>;
  const sorted = query.sort === sort;
  return (
    <button
      type="button"
      className={`${styles.head} ${styles.sort}`}
      onClick={() => {
        const order = sorted ? (query.order === 'asc' ? 'desc' : 'asc') : firstOrder(sort);
        onQuery({ ...query, sort, order, page: 1 });
      }}
    >
      {label}
      {sorted && <Icon name={query.order === 'asc' ? 'up' : 'down'} />}
    </button>
  );
}
