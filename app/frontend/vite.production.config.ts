import react from '@vitejs/plugin-react';
import cssnano from 'cssnano';
import { defineConfig } from 'vite';
import { chunkFileNames, chunkGroups, deferredStaysDeferred } from './scripts/build/chunks.ts';
import { finish } from './scripts/build/finish.ts';
import { webManifest } from './scripts/build/manifest.ts';
import { INLINE_LIMIT_BYTES, pictures } from './scripts/build/pictures.ts';
import { terserOptions } from './scripts/build/terser.ts';

/** The page that `/` shows, whose code index.html asks for at once. */
const FIRST_ROUTE = /\/src\/overview\/OverviewPage\.tsx$/;

export default defineConfig({
  plugins: [react(), pictures(), webManifest(), deferredStaysDeferred(FIRST_ROUTE), finish(FIRST_ROUTE)],
  css: { postcss: { plugins: [cssnano({ preset: 'default' })] } },
  build: {
    target: 'baseline-widely-available',
    minify: 'terser',
    terserOptions,
    // cssnano was there already, and nothing comes after it.
    cssMinify: false,
    // One small style sheet: Vite does not load that of a lazy part again once it has failed.
    cssCodeSplit: false,
    // Written for finish() to take away.
    sourcemap: 'hidden',
    reportCompressedSize: false,
    // A data: script or font would break the policy (csp.json), so only images are inlined, and only small ones.
    assetsInlineLimit: (file, content) => /\.(avif|gif|jpe?g|png|svg|webp)$/.test(file) && content.length <= INLINE_LIMIT_BYTES,
    rolldownOptions: {
      treeshake: true,
      // Where the time of a build goes is no warning.
      checks: { bundlerTimings: false },
      output: { chunkFileNames, codeSplitting: { groups: chunkGroups } },
    },
  },
});
