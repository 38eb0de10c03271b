import './styles/tokens.css';
import './styles/base.css';
import { painted } from './pwa/painted';

// What the page is made of is loaded meanwhile (modulepreload in index.html), and runs once there is something to look at.
void painted().then(async () => {
  const root = document.getElementById('root');
  if (root === null) throw new Error('index.html has no element #root');
  const { start } = await import('./start');
  start(root);
});
