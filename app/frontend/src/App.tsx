import { QueryClientProvider } from '@tanstack/react-query';
import { useState } from 'react';
import { Route, Router, Switch, type AroundNavHandler } from 'wouter';
import { createQueryClient } from './api/queries';
import { LazyPage } from './shell/LazyPage';
import { afterPaint } from './lib/afterPaint';
import { NotFoundPage } from './shell/NotFoundPage';
import { ROUTES } from './shell/routes';
import { Shell } from './shell/Shell';
import { ErrorBoundary } from './ui/ErrorBoundary';
import { NoticeProvider } from './ui/NoticeProvider';

/** A tap on a link is answered, by its look, before the page changes. What stays on its page follows each key at once. */
const aroundNav: AroundNavHandler = (navigate, to, options) => {
  if (options?.replace === true) navigate(to, options);
  else {
    afterPaint(() => {
      navigate(to, options);
    });
  }
};

export function App() {
  const [queryClient] = useState(createQueryClient);
  return (
    <ErrorBoundary>
      <QueryClientProvider client={queryClient}>
        <NoticeProvider>
          <Router aroundNav={aroundNav}>
            <Shell>
              <Switch>
                {ROUTES.map((route) => (
                  <Route key={route.path} path={route.path}>
                    <LazyPage key={route.path} {...route} />
                  </Route>
                ))}
                <Route>
                  <NotFoundPage />
                </Route>
              </Switch>
            </Shell>
          </Router>
        </NoticeProvider>
      </QueryClientProvider>
    </ErrorBoundary>
  );
}
