import { useEffect, useState } from 'react';
import { useReleases } from '../api/release';
import { applyUpdate, checkForUpdate, subscribeUpdate } from '../pwa/registration';
import { UpdatePrompt } from '../ui/UpdatePrompt';

/** Offers a new release once its service worker waits, or once the API has answered from another release than at first. */
export function Update() {
  const [waiting, setWaiting] = useState(false);
  const { first, current } = useReleases();
  const [declined, setDeclined] = useState<string | null>();
  useEffect(() => subscribeUpdate(setWaiting), []);
  useEffect(() => {
    if (first !== current) checkForUpdate();
  }, [first, current]);

  return (
    <UpdatePrompt
      waiting={(waiting || first !== current) && declined !== current}
      onUpdate={() => void applyUpdate()}
      onLater={() => {
        setDeclined(current);
      }}
    />
  );
}
