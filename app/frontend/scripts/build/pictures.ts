import { imagetools, type ProcessedImage } from 'vite-imagetools';
import type { Plugin } from 'vite';

/** Images up to this size are part of the script that shows them: a request costs more than a third of size does. */
export const INLINE_LIMIT_BYTES = 2048;

async function inlined(image: ProcessedImage): Promise<ProcessedImage> {
  if ((image.sharpMetadata.size ?? Infinity) > INLINE_LIMIT_BYTES) return image;
  const bytes = await image.image.clone().toBuffer();
  return { ...image, src: `data:image/${String(image.transforms.format)};base64,${bytes.toString('base64')}` };
}

/**
 * `import picture from './x.svg?w=240;480&format=avif;webp&as=picture'` gives the image in both formats and widths.
 * imagetools knows no limit for inlining, so small ones are inlined here, and not written.
 */
export function pictures(): Plugin[] {
  return [
    imagetools({
      // What comes from the cache would be encoded twice where it is inlined, and a build on a new machine has none.
      cache: { enabled: false },
      // Others are left to Vite, unless they are imported with directives.
      include: /^[^?]+\.(avif|png|jpe?g|webp|svg)\?.*\bas=picture\b/,
      extendOutputFormats: (formats) => ({
        ...formats,
        picture: ((args) => {
          const format = formats.picture?.(args);
          return async (images: ProcessedImage[]) => format?.(await Promise.all(images.map(inlined)));
        }),
      }),
    }),
    {
      name: 'inlined-pictures',
      apply: 'build',
      generateBundle(_options, bundle) {
        for (const [name, item] of Object.entries(bundle)) {
          const image = item.type === 'asset' && /\.(avif|webp)$/.test(name);
          if (image && item.source.length <= INLINE_LIMIT_BYTES) Reflect.deleteProperty(bundle, name);
        }
      },
    },
  ];
}
