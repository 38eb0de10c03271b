import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { minify } from 'terser';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleFiles } from './compress.ts';
import { pagePolicy } from './csp.ts';
import { bytesFrom, type Report } from './report.ts';

const FRONTEND = join(import.meta.dirname, '../..');

interface Built {
  root: string;
  dist: string;
  code: number;
  output: string;
}

/** Builds a copy of the fixture with the real configuration; the copy is where the packages are found. */
async function build(environment: Record<string, string> = {}): Promise<Built> {
  const cache = join(FRONTEND, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const root = mkdtempSync(join(cache, 'build-test-'));
  cpSync(join(import.meta.dirname, 'fixtures/tiny'), root, { recursive: true });
  const vite = join(FRONTEND, 'node_modules/vite/bin/vite.js');
  const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
    execFile(
      process.execPath,
      [vite, 'build', root, '--config', join(FRONTEND, 'vite.production.config.ts')],
      { cwd: FRONTEND, env: { ...process.env, NODE_ENV: 'production', ...environment } },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : 1, output: stdout + stderr });
      },
    );
  });
  return { root, dist: join(root, 'dist'), code, output };
}

const made: Built[] = [];
async function built(environment?: Record<string, string>): Promise<Built> {
  const one = await build(environment);
  made.push(one);
  return one;
}

afterAll(() => {
  for (const { root } of made) rmSync(root, { recursive: true });
});

describe('a build', () => {
  let one: Built;
  let assets: string[];
  const read = (name: string) => readFileSync(join(one.dist, name), 'utf8');
  const asset = (pattern: RegExp) => {
    const name = assets.find((candidate) => pattern.test(candidate));
    if (name === undefined) throw new Error(`none of ${assets.join(', ')} is ${String(pattern)}`);
    return `assets/${name}`;
  };

  beforeAll(async () => {
    one = await built();
    expect(one.code, one.output).toBe(0);
    assets = readdirSync(join(one.dist, 'assets'));
  }, 60_000);

  it('writes .br and .gz beside everything that can be compressed, last of all', async () => {
    const files = (await bundleFiles(one.dist)).filter((name) => /\.(html|js|css|svg|webmanifest)$/.test(name));
    expect(files).toEqual(expect.arrayContaining(['index.html', 'sw.js', 'favicon.svg', 'manifest.webmanifest']));
    for (const name of files) {
      const content = readFileSync(join(one.dist, name));
      expect(brotliDecompressSync(readFileSync(join(one.dist, `${name}.br`))), name).toEqual(content);
      expect(gunzipSync(readFileSync(join(one.dist, `${name}.gz`))), name).toEqual(content);
    }
  });

  it('has the page before its scripts and all styles in index.html, and says so in its policy', () => {
    const html = read('index.html');
    expect(html).toContain('<style>.seen{margin:0;color:red}.unseen{padding:.5em}[data-boot]{display:none}</style>');
    expect(html).toContain('<div id="root"><p class="seen">Before the scripts</p></div>');
    expect(html).toContain(`<meta http-equiv="Content-Security-Policy" content="${pagePolicy(html)}">`);
    expect(pagePolicy(html)).toMatch(/style-src 'self' 'sha256-[\w+/]{43}='/);
    expect(html).toContain(`<script>${readFileSync(join(FRONTEND, 'src/pwa/beforePaint.js'), 'utf8')}</script>`);
    expect(html).not.toMatch(/unsafe-inline|\son\w+=|\sstyle=/);
    expect(html).not.toContain('rel="stylesheet"');
    expect(assets.filter((name) => name.endsWith('.css'))).toEqual([]);
  });

  it('gives the last word on styles to cssnano and on scripts to terser', async () => {
    expect(read('index.html')).toContain('.seen{margin:0;color:red}.unseen{padding:.5em}');
    for (const name of assets.filter((candidate) => candidate.endsWith('.js'))) {
      const code = read(`assets/${name}`).trim();
      // Nothing is left for it to do, and another one would have printed something else.
      const again = await minify(code, { compress: { passes: 1 }, mangle: false, format: { comments: false }, module: true });
      expect(again.code, name).toBe(code);
    }
  });

  it('leaves out what nobody imports', () => {
    const scripts = assets.filter((name) => name.endsWith('.js')).map((name) => read(`assets/${name}`));
    expect(scripts.join()).toContain('later');
    expect(scripts.join()).not.toContain('SHAKEN-OFF');
  });

  it('writes pictures as AVIF and WebP, and inlines the small ones', () => {
    const script = read(asset(/^index-.*\.js$/));
    for (const format of ['avif', 'webp']) {
      expect(script).toContain(asset(new RegExp(`^dot-.*\\.${format}$`)));
      expect(script).toMatch(new RegExp(`data:image/${format};base64,\\S+ 8w`));
      expect(assets.filter((name) => name.endsWith(`.${format}`))).toHaveLength(1);
    }
  });

  it('keeps source maps beside the bundle, not in it', () => {
    expect(assets.filter((name) => name.endsWith('.map'))).toEqual([]);
    expect(readdirSync(join(one.root, 'sourcemaps')).some((name) => name.endsWith('.js.map'))).toBe(true);
    for (const name of [...assets.map((asset_) => `assets/${asset_}`), 'sw.js']) {
      expect(read(name)).not.toContain('sourceMappingURL');
    }
  });

  it('has everything that a page needs in the list of its service worker', () => {
    const worker = read('sw.js');
    for (const name of [...assets.filter((candidate) => /\.(js|avif)$/.test(candidate)).map((name_) => `assets/${name_}`), 'index.html']) {
      expect(worker).toContain(name);
    }
  });

  it('reports each file, and what the first route loads', () => {
    const report = JSON.parse(readFileSync(join(one.root, 'bundle-report.json'), 'utf8')) as Report;
    expect(report.total_bytes).toBe(report.chunks.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(report.first_route.files).toEqual(expect.arrayContaining(['index.html', asset(/^index-.*\.js$/)]));
    // What the first page is made of is asked for at once, and counts.
    expect(report.first_route.files).toContain(asset(/^feature-overview-page-.*\.js$/));
    expect(read('index.html')).toContain(`<link rel="modulepreload" fetchpriority="low" crossorigin href="/${asset(/^feature-overview-page-.*\.js$/)}">`);
    expect(report.first_route.files.join()).not.toContain('feature-later');
    expect(one.output).toMatch(/assets\/feature-later-\S+\.js +[\d,]+ +[\d,]+ +[\d,]+/);
  });

  it('is the same again', async () => {
    const again = await built();
    expect(await bundleFiles(again.dist)).toEqual(await bundleFiles(one.dist));
    for (const name of await bundleFiles(one.dist)) {
      expect(readFileSync(join(again.dist, name)).equals(readFileSync(join(one.dist, name))), name).toBe(true);
    }
  }, 60_000);
});

describe('a build over a limit', () => {
  it('fails with the sizes when the bundle is too large', async () => {
    const { code, output } = await built({ BUNDLE_LIMIT_BYTES: '4096' });
    expect(code).toBe(1);
    expect(output).toMatch(/The bundle has \d+\.\d\d MB \([\d,]+ bytes\), over its limit of 0\.00 MB \(4,096 bytes\)/);
    expect(output).toContain('Nothing was deployed');
    expect(output).toMatch(/^All \d+ files +[\d,]+ +[\d,]+ +[\d,]+/m);
  }, 60_000);

  it('fails when the first route loads too much', async () => {
    const { code, output } = await built({ FIRST_ROUTE_LIMIT_BYTES: '100' });
    expect(code).toBe(1);
    expect(output).toMatch(/The first route loads [\d,]+ bytes \(Brotli\), over its limit of 100\. The largest are/);
  }, 60_000);

  it('refuses a limit that is no number', () => {
    expect(() => bytesFrom({ BUNDLE_LIMIT_BYTES: '5 MB' }, 'BUNDLE_LIMIT_BYTES', 1)).toThrow('BUNDLE_LIMIT_BYTES=5 MB');
    expect(bytesFrom({ BUNDLE_LIMIT_BYTES: '' }, 'BUNDLE_LIMIT_BYTES', 7)).toBe(7);
  });
});
