import { Component, type ErrorInfo, type ReactNode } from 'react';
import { ErrorMessage } from './Message';

interface State {
  error: Error | undefined;
}

/** The last resort: a fault in the page itself shows as a message, not as a blank page. */
export class ErrorBoundary extends Component<{ children: ReactNode }, State> {
  override state: State = { error: undefined };

  static getDerivedStateFromError(error: Error): State {
    return { error };
  }

  override componentDidCatch(error: Error, info: ErrorInfo): void {
    console.error('The page failed to render', error, info.componentStack);
  }

  override render(): ReactNode {
    if (this.state.error === undefined) return this.props.children;
    return (
      <ErrorMessage
        title="Something went wrong on this page"
        detail={this.state.error.message}
        retry={() => {
          window.location.reload();
        }}
      />
    );
  }
}
