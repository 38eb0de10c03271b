import * as Dialog from '@radix-ui/react-dialog';
import {
  useEffect,
  useId,
  useRef,
  useState,
  type ComponentProps,
  type ReactNode,
  type RefObject,
  type SyntheticEvent,
} from 'react';
import { ApiError, createDeal } from '../api/client';
import { isStage, OPEN_STAGES, STAGE_LABELS, type Deal, type Stage } from '../api/model';
import { dayAfter } from '../lib/format';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { Select } from '../ui/Select';
import { parseDeal, type Faults, type Field } from './dealForm';
import styles from './NewDealDialog.module.css';

const USUAL_PROBABILITY: Record<Stage, number> = {
  lead: 10,
  qualified: 25,
  proposal: 50,
  negotiation: 75,
  won: 100,
  lost: 0,
};

const USUAL_DAYS_TO_CLOSE = 30;

interface NewDealDialogProps {
  open: boolean;
  onClose: () => void;
  onCreated: (deal: Deal) => void;
  /** Opened the dialog, and has the focus again after it. */
  returnFocus: RefObject<HTMLElement | null>;
}

export default function NewDealDialog({ open, onClose, onCreated, returnFocus }: NewDealDialogProps) {
  const [touched, setTouched] = useState(false);
  return (
    <Dialog.Root
      open={open}
      onOpenChange={(next) => {
        if (!next) onClose();
      }}
    >
      <Dialog.Portal>
        {/* Not Dialog.Overlay: its scroll lock injects a style element, which the CSP forbids. base.css locks. */}
        <div className={styles.scrim} />
        <Dialog.Content
          className={styles.dialog}
          aria-describedby={undefined}
          onOpenAutoFocus={() => {
            setTouched(false);
          }}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            returnFocus.current?.focus();
          }}
          onInteractOutside={(event) => {
            // A slip of the pointer must not cost what was typed.
            if (touched) event.preventDefault();
          }}
        >
          <div className={styles.head}>
            <Dialog.Title className={styles.title}>New deal</Dialog.Title>
            <Dialog.Close asChild>
              <Button look="quiet" aria-label="Close">
                <Icon name="close" />
              </Button>
            </Dialog.Close>
          </div>
          <DealForm
            onTouched={() => {
              setTouched(true);
            }}
            onCreated={onCreated}
          />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

interface DealFormProps {
  onTouched: () => void;
  onCreated: (deal: Deal) => void;
}

function DealForm({ onTouched, onCreated }: DealFormProps) {
  const [stage, setStage] = useState<Stage>('lead');
  const [faults, setFaults] = useState<Faults>({});
  const [failure, setFailure] = useState<ApiError>();
  const [sending, setSending] = useState(false);
  const [defaultClose] = useState(() => dayAfter(USUAL_DAYS_TO_CLOSE, Date.now()));
  const form = useRef<HTMLFormElement>(null);

  useEffect(() => {
    if (Object.keys(faults).length > 0) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [faults]);

  const submit = async (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (sending) return;
    const parsed = parseDeal(new FormData(event.currentTarget));
    setFailure(undefined);
    if ('faults' in parsed) {
      setFaults(parsed.faults);
      return;
    }
    setFaults({});
    setSending(true);
    try {
      onCreated(await createDeal(parsed.deal));
    } catch (reason) {
      const error = reason instanceof ApiError ? reason : new ApiError(String(reason), 'unknown', 0);
      setFaults(error.fields);
      setFailure(error);
      setSending(false);
    }
  };

  return (
    <form
      ref={form}
      noValidate
      className={styles.form}
      onChange={onTouched}
      onSubmit={(event) => {
        void submit(event);
      }}
    >
      <TextField name="name" label="Deal" faults={faults} wide placeholder="Annual licence, 40 seats" />
      <TextField name="company" label="Company" faults={faults} autoComplete="organization" />
      <TextField name="owner" label="Owner" faults={faults} autoComplete="name" />
      <LabelledField name="stage" label="Stage" faults={faults}>
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
      </LabelledField>
      <TextField
        key={stage}
        name="probability"
        label="Probability (%)"
        faults={faults}
        inputMode="numeric"
        defaultValue={USUAL_PROBABILITY[stage]}
      />
      <TextField name="amount_cents" label="Amount (USD)" faults={faults} inputMode="decimal" placeholder="12,500.00" />
      <TextField name="expected_close" label="Expected close" faults={faults} type="date" defaultValue={defaultClose} />
      {failure !== undefined && (
        <p role="alert" className={styles.failure}>
          {failure.message}
          {failure.outcomeUnknown && ' The deal may have been created: look for it in the list before you try again.'}
        </p>
      )}
      <div className={styles.buttons}>
        <Dialog.Close asChild>
          <Button>Cancel</Button>
        </Dialog.Close>
        <Button type="submit" look="primary" aria-disabled={sending}>
          {sending ? 'Creating …' : 'Create deal'}
        </Button>
      </div>
    </form>
  );
}

interface FieldProps {
  name: Field;
  label: string;
  faults: Faults;
  wide?: boolean;
}

interface ControlProps {
  id: string;
  name: Field;
  'aria-invalid': boolean;
  'aria-describedby': string | undefined;
}

function LabelledField({
  name,
  label,
  faults,
  wide = false,
  children,
}: FieldProps & { children: (props: ControlProps) => ReactNode }) {
  const id = useId();
  const fault = faults[name];
  const faultId = `${id}-fault`;
  return (
    <div className={`${styles.field} ${wide ? styles.wide : ''}`}>
      <label htmlFor={id}>{label}</label>
      {children({
        id,
        name,
        'aria-invalid': fault !== undefined,
        'aria-describedby': fault === undefined ? undefined : faultId,
      })}
      {fault !== undefined && (
        <p id={faultId} className={styles.fault}>
          {fault}
        </p>
      )}
    </div>
  );
}

function TextField({ name, label, faults, wide = false, ...input }: FieldProps & ComponentProps<'input'>) {
  return (
    <LabelledField name={name} label={label} faults={faults} wide={wide}>
      {(props) => <input type="text" className={styles.input} {...input} {...props} />}
    </LabelledField>
  );
}
