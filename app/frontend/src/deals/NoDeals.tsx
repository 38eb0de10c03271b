import { plural } from '../lib/format';
import { Button } from '../ui/Button';
import { EmptyMessage } from '../ui/Message';
import { isFiltered, unfiltered, type DealQuery } from './dealQuery';

interface NoDealsProps {
  query: DealQuery;
  total: number;
  onQuery: (query: DealQuery) => void;
}

export function NoDeals({ query, total, onQuery }: NoDealsProps) {
  if (total > 0) {
    return (
      <EmptyMessage
        title={`There is no page ${query.page}`}
        detail={`The list has ${plural(total, 'deal')}.`}
        action={
          <Button
            onClick={() => {
              onQuery({ ...query, page: 1 });
            }}
          >
            Go to the first page
          </Button>
        }
      />
    );
  }
  if (isFiltered(query)) {
    return (
      <EmptyMessage
        picture
        title="No deal matches"
        detail="Try another word, or look in all stages."
        action={
          <Button
            onClick={() => {
              onQuery(unfiltered(query));
            }}
          >
            Clear the filters
          </Button>
        }
      />
    );
  }
  return <EmptyMessage picture title="There are no deals yet" detail="Create the first one with “New deal”." />;
}
