import styles from './Skeleton.module.css';

interface SkeletonProps {
  /** What is being loaded, for who cannot see the shapes. */
  label: string;
  lines?: number;
  className?: string | undefined;
}

export function Skeleton({ label, lines = 1, className = '' }: SkeletonProps) {
  return (
    <div role="status" className={`${styles.skeleton} ${className}`}>
      <span className="visually-hidden">{label}</span>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} className={styles.line} />
      ))}
    </div>
  );
}
