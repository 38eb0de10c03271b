import { isStage, STAGE_LABELS, STAGES } from '../api/model';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { Select } from '../ui/Select';
import { firstOrder, isFiltered, MAX_SEARCH, SORTS, unfiltered, type DealQuery, type Order, type Sort } from './dealQuery';
import styles from './DealFilters.module.css';

const SORT_LABELS: Record<Sort, Record<Order, string>> = {
  created_at: { desc: 'Newest first', asc: 'Oldest first' },
  updated_at: { desc: 'Last changed first', asc: 'Last changed last' },
  amount_cents: { desc: 'Largest first', asc: 'Smallest first' },
  expected_close: { asc: 'Next to close', desc: 'Last to close' },
  name: { asc: 'Name, A to Z', desc: 'Name, Z to A' },
  company: { asc: 'Company, A to Z', desc: 'Company, Z to A' },
};

interface DealFiltersProps {
  query: DealQuery;
  onQuery: (query: DealQuery) => void;
}

export function DealFilters({ query, onQuery }: DealFiltersProps) {
  return (
    <div role="search" className={styles.filters}>
      <div className={styles.search}>
        <Icon name="search" className={styles.glass} />
        <input
          type="search"
          aria-label="Search deals"
          placeholder="Deal, company or owner"
          value={query.q}
          maxLength={MAX_SEARCH}
          onChange={(event) => {
            onQuery({ ...query, q: event.target.value, page: 1 });
          }}
        />
      </div>
      {query.view !== 'board' && <StageAndSort query={query} onQuery={onQuery} />}
      {isFiltered(query) && (
        <Button
          look="quiet"
          onClick={() => {
            onQuery(unfiltered(query));
          }}
        >
          <Icon name="close" />
          Clear
        </Button>
      )}
    </div>
  );
}

function StageAndSort({ query, onQuery }: DealFiltersProps) {
  return (
    <>
      <Select
        aria-label="Stage"
        value={query.stage ?? ''}
        onChange={(event) => {
          const stage = event.target.value;
          onQuery({ ...query, stage: isStage(stage) ? stage : undefined, page: 1 });
        }}
      >
        <option value="">All stages</option>
        {STAGES.map((stage) => (
          <option key={stage} value={stage}>
            {STAGE_LABELS[stage]}
          </option>
        ))}
      </Select>
      <Select
        className={styles.sort}
        aria-label="Sort by"
        value={`${query.sort} ${query.order}`}
        onChange={(event) => {
          const [sort, order] = event.target.value.split(' ') as [Sort, Order];
          onQuery({ ...query, sort, order, page: 1 });
        }}
      >
        {SORTS.flatMap((sort) => {
          const first = firstOrder(sort);
          return [first, first === 'asc' ? 'desc' : 'asc'].map((order) => (
            <option key={`${sort} ${order}`} value={`${sort} ${order}`}>
              {SORT_LABELS[sort][order as Order]}
            </option>
          ));
        })}
      </Select>
    </>
  );
}
