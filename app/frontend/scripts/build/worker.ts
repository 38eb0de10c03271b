import { join } from 'node:path';
import { build } from 'vite';
import { injectManifest } from 'workbox-build';
import { terserOptions } from './terser.ts';

/** sw.js: src/pwa/worker bundled into `work`, and written to `dist` with the list of what belongs to this release. */
export async function serviceWorker(root: string, dist: string, work: string): Promise<void> {
  await build({
    configFile: false,
    root,
    publicDir: false,
    logLevel: 'warn',
    build: {
      outDir: work,
      emptyOutDir: true,
      minify: 'terser',
      terserOptions,
      rolldownOptions: {
        input: join(root, 'src/pwa/worker/sw.ts'),
        output: { format: 'iife', entryFileNames: 'sw.js' },
      },
    },
  });
  const { warnings } = await injectManifest({
    swSrc: join(work, 'sw.js'),
    swDest: join(dist, 'sw.js'),
    globDirectory: dist,
    // Icons are for the system, and a browser without AVIF gets its pictures from nginx.
    globPatterns: ['{index.html,*.js,manifest.webmanifest,favicon.svg}', 'assets/*.{js,svg,avif,woff2}'],
    globIgnores: ['sw.js'],
    // The name has the hash already.
    dontCacheBustURLsMatching: /^assets\//,
  });
  // A file that is missing in the list would be missing offline.
  if (warnings.length > 0) throw new Error(`The service worker is not whole:\n${warnings.join('\n')}`);
}
