import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { activitiesQuery } from '../api/queries';
import { ActivityList } from '../activities/ActivityList';
import { Answer } from '../ui/Answer';
import { EmptyMessage } from '../ui/Message';
import { Panel } from '../ui/Panel';
import styles from './LatestActivity.module.css';

const SHOWN = 5;

export function LatestActivity() {
  const answer = useQuery(activitiesQuery(undefined, 1, SHOWN));
  return (
    <Panel title="Latest activity" aside={<Link to="/activities">All activities</Link>}>
      <Answer query={answer} name="the latest activity" skeleton={{ lines: SHOWN, className: styles.loading }}>
        {({ items }) =>
          items.length === 0 ? (
            <EmptyMessage title="Nothing happened yet" detail="Calls, mails, meetings and moves of deals appear here." />
          ) : (
            <ActivityList activities={items} busy={answer.isFetching} />
          )
        }
      </Answer>
    </Panel>
  );
}
