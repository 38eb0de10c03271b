import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin, ResolvedConfig, Rolldown } from 'vite';
import { renderBoot } from './boot.ts';
import { chunkWhere, closure } from './chunks.ts';
import { compress } from './compress.ts';
import { finishPage, pageFiles } from './page.ts';
import { limitsFrom, measure, overLimits, readBaseline, table, writeBaseline } from './report.ts';
import { serviceWorker } from './worker.ts';

/** Source maps are for whoever reads a stack trace, not for the web. */
async function takeMapsAway(dist: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { recursive: true });
  for (const name of await readdir(join(dist, 'assets'))) {
    if (name.endsWith('.map')) await rename(join(dist, 'assets', name), join(to, name));
  }
}

/** Everything that needs the whole bundle, in an order: each step is about what the one before has written. */
export function finish(firstRoute: RegExp): Plugin {
  let config: ResolvedConfig;
  const finished = async (bundle: Rolldown.OutputBundle) => {
    const { root, logger } = config;
    const dist = join(root, config.build.outDir);
    const route = chunkWhere(bundle, (chunk) => firstRoute.test(chunk.facadeModuleId ?? ''));
    if (route.length === 0) throw new Error(`No dynamic import loads ${String(firstRoute)}, the page of the first route.`);
    const first = closure(bundle, route);
    const entry = closure(bundle, chunkWhere(bundle, (chunk) => chunk.isEntry));

    await takeMapsAway(dist, join(root, 'sourcemaps'));
    const boot = await renderBoot(root, join(root, 'node_modules/.cache/boot'));
    await finishPage(root, dist, [...first.difference(entry)], boot);
    await serviceWorker(root, dist, join(root, 'node_modules/.cache/worker'));
    await compress(dist);

    const report = await measure(dist, ['index.html', ...(await pageFiles(dist))]);
    await writeFile(join(root, 'bundle-report.json'), `${JSON.stringify(report, null, 2)}\n`);
    const baseline = join(root, 'bundle-baseline.json');
    logger.info(`\n${table(report, readBaseline(baseline))}\n`);
    const errors = overLimits(report, limitsFrom(process.env));
    if (errors.length > 0) throw new Error(errors.join('\n'));
    // The baseline is changed on purpose only.
    if (process.env.UPDATE_BASELINE === '1') writeBaseline(baseline, report);
  };
  return {
    name: 'finish',
    apply: 'build',
    configResolved(resolved) {
      config = resolved;
    },
    writeBundle: {
      order: 'post',
      sequential: true,
      handler(_options, bundle) {
        return finished(bundle);
      },
    },
  };
}
