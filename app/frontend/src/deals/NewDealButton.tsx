import { startTransition, useCallback, useState } from 'react';
import { useLocation } from 'wouter';
import type { Deal } from '../api/model';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { LazyDialog } from '../ui/LazyDialog';
import { useNotify } from '../ui/notices';
import { prefetch } from '../ui/useLazy';
import { dealDialog } from './dealDialogPart';
import { EVERYTHING, MAX_SEARCH, toSearch } from './dealQuery';

const prepare = () => {
  prefetch(dealDialog);
};

export function NewDealButton() {
  const [opener, setOpener] = useState<HTMLElement>();
  const [, navigate] = useLocation();
  const notify = useNotify();
  const close = useCallback(() => {
    setOpener(undefined);
  }, []);

  const onSaved = (deal: Deal) => {
    close();
    notify({
      text: `${deal.name} created.`,
      action: {
        label: 'Show',
        run: () => {
          navigate(`/deals${toSearch({ ...EVERYTHING, q: deal.name.slice(0, MAX_SEARCH) })}`);
        },
      },
    });
  };

  return (
    <>
      <Button
        look="primary"
        aria-haspopup="dialog"
        onPointerEnter={prepare}
        onFocus={prepare}
        onClick={({ currentTarget }) => {
          // The button answers first.
          startTransition(() => {
            setOpener(currentTarget);
          });
        }}
      >
        <Icon name="plus" />
        New deal
      </Button>
      {opener !== undefined && <LazyDialog dialog={dealDialog} opener={opener} onClose={close} onSaved={onSaved} />}
    </>
  );
}
