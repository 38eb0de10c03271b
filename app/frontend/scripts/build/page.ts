import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Beasties from 'beasties';
import { withPolicy } from './csp.ts';

/**
 * index.html as it is served: the rules that its own markup needs are in it, the style sheet follows at the end of the
 * body, where it holds back the scripts but not the first paint, and its policy names what was inlined.
 */
export async function finishPage(dist: string, preload: readonly string[]): Promise<void> {
  const path = join(dist, 'index.html');
  const beasties = new Beasties({
    path: dist,
    publicPath: '/',
    // The other ways to load the sheet later need an inline script or event handler.
    preload: 'body',
    pruneSource: false,
    mergeStylesheets: true,
    // A theme that was chosen is set on the root by a script.
    allowRules: [/^:root\[data-theme/],
    logLevel: 'warn',
  });
  const links = preload.map((file) => `<link rel="modulepreload" crossorigin href="/${file}">`).join('');
  const html = (await readFile(path, 'utf8')).replace('</head>', `${links}</head>`);
  await writeFile(path, withPolicy(await beasties.process(html)));
}

/** The scripts and styles that index.html asks for. */
export async function pageFiles(dist: string): Promise<string[]> {
  const html = await readFile(join(dist, 'index.html'), 'utf8');
  const links = html.matchAll(/<(?:script|link)\s[^>]*?(?:src|href)="\/([^"]+\.(?:js|css))"/g);
  return [...links].flatMap(([, file]) => file ?? []);
}
