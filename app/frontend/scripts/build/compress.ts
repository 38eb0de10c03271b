import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const COMPRESSIBLE = /\.(css|html|js|json|svg|txt|webmanifest|xml|wasm)$/;

/** Every file of the bundle itself, relative to `dist`, without what was compressed from it. */
export async function bundleFiles(dist: string): Promise<string[]> {
  const entries = await readdir(dist, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !/\.(br|gz)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(dist.length + 1))
    .sort();
}

/** A .br and a .gz beside every file that gets smaller by it, for nginx to send as they are. */
export async function compress(dist: string): Promise<void> {
  for (const name of await bundleFiles(dist)) {
    if (!COMPRESSIBLE.test(name)) continue;
    const content = await readFile(join(dist, name));
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
    await Promise.all([
      promisify(brotliCompress)(content, { params }).then((data) => writeFile(join(dist, `${name}.br`), data)),
      promisify(gzip)(content, { level: 9 }).then((data) => writeFile(join(dist, `${name}.gz`), data)),
    ]);
  }
}
