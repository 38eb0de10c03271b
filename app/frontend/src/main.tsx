import './styles/tokens.css';
import './styles/base.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { painted } from './pwa/painted';
import { ROUTES } from './shell/routes';
import { prefetch } from './ui/useLazy';

// The page of the address comes while React starts.
const first = ROUTES.find(({ path }) => path === window.location.pathname);
if (first !== undefined) prefetch(first.page);

const root = document.getElementById('root');
if (root === null) throw new Error('index.html has no element #root');
// No await: the pages import from this module, and would wait with it.
void painted().then(() => {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
});
