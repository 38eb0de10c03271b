import { isStage, STAGE_LABELS, STAGES, type Deal, type Stage } from '../api/model';
import { formatDay } from '../lib/format';
import { formatCents } from '../lib/money';
import { Icon } from '../ui/Icon';
import { Select } from '../ui/Select';
import { firstOrder, type DealQuery, type Sort } from './dealQuery';
import styles from './DealTable.module.css';

interface Column {
  label: string;
  sort?: Sort;
  numeric?: boolean;
}

const COLUMNS: Column[] = [
  { label: 'Deal', sort: 'name' },
  { label: 'Company', sort: 'company' },
  { label: 'Owner' },
  { label: 'Stage' },
  { label: 'Amount', sort: 'amount_cents', numeric: true },
  { label: 'Probability', numeric: true },
  { label: 'Expected close', sort: 'expected_close', numeric: true },
  { label: 'Created', sort: 'created_at', numeric: true },
];

interface DealTableProps {
  deals: Deal[];
  busy: boolean;
  query: DealQuery;
  onQuery: (query: DealQuery) => void;
  onMove: (deal: Deal, stage: Stage) => void;
}

/** A table; on a narrow screen each row is laid out as a card, so the roles, which CSS would undo, are explicit. */
export function DealTable({ deals, busy, query, onQuery, onMove }: DealTableProps) {
  return (
    <table role="table" className={styles.table} aria-label="Deals" aria-busy={busy}>
      <thead role="rowgroup">
        <tr role="row">
          {COLUMNS.map((column) => (
            <Head key={column.label} column={column} query={query} onQuery={onQuery} />
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {deals.map((deal) => (
          <tr role="row" key={deal.id}>
            <th role="rowheader" scope="row" className={styles.name}>
              {deal.name}
            </th>
            <td role="cell" className={styles.company}>
              {deal.company}
            </td>
            <td role="cell" className={styles.owner}>
              {deal.owner}
            </td>
            <td role="cell" className={styles.stageCell}>
              <StageSelect deal={deal} onMove={onMove} />
            </td>
            <td role="cell" className={`${styles.numeric} ${styles.amount}`}>
              {formatCents(deal.amount_cents)}
            </td>
            <td role="cell" className={styles.numeric} data-label="Probability">
              {deal.probability}%
            </td>
            <td role="cell" className={styles.numeric} data-label="Expected close">
              {formatDay(deal.expected_close)}
            </td>
            <td role="cell" className={styles.numeric} data-label="Created">
              {formatDay(deal.created_at)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface HeadProps {
  column: Column;
  query: DealQuery;
  onQuery: (query: DealQuery) => void;
}

function Head({ column, query, onQuery }: HeadProps) {
  const { sort, label, numeric } = column;
  const className = numeric === true ? styles.numeric : undefined;
  if (sort === undefined) {
    return (
      <th role="columnheader" scope="col" className={className}>
        <span className={styles.head}>{label}</span>
      </th>
    );
  }
  const sorted = query.sort === sort;
  return (
    <th
      role="columnheader"
      scope="col"
      className={className}
      aria-sort={sorted ? (query.order === 'asc' ? 'ascending' : 'descending') : undefined}
    >
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
    </th>
  );
}

interface StageSelectProps {
  deal: Deal;
  onMove: (deal: Deal, stage: Stage) => void;
}

function StageSelect({ deal, onMove }: StageSelectProps) {
  return (
    <span data-stage={deal.stage} className={styles.stage}>
      <Select
        aria-label={`Stage of ${deal.name}`}
        value={deal.stage}
        onChange={(event) => {
          const stage = event.target.value;
          if (isStage(stage)) onMove(deal, stage);
        }}
      >
        {STAGES.map((stage) => (
          <option key={stage} value={stage}>
            {STAGE_LABELS[stage]}
          </option>
        ))}
      </Select>
    </span>
  );
}
