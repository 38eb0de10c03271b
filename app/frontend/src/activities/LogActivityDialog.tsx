import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type SyntheticEvent } from 'react';
import { createActivity } from '../api/client';
import { ACTIVITY_LABELS, LOGGED_TYPES } from '../api/model';
import { dealsQuery, refresh } from '../api/queries';
import { dealsPath, EVERYTHING, MAX_SEARCH } from '../deals/dealQuery';
import { localMoment } from '../lib/format';
import { useDebounced } from '../lib/useDebounced';
import { Dialog, DialogButtons, type DialogProps } from '../ui/Dialog';
import { Field, FormFailure, TextField, useFirstFault, type Faults } from '../ui/Field';
import { useNotify } from '../ui/notices';
import { Select } from '../ui/Select';
import { parseActivity } from './activityForm';

const TYPING_MS = 250;

export default function LogActivityDialog(props: DialogProps) {
  return (
    <Dialog title="Log activity" {...props}>
      <ActivityForm onLogged={props.onClose} />
    </Dialog>
  );
}

function ActivityForm({ onLogged }: { onLogged: () => void }) {
  const [faults, setFaults] = useState<Faults>({});
  const [now] = useState(() => localMoment(Date.now()));
  const form = useFirstFault(faults);
  const queryClient = useQueryClient();
  const notify = useNotify();

  const log = useMutation({
    mutationFn: createActivity,
    onSuccess: (activity) => {
      refresh(queryClient, ['activities']);
      notify({ text: `${ACTIVITY_LABELS[activity.type]} logged for ${activity.deal_name}.` });
      onLogged();
    },
    onError: (error) => {
      setFaults(error.fields);
      if (error.outcomeUnknown) refresh(queryClient, ['activities']);
    },
  });

  const submit = (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (log.isPending) return;
    log.reset();
    const parsed = parseActivity(new FormData(event.currentTarget), Date.now());
    setFaults('faults' in parsed ? parsed.faults : {});
    if ('activity' in parsed) log.mutate(parsed.activity);
  };

  return (
    <form ref={form} noValidate onSubmit={submit}>
      <DealField faults={faults} />
      <Field name="type" label="Type" faults={faults}>
        {(props) => (
          <Select {...props}>
            {LOGGED_TYPES.map((type) => (
              <option key={type} value={type}>
                {ACTIVITY_LABELS[type]}
              </option>
            ))}
          </Select>
        )}
      </Field>
      <TextField name="happened_at" label="When" faults={faults} type="datetime-local" defaultValue={now} />
      <TextField name="subject" label="Subject" faults={faults} wide placeholder="Call about the offer" />
      <TextField name="owner" label="Owner" faults={faults} wide autoComplete="name" />
      {log.error !== null && (
        <FormFailure>
          {log.error.message}
          {log.error.outcomeUnknown && ' It may have been logged: look at the list before you try again.'}
        </FormFailure>
      )}
      <DialogButtons sending={log.isPending} label="Log activity" sendingLabel="Logging …" />
    </form>
  );
}

/** A search, and the platform's own list of what it finds. */
function DealField({ faults }: { faults: Faults }) {
  const [search, setSearch] = useState('');
  const { data, error, isFetching } = useQuery({
    ...dealsQuery(dealsPath({ ...EVERYTHING, sort: 'updated_at', q: useDebounced(search, TYPING_MS) })),
    placeholderData: keepPreviousData,
  });
  const none = isFetching ? 'Searching …' : (error?.message ?? 'No deal matches');
  return (
    <>
      <TextField
        name="search"
        label="Find the deal"
        faults={{}}
        type="search"
        placeholder="Deal, company or owner"
        maxLength={MAX_SEARCH}
        value={search}
        onChange={(event) => {
          setSearch(event.target.value);
        }}
        onKeyDown={(event) => {
          // Enter belongs to the search here, not to the form.
          if (event.key === 'Enter') event.preventDefault();
        }}
      />
      <Field name="deal_id" label="Deal" faults={faults}>
        {(props) => (
          <Select {...props} aria-busy={isFetching}>
            {data === undefined || data.items.length === 0 ? (
              <option value="">{none}</option>
            ) : (
              data.items.map((deal) => (
                <option key={deal.id} value={deal.id}>
                  {deal.name} · {deal.company}
                </option>
              ))
            )}
          </Select>
        )}
      </Field>
    </>
  );
}
