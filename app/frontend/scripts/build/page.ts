import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkClasses, type Boot } from './boot.ts';
import { withPolicy } from './csp.ts';

const ROOT = '<div id="root">';
const BEFORE_PAINT = 'src/pwa/beforePaint.js';
const BEFORE_PAINT_TAG = /<script [^>]*src="\/src\/pwa\/beforePaint\.js"><\/script>/;
const ENTRY = '<script type="module"';
const SHEET = /<link rel="stylesheet"[^>]*? href="\/([^"]+)"[^>]*>/;

function replaced(html: string, what: string | RegExp, by: string): string {
  if (html.search(what) < 0) throw new Error(`index.html has no ${String(what)}.`);
  // A function: the text may have the $ of a pattern.
  return html.replace(what, () => by);
}

/**
 * index.html as it is served: with the page before its scripts, the script that goes before all, and the one style
 * sheet, so that it is painted without waiting for anything. They are small, and a request costs more on a phone than
 * its bytes do. The policy of the page names what was inlined.
 */
export async function finishPage(root: string, dist: string, preload: readonly string[], boot: Boot): Promise<void> {
  const path = join(dist, 'index.html');
  let html = await readFile(path, 'utf8');
  const sheet = SHEET.exec(html)?.[1];
  if (sheet === undefined) throw new Error('index.html has no style sheet.');
  const css = (await readFile(join(dist, sheet), 'utf8')).replace(/\/\*\$vite\$:\d+\*\//, '').trim();
  await rm(join(dist, sheet));
  checkClasses(boot.markup, css);

  // The scripts come after what is painted, and none of it waits for them: the browser need not think they are urgent.
  const links = (await largestFirst(dist, preload))
    .map((file) => `<link rel="modulepreload" fetchpriority="low" crossorigin href="/${file}">`).join('');
  html = replaced(html, ENTRY, `${links}${ENTRY} fetchpriority="low"`);
  html = replaced(html, SHEET, `<style>${css}${boot.style}</style>`);
  html = replaced(html, BEFORE_PAINT_TAG, `<script>${await readFile(join(root, BEFORE_PAINT), 'utf8')}</script>`);
  html = replaced(html, ROOT, `${ROOT}${boot.markup}`);
  await writeFile(path, withPolicy(html));
}

/** The first request has the connection that the page came by, which needs no handshake: the largest, as all wait for it. */
async function largestFirst(dist: string, files: readonly string[]): Promise<string[]> {
  const sized = await Promise.all(files.map(async (file) => ({ file, size: (await stat(join(dist, file))).size })));
  return sized.sort((one, other) => other.size - one.size).map(({ file }) => file);
}

/** The scripts that index.html asks for. */
export async function pageFiles(dist: string): Promise<string[]> {
  const html = await readFile(join(dist, 'index.html'), 'utf8');
  const links = html.matchAll(/<(?:script|link)\s[^>]*?(?:src|href)="\/([^"]+\.js)"/g);
  return [...links].flatMap(([, file]) => file ?? []);
}
