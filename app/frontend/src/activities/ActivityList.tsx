import { Link } from 'wouter';
import { ACTIVITY_LABELS, type Activity } from '../api/model';
import { EVERYTHING, MAX_SEARCH, toSearch } from '../deals/dealQuery';
import { formatMoment } from '../lib/format';
import { Icon } from '../ui/Icon';
import styles from './ActivityList.module.css';

interface ActivityListProps {
  activities: Activity[];
  busy: boolean;
}

export function ActivityList({ activities, busy }: ActivityListProps) {
  return (
    <ul className={styles.list} aria-busy={busy} aria-label="Activities">
      {activities.map(({ id, type, subject, deal_name: deal, owner, happened_at: at }) => (
        <li key={id} className={styles.activity}>
          <span className={styles.type} title={ACTIVITY_LABELS[type]}>
            <Icon name={type} />
            <span className="visually-hidden">{ACTIVITY_LABELS[type]}: </span>
          </span>
          <p className={styles.subject}>{subject}</p>
          <p className={styles.about}>
            <Link to={`/deals${toSearch({ ...EVERYTHING, q: deal.slice(0, MAX_SEARCH) })}`}>{deal}</Link>
            <span> · {owner}</span>
          </p>
          <time className={styles.time} dateTime={at}>
            {formatMoment(Date.parse(at))}
          </time>
        </li>
      ))}
    </ul>
  );
}
