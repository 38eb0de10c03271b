import { useEffect, useId, useRef, type ComponentProps, type ReactNode, type RefObject } from 'react';
import styles from './Field.module.css';

/** The fields of a form that are wrong, and why. */
export type Faults = Partial<Record<string, string>>;

/** Leads to the first field that is wrong. */
export function useFirstFault(faults: Faults): RefObject<HTMLFormElement | null> {
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (Object.keys(faults).length > 0) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [faults]);
  return form;
}

interface FieldProps {
  name: string;
  label: string;
  faults: Faults;
  wide?: boolean;
}

interface ControlProps {
  id: string;
  name: string;
  'aria-invalid': boolean;
  'aria-describedby': string | undefined;
}

export function Field({ name, label, faults, wide = false, children }: FieldProps & { children: (props: ControlProps) => ReactNode }) {
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

export function TextField({ name, label, faults, wide = false, ...input }: FieldProps & ComponentProps<'input'>) {
  return (
    <Field name={name} label={label} faults={faults} wide={wide}>
      {(props) => <input type="text" className={styles.input} {...input} {...props} />}
    </Field>
  );
}

export function FormFailure({ children }: { children: ReactNode }) {
  return (
    <p role="alert" className={styles.failure}>
      {children}
    </p>
  );
}
