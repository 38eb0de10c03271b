import { useEffect } from 'react';
import type { DialogProps } from './Dialog';
import { useNotify } from './notices';
import { useLazy, type Part } from './useLazy';

/** A dialog whose code comes when it is opened. If it does not come, that is said, and the next try is a new one. */
export function LazyDialog<P extends DialogProps>({ dialog, ...props }: P & { dialog: Part<P> }) {
  const { Component, failed } = useLazy(dialog);
  const notify = useNotify();
  const { onClose } = props;

  useEffect(() => {
    if (!failed) return;
    onClose();
    notify({ tone: 'error', text: 'The form could not be loaded. Check the connection, then try again.' });
  }, [failed, notify, onClose]);

  return Component !== undefined && <Component {...(props as unknown as P)} />;
}
