import * as Radix from '@radix-ui/react-dialog';
import { useRef, useState, type ReactNode } from 'react';
import { afterPaint } from '../lib/afterPaint';
import { Button } from './Button';
import { Icon } from './Icon';
import styles from './Dialog.module.css';

/** What every dialog is given by the place that opens it. */
export interface DialogProps {
  onClose: () => void;
  /** Opened the dialog, and has the focus again after it. */
  opener: HTMLElement | null;
}

interface Props extends DialogProps {
  title: string;
  children: ReactNode;
}

/** A dialog with a form. It is there while it is rendered. */
export function Dialog({ title, onClose, opener, children }: Props) {
  const [touched, setTouched] = useState(false);
  const [closing, setClosing] = useState(false);
  const content = useRef<HTMLDivElement>(null);
  return (
    <Radix.Root
      open
      onOpenChange={(open) => {
        if (open) return;
        // Out of sight at once; to take it down, with its focus and the lock of the page, is more work.
        setClosing(true);
        afterPaint(onClose);
      }}
    >
      <Radix.Portal>
        {/* Not Dialog.Overlay: its scroll lock injects a style element, which the CSP forbids. base.css locks. */}
        <div className={styles.scrim} hidden={closing} />
        <Radix.Content
          ref={content}
          className={styles.dialog}
          hidden={closing}
          aria-describedby={undefined}
          onChange={() => {
            setTouched(true);
          }}
          onOpenAutoFocus={(event) => {
            // The first field, not the button that closes.
            const field = content.current?.querySelector<HTMLElement>('form input');
            if (!field) return;
            event.preventDefault();
            field.focus();
          }}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            opener?.focus();
          }}
          onInteractOutside={(event) => {
            // A slip of the pointer must not cost what was typed.
            if (touched) event.preventDefault();
          }}
        >
          <div className={styles.head}>
            <Radix.Title className={styles.title}>{title}</Radix.Title>
            <Radix.Close asChild>
              <Button look="quiet" aria-label="Close">
                <Icon name="close" />
              </Button>
            </Radix.Close>
          </div>
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

interface DialogButtonsProps {
  sending: boolean;
  label: string;
  sendingLabel: string;
}

export function DialogButtons({ sending, label, sendingLabel }: DialogButtonsProps) {
  return (
    <div className={styles.buttons}>
      <Radix.Close asChild>
        <Button>Cancel</Button>
      </Radix.Close>
      <Button type="submit" look="primary" aria-disabled={sending}>
        {sending ? sendingLabel : label}
      </Button>
    </div>
  );
}
