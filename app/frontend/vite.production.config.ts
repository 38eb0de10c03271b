import { constants } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';
import { compression, defineAlgorithm } from 'vite-plugin-compression2';

/** Vendor chunks, by the packages that travel together. Own code follows its dynamic imports. */
const VENDOR_CHUNKS: Record<string, RegExp> = {
  'vendor-react': /^(react|react-dom|scheduler)$/,
  'vendor-charts':
    /^(recharts|victory-vendor|d3-.+|internmap|@reduxjs\/toolkit|redux|redux-thunk|react-redux|reselect|immer|react-is|es-toolkit|decimal\.js-light|eventemitter3|tiny-invariant|use-sync-external-store|clsx)$/,
  'vendor-radix':
    /^(@radix-ui\/.+|aria-hidden|react-remove-scroll(-bar)?|react-style-singleton|use-callback-ref|use-sidecar|get-nonce|tslib)$/,
};

/** Chunks that a visitor may need only later. */
const DEFERRED_CHUNKS = ['vendor-charts', 'vendor-radix'];

function packageOf(id: string): string | undefined {
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id.replaceAll('\\', '/'))?.[1];
}

function manualChunks(id: string): string | undefined {
  const name = packageOf(id);
  if (name === undefined) return undefined;
  return Object.keys(VENDOR_CHUNKS).find((chunk) => VENDOR_CHUNKS[chunk]?.test(name));
}

/**
 * Fails the build when the first paint would wait for a deferred chunk: one shared helper that lands in the wrong
 * chunk is enough for that, and nothing else would tell.
 */
function deferredStaysDeferred(): Plugin {
  return {
    name: 'deferred-stays-deferred',
    generateBundle(_options, bundle) {
      const queue = Object.values(bundle).flatMap((item) =>
        item.type === 'chunk' && item.isEntry ? [item.fileName] : [],
      );
      const seen = new Set(queue);
      for (const fileName of queue) {
        const chunk = bundle[fileName];
        if (chunk?.type !== 'chunk') continue;
        if (DEFERRED_CHUNKS.includes(chunk.name)) {
          this.error(`${fileName} is loaded before the first paint; import it only through import()`);
        }
        for (const imported of chunk.imports) {
          if (!seen.has(imported)) {
            seen.add(imported);
            queue.push(imported);
          }
        }
      }
    },
  };
}

export default defineConfig({
  plugins: [
    react(),
    deferredStaysDeferred(),
    compression({
      include: /\.(html|js|css|svg|json|txt|webmanifest|xml)$/,
      threshold: 0,
      algorithms: [
        defineAlgorithm('gzip', { level: 9 }),
        defineAlgorithm('brotliCompress', { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
      ],
    }),
  ],
  build: {
    target: 'baseline-widely-available',
    cssMinify: 'lightningcss',
    // One small style sheet: Vite does not load that of a lazy part again once it has failed.
    cssCodeSplit: false,
    sourcemap: false,
    // A data: script or font would break the CSP; only images may be inlined, and none is worth it yet.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        codeSplitting: {
          // A chunk takes the dependencies of its modules along. React must be taken first, or it ends in the chunk
          // of the charts; the option `manualChunks` itself knows no order.
          groups: [
            { name: 'vendor-react', test: (id) => manualChunks(id) === 'vendor-react', priority: 1 },
            { name: manualChunks, debugName: 'manualChunks' },
          ],
        },
      },
    },
  },
});
