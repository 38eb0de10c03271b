import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleFiles } from './compress.ts';

export interface Part {
  file: string;
  bytes: number;
  gzip: number;
  brotli: number;
  kind: string;
}

export interface Report {
  total_bytes: number;
  total_brotli_bytes: number;
  chunks: Part[];
  first_route: { files: string[]; brotli_bytes: number };
  /** Filled in by run_limited.py, which measures from outside. */
  peak_memory_bytes: number | null;
}

/** The committed sizes that a build is compared with: name without hash -> bytes and brotli. */
type Baseline = Record<string, { bytes: number; brotli: number }>;

export interface Limits {
  bundle: number;
  firstRoute: number;
}

/** A number of bytes from the environment. */
export function bytesFrom(environment: NodeJS.ProcessEnv, name: string, fallback: number): number {
  const text = environment[name] ?? '';
  if (text === '') return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0) throw new Error(`${name}=${text} is not a number of bytes, such as ${fallback}.`);
  return value;
}

export function limitsFrom(environment: NodeJS.ProcessEnv): Limits {
  return {
    bundle: bytesFrom(environment, 'BUNDLE_LIMIT_BYTES', 5 * 1024 * 1024),
    firstRoute: bytesFrom(environment, 'FIRST_ROUTE_LIMIT_BYTES', 150_000),
  };
}

function kindOf(file: string): string {
  const name = file.replace(/^assets\//, '');
  const prefix = /^(vendor|ui|feature|shared)-.*\.js$/.exec(name)?.[1];
  if (prefix !== undefined) return prefix;
  if (name === 'sw.js') return 'worker';
  const ending = name.slice(name.lastIndexOf('.') + 1);
  return { js: 'app', css: 'style', html: 'page', svg: 'image', png: 'image', avif: 'image', webp: 'image', woff2: 'font' }[ending] ?? 'other';
}

function size(path: string, fallback: number): number {
  return existsSync(path) ? statSync(path).size : fallback;
}

export async function measure(dist: string, firstRoute: Iterable<string>): Promise<Report> {
  const chunks = (await bundleFiles(dist)).map((file) => {
    const path = join(dist, file);
    const { size: bytes } = statSync(path);
    return { file, bytes, gzip: size(`${path}.gz`, bytes), brotli: size(`${path}.br`, bytes), kind: kindOf(file) };
  });
  const files = [...firstRoute].sort();
  const sum = (parts: readonly Part[], key: 'bytes' | 'brotli') => parts.reduce((total, part) => total + part[key], 0);
  return {
    total_bytes: sum(chunks, 'bytes'),
    total_brotli_bytes: sum(chunks, 'brotli'),
    chunks,
    first_route: { files, brotli_bytes: sum(chunks.filter((part) => files.includes(part.file)), 'brotli') },
    peak_memory_bytes: null,
  };
}

function stableName(file: string): string {
  return file.replace(/-[\w-]{8}(\.\w+)$/, '$1');
}

export function readBaseline(path: string): Baseline {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Baseline) : {};
}

export function writeBaseline(path: string, report: Report): void {
  const entries = report.chunks.map(({ file, bytes, brotli }) => [stableName(file), { bytes, brotli }] as const);
  const lines = entries.map(([name, value]) => `  ${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  writeFileSync(path, `{\n${lines.join(',\n')}\n}\n`);
}

function number(value: number): string {
  return value.toLocaleString('en');
}

function change(now: number, before: number | undefined): string {
  if (before === undefined) return 'new';
  const difference = now - before;
  return difference === 0 ? '' : `${difference > 0 ? '+' : '-'}${number(Math.abs(difference))}`;
}

/** A row for each file, the largest first, with the change of its bytes against the baseline. */
export function table(report: Report, baseline: Baseline): string {
  const totals = Object.values(baseline).reduce(
    (sum, { bytes, brotli }) => ({ bytes: sum.bytes + bytes, brotli: sum.brotli + brotli }),
    { bytes: 0, brotli: 0 },
  );
  const known = Object.keys(baseline).length > 0;
  const rows = [
    ['File', 'Bytes', 'Gzip', 'Brotli', 'Change'],
    ...[...report.chunks]
      .sort((a, b) => b.bytes - a.bytes)
      .map(({ file, bytes, gzip, brotli }) => [
        file,
        number(bytes),
        number(gzip),
        number(brotli),
        known ? change(bytes, baseline[stableName(file)]?.bytes) : '',
      ]),
    [
      `All ${report.chunks.length} files`,
      number(report.total_bytes),
      number(report.chunks.reduce((sum, part) => sum + part.gzip, 0)),
      number(report.total_brotli_bytes),
      known ? change(report.total_bytes, totals.bytes) : '',
    ],
    [`First route, ${report.first_route.files.length} files`, '', '', number(report.first_route.brotli_bytes), ''],
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ').trimEnd(),
  );
  const gone = Object.keys(baseline).filter((name) => !report.chunks.some(({ file }) => stableName(file) === name));
  if (gone.length > 0) lines.push(`Gone: ${gone.join(', ')}`);
  return lines.join('\n');
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(2)} MB (${number(bytes)} bytes)`;
}

/** What is over its limit, in words; nothing when all is within. */
export function overLimits(report: Report, limits: Limits): string[] {
  const largest = (parts: Part[], key: 'bytes' | 'brotli') =>
    parts
      .sort((a, b) => b[key] - a[key])
      .slice(0, 3)
      .map((part) => `${part.file} (${number(part[key])})`)
      .join(', ');
  const errors: string[] = [];
  if (report.total_bytes > limits.bundle) {
    errors.push(
      `The bundle has ${megabytes(report.total_bytes)}, over its limit of ${megabytes(limits.bundle)}. Its largest files are ` +
        `${largest([...report.chunks], 'bytes')}. Nothing was deployed; make them smaller, or set BUNDLE_LIMIT_BYTES.`,
    );
  }
  const { files, brotli_bytes: first } = report.first_route;
  if (first > limits.firstRoute) {
    const parts = report.chunks.filter((part) => files.includes(part.file));
    errors.push(
      `The first route loads ${number(first)} bytes (Brotli), over its limit of ${number(limits.firstRoute)}. The largest are ` +
        `${largest(parts, 'brotli')}. Nothing was deployed; load what the first paint does not need through import(), ` +
        'or set FIRST_ROUTE_LIMIT_BYTES.',
    );
  }
  return errors;
}
