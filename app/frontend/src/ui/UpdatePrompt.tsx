import { Button } from './Button';
import styles from './UpdatePrompt.module.css';

interface UpdatePromptProps {
  waiting: boolean;
  onUpdate: () => void;
  onLater: () => void;
}

export function UpdatePrompt({ waiting, onUpdate, onLater }: UpdatePromptProps) {
  return (
    <div role="status">
      {waiting && (
        <div className={styles.prompt}>
          <p>A new release is ready. Loading it takes a moment; what is typed in a form is lost.</p>
          <div className={styles.buttons}>
            <Button look="quiet" onClick={onLater}>
              Later
            </Button>
            <Button look="primary" onClick={onUpdate}>
              Load it now
            </Button>
          </div>
        </div>
      )}
    </div>
  );
}
