import { QueryClientProvider } from '@tanstack/react-query';
import { renderToStaticMarkup } from 'react-dom/server';
import { Router } from 'wouter';
import { createQueryClient } from '../api/queries';
import { LoadingPage } from '../shell/LoadingPage';
import { ROUTES } from '../shell/routes';
import { Shell } from '../shell/Shell';

// The page before its scripts, which the build writes into index.html: the shell as React draws it first, so that
// nothing moves when it does. index.html is the same for all addresses: of the titles, the one of `data-page`
// (beforePaint.js) is seen.

const pages = ROUTES.map(({ path, label }) => (
  <div key={path} data-boot={path}>
    <LoadingPage label={label} />
  </div>
));

export const markup = renderToStaticMarkup(
  <QueryClientProvider client={createQueryClient()}>
    <Router ssrPath="/before-the-scripts">
      <Shell>{pages}</Shell>
    </Router>
  </QueryClientProvider>,
);

export const style = [
  '[data-boot]{display:none}',
  ...ROUTES.map(({ path }) => `:root[data-page="${path}"] [data-boot="${path}"]{display:contents}`),
].join('');
