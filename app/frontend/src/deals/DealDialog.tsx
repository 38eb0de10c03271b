import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type SyntheticEvent } from 'react';
import { createDeal, updateDeal } from '../api/client';
import { isStage, OPEN_STAGES, STAGE_LABELS, type Deal, type NewDeal, type Stage } from '../api/model';
import { refresh, replaceDeal } from '../api/queries';
import { dayAfter } from '../lib/format';
import { formatPlainCents } from '../lib/money';
import { Dialog, DialogButtons } from '../ui/Dialog';
import { Field, FormFailure, TextField, useFirstFault } from '../ui/Field';
import { useNotify } from '../ui/notices';
import { Select } from '../ui/Select';
import type { DealDialogProps } from './dealDialogPart';
import { changesOf, parseDeal, type Faults } from './dealForm';

const USUAL_PROBABILITY: Record<Stage, number> = {
  lead: 10,
  qualified: 25,
  proposal: 50,
  negotiation: 75,
  won: 100,
  lost: 0,
};

const USUAL_DAYS_TO_CLOSE = 30;

/** Creates a deal, or edits one; its stage is changed by moving it. */
export default function DealDialog({ deal, onSaved, ...dialog }: DealDialogProps) {
  return (
    <Dialog title={deal === undefined ? 'New deal' : 'Edit deal'} {...dialog}>
      <DealForm deal={deal} onSaved={onSaved} onUnchanged={dialog.onClose} />
    </Dialog>
  );
}

interface DealFormProps {
  deal: Deal | undefined;
  onSaved: (deal: Deal) => void;
  onUnchanged: () => void;
}

function DealForm({ deal, onSaved, onUnchanged }: DealFormProps) {
  const [stage, setStage] = useState<Stage>(deal?.stage ?? 'lead');
  const [faults, setFaults] = useState<Faults>({});
  const [defaultClose] = useState(() => deal?.expected_close ?? dayAfter(USUAL_DAYS_TO_CLOSE, Date.now()));
  const form = useFirstFault(faults);
  const queryClient = useQueryClient();
  const notify = useNotify();

  const save = useMutation({
    mutationFn: (form: NewDeal) => (deal === undefined ? createDeal(form) : updateDeal(deal.id, changesOf(deal, form))),
    onSuccess: (saved) => {
      replaceDeal(queryClient, saved);
      refresh(queryClient);
      if (deal !== undefined) notify({ text: `${saved.name} saved.` });
      onSaved(saved);
    },
    onError: (error) => {
      setFaults(error.fields);
      // The deal is another one by now, or this may have happened all the same.
      if (error.status === 404 || error.outcomeUnknown) refresh(queryClient);
    },
  });

  const submit = (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (save.isPending) return;
    const parsed = parseDeal(new FormData(event.currentTarget));
    save.reset();
    if ('faults' in parsed) {
      setFaults(parsed.faults);
      return;
    }
    setFaults({});
    if (deal !== undefined && Object.keys(changesOf(deal, parsed.deal)).length === 0) onUnchanged();
    else save.mutate(parsed.deal);
  };

  return (
    <form ref={form} noValidate onSubmit={submit}>
      <TextField name="name" label="Deal" faults={faults} wide placeholder="Annual licence, 40 seats" defaultValue={deal?.name} />
      <TextField name="company" label="Company" faults={faults} autoComplete="organization" defaultValue={deal?.company} />
      <TextField name="owner" label="Owner" faults={faults} autoComplete="name" defaultValue={deal?.owner} />
      {deal === undefined ? (
        <Field name="stage" label="Stage" faults={faults}>
          {(props) => (
            <Select
              {...props}
              value={stage}
              onChange={(event) => {
                if (isStage(event.target.value)) setStage(event.target.value);
              }}
            >
              {OPEN_STAGES.map((open) => (
                <option key={open} value={open}>
                  {STAGE_LABELS[open]}
                </option>
              ))}
            </Select>
          )}
        </Field>
      ) : (
        <input type="hidden" name="stage" value={deal.stage} />
      )}
      <TextField
        key={stage}
        name="probability"
        label="Probability (%)"
        faults={faults}
        inputMode="numeric"
        defaultValue={deal?.probability ?? USUAL_PROBABILITY[stage]}
      />
      <TextField
        name="amount_cents"
        label="Amount (USD)"
        faults={faults}
        inputMode="decimal"
        placeholder="12,500.00"
        defaultValue={deal && formatPlainCents(deal.amount_cents)}
      />
      <TextField name="expected_close" label="Expected close" faults={faults} type="date" defaultValue={defaultClose} wide={deal !== undefined} />
      {save.error !== null && (
        <FormFailure>
          {save.error.message}
          {save.error.outcomeUnknown &&
            (deal === undefined
              ? ' The deal may have been created: look for it in the list before you try again.'
              : ' The changes may have been saved: look at the list before you try again.')}
        </FormFailure>
      )}
      {deal === undefined ? (
        <DialogButtons sending={save.isPending} label="Create deal" sendingLabel="Creating …" />
      ) : (
        <DialogButtons sending={save.isPending} label="Save" sendingLabel="Saving …" />
      )}
    </form>
  );
}
