import { Link } from 'wouter';
import { EmptyMessage } from '../ui/Message';
import { Page } from './Page';

export function NotFoundPage() {
  return (
    <Page title="No such page">
      <EmptyMessage
        picture
        title="There is nothing at this address"
        detail="The link may be old, or mistyped."
        action={<Link to="/">Go to the overview</Link>}
      />
    </Page>
  );
}
