import {
  closestCenter,
  DndContext,
  DragOverlay,
  KeyboardSensor,
  MouseSensor,
  pointerWithin,
  TouchSensor,
  useDraggable,
  useDroppable,
  useSensor,
  useSensors,
  type Announcements,
  type CollisionDetection,
  type KeyboardCoordinateGetter,
  type UniqueIdentifier,
} from '@dnd-kit/core';
import { keepPreviousData, useQueries, type UseQueryResult } from '@tanstack/react-query';
import { useEffect, useRef, useState, type ReactNode, type RefObject } from 'react';
import { Link } from 'wouter';
import { isStage, STAGE_LABELS, STAGES, type Deal, type Page, type Stage } from '../api/model';
import { dealsQuery } from '../api/queries';
import { formatCount, formatDay } from '../lib/format';
import { formatCents } from '../lib/money';
import { Answer } from '../ui/Answer';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { byStage } from './byStage';
import { DealName } from './DealName';
import { dealsPath, EVERYTHING, MAX_PAGE_SIZE, PAGE_SIZE, toSearch } from './dealQuery';
import type { DealViewProps } from './dealView';
import { StageSelect } from './StageSelect';
import styles from './Board.module.css';

const INSTRUCTIONS = `To move a deal, press the space bar or Enter on its handle. The left and right arrow keys take it
  to another stage, the space bar or Enter leaves it there, and Escape puts it back. Each deal also has a list of stages.`;

/** Where the pointer is; for the keyboard, the nearest column. */
const columnUnder: CollisionDetection = (args) => (args.pointerCoordinates === null ? closestCenter(args) : pointerWithin(args));

/** The arrow keys go from column to column. */
const nextColumn: KeyboardCoordinateGetter = (event, { currentCoordinates, context: { over, droppableContainers } }) => {
  const step = event.code === 'ArrowRight' ? 1 : event.code === 'ArrowLeft' ? -1 : 0;
  const next = STAGES[STAGES.findIndex((stage) => stage === over?.id) + step];
  const column = next && droppableContainers.get(next)?.node.current;
  if (step === 0 || over === null || !column) return undefined;
  event.preventDefault();
  column.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  return { x: column.getBoundingClientRect().left, y: currentCoordinates.y };
};

function announcements(nameOf: (id: UniqueIdentifier) => string): Announcements {
  const label = (id: UniqueIdentifier | undefined) => (isStage(id) ? STAGE_LABELS[id] : undefined);
  return {
    onDragStart: ({ active }) => `Picked up ${nameOf(active.id)}.`,
    onDragOver: ({ active, over }) =>
      over === null ? `${nameOf(active.id)} is over no stage.` : `${nameOf(active.id)} is over ${label(over.id) ?? ''}.`,
    onDragEnd: ({ active, over }) =>
      over === null ? `${nameOf(active.id)} was put back.` : `${nameOf(active.id)} was left in ${label(over.id) ?? ''}.`,
    onDragCancel: ({ active }) => `${nameOf(active.id)} was put back.`,
  };
}

/** A column for each stage, the deals that changed last on top. */
export default function Board({ asked, onMove, onEdit, shown }: DealViewProps) {
  const [limits, setLimits] = useState<Partial<Record<Stage, number>>>({});
  const answers = useQueries({
    queries: STAGES.map((stage) => {
      const path = dealsPath({ ...asked, stage, sort: 'updated_at', order: 'desc', page: 1 }, limits[stage]);
      return { ...dealsQuery(path), placeholderData: keepPreviousData<Page<Deal>> };
    }),
  });
  const columns = byStage(answers.flatMap(({ data }) => data?.items ?? []).map(shown));
  const [dragged, setDragged] = useState<Deal>();
  const lastMoved = useRef<number>(undefined);
  const move = (deal: Deal, stage: Stage) => {
    lastMoved.current = deal.id;
    onMove(deal, stage);
  };
  const sensors = useSensors(
    useSensor(MouseSensor, { activationConstraint: { distance: 6 } }),
    // A short touch scrolls.
    useSensor(TouchSensor, { activationConstraint: { delay: 220, tolerance: 8 } }),
    useSensor(KeyboardSensor, { coordinateGetter: nextColumn, scrollBehavior: 'auto' }),
  );
  const find = (id: UniqueIdentifier) => STAGES.flatMap((stage) => columns[stage]).find((deal) => deal.id === id);

  return (
    <DndContext
      sensors={sensors}
      collisionDetection={columnUnder}
      accessibility={{
        announcements: announcements((id) => find(id)?.name ?? 'The deal'),
        screenReaderInstructions: { draggable: INSTRUCTIONS },
      }}
      onDragStart={({ active }) => {
        setDragged(find(active.id));
      }}
      onDragCancel={() => {
        setDragged(undefined);
      }}
      onDragEnd={({ active, over }) => {
        setDragged(undefined);
        const deal = find(active.id);
        if (deal !== undefined && isStage(over?.id)) move(deal, over.id);
      }}
    >
      <div className={styles.board}>
        {STAGES.map((stage, index) => {
          const answer = answers[index];
          return (
            answer && (
              <Column
                key={stage}
                stage={stage}
                answer={answer}
                search={asked.q}
                onMore={() => {
                  setLimits({ ...limits, [stage]: Math.min(MAX_PAGE_SIZE, (limits[stage] ?? PAGE_SIZE) * 2) });
                }}
              >
                {columns[stage].map((deal) => (
                  <li key={deal.id}>
                    <Card deal={deal} onMove={move} onEdit={onEdit} lastMoved={lastMoved} />
                  </li>
                ))}
              </Column>
            )
          );
        })}
      </div>
      <DragOverlay dropAnimation={null}>
        {dragged && (
          <div className={`${styles.card} ${styles.lifted}`} data-stage={dragged.stage}>
            <p className={styles.dealName}>{dragged.name}</p>
            <Figures deal={dragged} />
          </div>
        )}
      </DragOverlay>
    </DndContext>
  );
}

interface ColumnProps {
  stage: Stage;
  answer: UseQueryResult<Page<Deal>>;
  search: string;
  onMore: () => void;
  children: ReactNode[];
}

function Column({ stage, answer, search, onMore, children }: ColumnProps) {
  const { setNodeRef, isOver } = useDroppable({ id: stage });
  const label = STAGE_LABELS[stage];
  const { data } = answer;
  return (
    <section
      ref={setNodeRef}
      aria-label={label}
      aria-busy={answer.isFetching}
      data-stage={stage}
      className={`${styles.column} ${isOver ? styles.over : ''}`}
    >
      <h2 className={styles.head}>
        {label}
        <span className={styles.count}>
          {data && formatCount(data.total)}
          <span className="visually-hidden"> deals</span>
        </span>
      </h2>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be within reach of the keyboard */}
      <div className={styles.scroller} tabIndex={0} role="group" aria-label={`Deals in ${label}`}>
        <Answer query={answer} name={`deals in ${label}`} skeleton={{ lines: 4, className: styles.loading }} inline>
          {({ total, items }) => (
            <>
              {children.length === 0 && <p className={styles.none}>{search === '' ? 'No deals' : 'No deal matches'}</p>}
              <ul className={styles.cards}>{children}</ul>
              {total > items.length && items.length < MAX_PAGE_SIZE && (
                <Button className={styles.more} onClick={onMore}>
                  Show more
                </Button>
              )}
              {total > MAX_PAGE_SIZE && items.length >= MAX_PAGE_SIZE && (
                <Link to={`/deals${toSearch({ ...EVERYTHING, view: 'scroll', stage, q: search })}`}>All {formatCount(total)} as a list</Link>
              )}
            </>
          )}
        </Answer>
      </div>
    </section>
  );
}

interface CardProps extends Pick<DealViewProps, 'onMove' | 'onEdit'> {
  deal: Deal;
  lastMoved: RefObject<number | undefined>;
}

function Card({ deal, onMove, onEdit, lastMoved }: CardProps) {
  const { setNodeRef, setActivatorNodeRef, attributes, listeners, isDragging } = useDraggable({
    id: deal.id,
    attributes: { roleDescription: 'handle for moving' },
  });
  const handle = useRef<HTMLButtonElement>(null);

  // In its new column a card is a new element: the keyboard goes along.
  useEffect(() => {
    setActivatorNodeRef(handle.current);
    if (lastMoved.current === deal.id && document.activeElement === document.body) handle.current?.focus();
  }, [deal.id, lastMoved, setActivatorNodeRef]);

  return (
    // The mouse and a finger drag the whole card, the keyboard its handle.
    <article ref={setNodeRef} data-stage={deal.stage} className={`${styles.card} ${isDragging ? styles.dragged : ''}`} {...listeners}>
      <div className={styles.top}>
        <DealName deal={deal} onEdit={onEdit} />
        <button ref={handle} type="button" className={styles.handle} {...attributes} aria-label={`Move ${deal.name}`}>
          <Icon name="grip" />
        </button>
      </div>
      <Figures deal={deal} />
      <StageSelect deal={deal} onMove={onMove} />
    </article>
  );
}

function Figures({ deal }: { deal: Deal }) {
  return (
    <>
      <p className={styles.amount}>{formatCents(deal.amount_cents)}</p>
      <p className={styles.detail}>
        {deal.company}
        <br />
        Closes {formatDay(deal.expected_close)}
      </p>
    </>
  );
}
