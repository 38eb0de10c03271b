import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'vite';
import { pictures } from './pictures.ts';

/** What src/pwa/boot.tsx gives to index.html. */
export interface Boot {
  markup: string;
  style: string;
}

/** Renders the page before its scripts, from the same components and with the same class names as the bundle. */
export async function renderBoot(root: string, work: string): Promise<Boot> {
  await build({
    configFile: false,
    root,
    publicDir: false,
    logLevel: 'warn',
    plugins: [pictures()],
    build: {
      ssr: join(root, 'src/pwa/boot.tsx'),
      outDir: work,
      emptyOutDir: true,
      rolldownOptions: { output: { entryFileNames: 'boot.mjs' } },
    },
  });
  const { markup, style } = (await import(pathToFileURL(join(work, 'boot.mjs')).href)) as Boot;
  return { markup, style };
}

/** Throws for a class of `markup` that `css` does not know: the names of the two builds differ, and nobody would see why. */
export function checkClasses(markup: string, css: string): void {
  const names = [...markup.matchAll(/\sclass="([^"]*)"/g)].flatMap(([, list = '']) => list.split(/\s+/).filter(Boolean));
  const unknown = [...new Set(names)].filter((name) => !css.includes(`.${name}`));
  if (unknown.length > 0) {
    throw new Error(`The page before its scripts has classes that no style sheet has: ${unknown.join(', ')}.`);
  }
}
