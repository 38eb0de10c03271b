import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { ErrorMessage } from './Message';
import { Skeleton } from './Skeleton';

interface AnswerProps<T> {
  query: UseQueryResult<T>;
  /** `the deals` */
  name: string;
  /** The shape of what comes; as high as that, or the page jumps. */
  skeleton?: { lines: number; className?: string | undefined };
  /** Messages take one line, where there is no place for more. */
  inline?: boolean;
  children: (data: T) => ReactNode;
}

/** What every answer of the API may be: on its way, an error, an error over what came before, or there. */
export function Answer<T>({ query, name, skeleton, inline = false, children }: AnswerProps<T>) {
  const { data, error, refetch } = query;
  return (
    <>
      {error !== null && (
        <ErrorMessage
          title={`${name.charAt(0).toUpperCase()}${name.slice(1)} could not be ${data === undefined ? 'loaded' : 'refreshed'}`}
          detail={error.message}
          retry={() => void refetch()}
          inline={inline || data !== undefined}
        />
      )}
      {data === undefined && error === null && skeleton !== undefined && <Skeleton label={`Loading ${name}`} {...skeleton} />}
      {data !== undefined && children(data)}
    </>
  );
}
