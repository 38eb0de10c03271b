import { QueryClientProvider } from '@tanstack/react-query';
import { useState } from 'react';
import { BrowserRouter, Route, Routes } from 'react-router';
import { createQueryClient } from './api/queries';
import { LazyPage } from './shell/LazyPage';
import { NotFoundPage } from './shell/NotFoundPage';
import { ROUTES } from './shell/routes';
import { Shell } from './shell/Shell';
import { ErrorBoundary } from './ui/ErrorBoundary';
import { NoticeProvider } from './ui/NoticeProvider';

export function App() {
  const [queryClient] = useState(createQueryClient);
  return (
    <ErrorBoundary>
      <QueryClientProvider client={queryClient}>
        <NoticeProvider>
          {/* No transitions: a search field that is part of the address must follow each key at once. */}
          <BrowserRouter useTransitions={false}>
            <Routes>
              <Route element={<Shell />}>
                {ROUTES.map((route) => (
                  <Route key={route.path} path={route.path} element={<LazyPage key={route.path} {...route} />} />
                ))}
                <Route path="*" element={<NotFoundPage />} />
              </Route>
            </Routes>
          </BrowserRouter>
        </NoticeProvider>
      </QueryClientProvider>
    </ErrorBoundary>
  );
}
