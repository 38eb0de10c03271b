import type { LiveState } from '../live/useLiveUpdates';
import styles from './LiveIndicator.module.css';

const LABELS: Record<LiveState, [label: string, meaning: string]> = {
  live: ['Live', 'Changes appear by themselves.'],
  connecting: ['Connecting', 'Live updates are being connected.'],
  offline: ['Offline', 'There are no live updates; they are tried again and again.'],
  paused: ['Paused', 'Live updates pause while nobody looks.'],
  off: ['Not live', 'Live updates are off in the settings.'],
};

export function LiveIndicator({ state }: { state: LiveState }) {
  const [label, meaning] = LABELS[state];
  return (
    <p className={styles.live} data-state={state} title={meaning}>
      <span className="visually-hidden">Live updates: </span>
      <span className={styles.label}>{label}</span>
    </p>
  );
}
