import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Plugin } from 'vite';

const PAGE = '#f6f5f2';
const MARK = '#23262d';

/** The mark of public/favicon.svg as a bitmap; a maskable one keeps what matters in the circle that systems cut out. */
async function icon(svg: Buffer, size: number, maskable: boolean): Promise<Buffer> {
  const inner = maskable ? Math.round(size * 0.7) : size;
  const margin = (size - inner) / 2;
  return sharp(svg, { density: (72 * size) / 32 })
    .resize(inner)
    .extend({ top: Math.floor(margin), left: Math.floor(margin), bottom: Math.ceil(margin), right: Math.ceil(margin), background: maskable ? MARK : '#0000' })
    .flatten(maskable ? { background: MARK } : false)
    .png({ compressionLevel: 9, palette: true })
    .toBuffer();
}

/** manifest.webmanifest, and the bitmaps that home screens want, made from the one drawing. */
export function webManifest(): Plugin {
  let root = '';
  let appleIcon = '';
  return {
    name: 'web-manifest',
    apply: 'build',
    configResolved(config) {
      root = config.root;
    },
    async buildStart() {
      const svg = await readFile(join(root, 'public/favicon.svg'));
      const emit = async (size: number, maskable: boolean) =>
        this.emitFile({ type: 'asset', name: `icon-${maskable ? 'maskable-' : ''}${size}.png`, source: await icon(svg, size, maskable) });
      const files = [
        { size: 192, purpose: 'any', reference: await emit(192, false) },
        { size: 512, purpose: 'any', reference: await emit(512, false) },
        { size: 512, purpose: 'maskable', reference: await emit(512, true) },
      ];
      appleIcon = await emit(180, true);
      this.emitFile({
        type: 'asset',
        fileName: 'manifest.webmanifest',
        source: JSON.stringify({
          id: '/',
          name: 'Sixty Sales Dashboard',
          short_name: 'Sixty Sales',
          description: 'Pipeline, revenue and deals of the Sixty Sales team.',
          lang: 'en',
          start_url: '/',
          scope: '/',
          display: 'standalone',
          background_color: PAGE,
          theme_color: PAGE,
          icons: [
            { src: '/favicon.svg', sizes: 'any', type: 'image/svg+xml', purpose: 'any' },
            ...files.map(({ size, purpose, reference }) => ({
              src: `/${this.getFileName(reference)}`,
              sizes: `${size}x${size}`,
              type: 'image/png',
              purpose,
            })),
          ],
        }),
      });
    },
    transformIndexHtml: {
      order: 'post',
      handler(_html, context) {
        const apple = Object.values(context.bundle ?? {}).find((item) => item.type === 'asset' && item.names.includes('icon-maskable-180.png'));
        if (apple === undefined) throw new Error(`The icon ${appleIcon} is not in the bundle.`);
        return [
          { tag: 'link', attrs: { rel: 'manifest', href: '/manifest.webmanifest' }, injectTo: 'head' },
          { tag: 'link', attrs: { rel: 'apple-touch-icon', href: `/${apple.fileName}` }, injectTo: 'head' },
        ];
      },
    },
  };
}
