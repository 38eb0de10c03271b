import { memo } from 'react';
import type { Deal, Stage } from '../api/model';
import { formatDay } from '../lib/format';
import { formatCents } from '../lib/money';
import { SortButton } from './SortButton';
import { ariaSort, type DealQuery, type Sort } from './dealQuery';
import { DealName, type EditDeal } from './DealName';
import { StageSelect } from './StageSelect';
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
  /** `undefined` is a row that is on its way. */
  deals: readonly (Deal | undefined)[];
  /** What `deals` are a part of: of so many rows they begin with the one at `first`. All rows are as high as each other. */
  part?: { first: number; total: number };
  /** The question that they answer (dealsPath): another one has rows of its own, none of which moved to its place. */
  of: string;
  busy: boolean;
  query: DealQuery;
  onQuery: (query: DealQuery) => void;
  onMove: (deal: Deal, stage: Stage) => void;
  onEdit: EditDeal;
}

/** A table; on a narrow screen each row is laid out as a card, so the roles, which CSS would undo, are explicit. */
export function DealTable({ deals, part, of, busy, query, onQuery, onMove, onEdit }: DealTableProps) {
  return (
    <table
      role="table"
      className={`${styles.table} ${part === undefined ? '' : styles.even}`}
      aria-label="Deals"
      aria-busy={busy}
      aria-rowcount={part && part.total + 1}
    >
      <thead role="rowgroup">
        <tr role="row" aria-rowindex={part && 1}>
          {COLUMNS.map((column) => (
            <th
              key={column.label}
              role="columnheader"
              scope="col"
              className={column.numeric === true ? styles.numeric : undefined}
              aria-sort={ariaSort(column.sort, query)}
            >
              <SortButton label={column.label} sort={column.sort} query={query} onQuery={onQuery} />
            </th>
          ))}
        </tr>
      </thead>
      <tbody key={of} role="rowgroup">
        {deals.map((deal, index) => {
          const rowIndex = part && part.first + index + 2;
          if (deal !== undefined) return <DealRow key={deal.id} {...{ deal, rowIndex, onMove, onEdit }} />;
          return (
            <tr key={`coming ${(part?.first ?? 0) + index}`} role="row" aria-rowindex={rowIndex} className={styles.coming}>
              <th role="rowheader" scope="row" colSpan={COLUMNS.length}>
                <span>Loading …</span>
              </th>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

interface DealRowProps extends Pick<DealTableProps, 'onMove' | 'onEdit'> {
  deal: Deal;
  rowIndex: number | undefined;
}

/** Not drawn again with each key that is typed into the filter. */
const DealRow = memo(function DealRow({ deal, rowIndex, onMove, onEdit }: DealRowProps) {
  return (
    <tr role="row" aria-rowindex={rowIndex}>
      <th role="rowheader" scope="row" className={styles.name}>
        <DealName deal={deal} onEdit={onEdit} />
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
  );
});
