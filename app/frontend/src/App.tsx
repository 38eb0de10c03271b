import { Dashboard } from './dashboard/Dashboard';
import { ErrorBoundary } from './ui/ErrorBoundary';
import { NoticeProvider } from './ui/NoticeProvider';

export function App() {
  return (
    <ErrorBoundary>
      <NoticeProvider>
        <Dashboard />
      </NoticeProvider>
    </ErrorBoundary>
  );
}
