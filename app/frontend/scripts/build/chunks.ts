import type { Plugin, Rolldown } from 'vite';

/**
 * Vendor and UI chunks by the packages that travel together, leaves first: a chunk takes the dependencies of its
 * modules along unless an earlier one has them, so React must come first or it ends in the chunk of the charts.
 * Own code follows its dynamic imports.
 */
const GROUPS: readonly (readonly [name: string, packages: RegExp])[] = [
  ['vendor-react-core', /^(react|react-dom|scheduler|use-sync-external-store)$/],
  ['vendor-react-shims', /^react-is$/],
  ['vendor-helpers', /^(clsx|tslib|tiny-invariant|eventemitter3)$/],
  // Together: what the first route needs comes over the six connections that a browser opens (HTTP/1.1).
  ['vendor-router-query', /^(wouter|regexparam|@tanstack\/(react-)?query.*)$/],
  ['vendor-table', /^@tanstack\/(react-)?table/],
  ['vendor-virtual', /^@tanstack\/(react-)?virtual/],
  ['vendor-dnd', /^@dnd-kit\//],
  ['vendor-charts-math', /^(d3-.+|internmap|victory-vendor|decimal\.js-light)$/],
  ['vendor-charts-tools', /^es-toolkit$/],
  ['vendor-charts-state', /^(@reduxjs\/toolkit|redux|redux-thunk|react-redux|reselect|immer)$/],
  ['vendor-charts', /^recharts$/],
  ['ui-radix-core', /^@radix-ui\/(primitive|react-(compose-refs|context|id|primitive|slot|use-.+|presence|visually-hidden))$/],
  ['ui-radix-layers', /^(@radix-ui\/react-(dismissable-layer|focus-guards|focus-scope|portal)|aria-hidden|react-remove-scroll(-bar)?|react-style-singleton|use-callback-ref|use-sidecar|get-nonce)$/],
  ['ui-radix-dialogs', /^@radix-ui\/react-(dialog|alert-dialog)$/],
  ['ui-radix-menus', /^(@radix-ui\/(rect|react-(arrow|collection|direction|dropdown-menu|menu|popover|popper|roving-focus|select|tooltip))|@floating-ui\/.+)$/],
  ['ui-radix-controls', /^@radix-ui\//],
  ['ui-icons', /^(lucide-react|@radix-ui\/react-icons)$/],
];

/** Chunks that no first paint may wait for. */
const DEFERRED = /^(vendor-(charts.*|dnd)|ui-radix-.*)$/;

export function packageOf(id: string): string | undefined {
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id.replaceAll('\\', '/'))?.[1];
}

export function groupOf(id: string): string | undefined {
  const name = packageOf(id);
  return name === undefined ? undefined : GROUPS.find(([, packages]) => packages.test(name))?.[0];
}

/** The application, which the entry loads once the page before it is painted. */
const APPLICATION = '/src/start.tsx';

/** What calls for `id`: entries, and modules that a dynamic import loads. */
function roots(id: string, graph: Rolldown.ChunkingContext): Set<string> {
  const found = new Set<string>();
  const seen = new Set([id]);
  // A Set goes on to what is added while it is walked.
  for (const one of seen) {
    const info = graph.getModuleInfo(one);
    if (info === null) continue;
    if (info.isEntry || info.dynamicImporters.length > 0) found.add(one);
    else for (const importer of info.importers) seen.add(importer);
  }
  return found;
}

/**
 * Where an own module goes that is not a page's alone: the entry keeps what it has itself, or it would run the application
 * to get it. What several pages need travels with the application: a dozen of chunks below 1 kB would cost more requests
 * than they save bytes, and over HTTP/1.1 a browser has six connections. The frame of the dialogs would bring Radix along.
 */
function ownChunk(id: string, graph: Rolldown.ChunkingContext): 'index' | 'application' | null {
  if (packageOf(id) !== undefined || id.includes('Dialog')) return null;
  const from = [...roots(id, graph)];
  if (from.some((root) => graph.getModuleInfo(root)?.isEntry === true)) return 'index';
  return from.length > 1 || from.some((root) => root.endsWith(APPLICATION)) ? 'application' : null;
}

const own = (name: 'index' | 'application', priority: number): Rolldown.CodeSplittingGroup => ({
  name: (id, graph) => (ownChunk(id, graph) === name ? name : null),
  priority,
});

export const chunkGroups: Rolldown.CodeSplittingGroup[] = [
  ...GROUPS.map(([name], index) => ({ name, test: (id: string) => groupOf(id) === name, priority: 1 + GROUPS.length - index })),
  own('index', 1),
  own('application', 0),
];

function dashed(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2').replaceAll(/[^A-Za-z0-9-]+/g, '-').toLowerCase();
}

/** `feature-` is what a dynamic import loads, `shared-` what several of them need. */
export function chunkFileNames(chunk: Rolldown.PreRenderedChunk): string {
  const own = chunk.moduleIds.length > 0 && chunk.moduleIds.every((id) => packageOf(id) === undefined);
  const kind = GROUPS.some(([name]) => name === chunk.name) ? '' : chunk.isDynamicEntry ? 'feature-' : own ? 'shared-' : '';
  return `assets/${kind}${dashed(chunk.name)}-[hash].js`;
}

export type Chunks = Readonly<Record<string, { type: string } | undefined>>;

/** The chunk `fileName` and all that it imports statically. */
export function closure(bundle: Rolldown.OutputBundle, fileNames: Iterable<string>): Set<string> {
  const seen = new Set(fileNames);
  // A Set goes on to what is added while it is walked.
  for (const name of seen) {
    const chunk = bundle[name];
    if (chunk?.type === 'chunk') for (const imported of chunk.imports) seen.add(imported);
  }
  return seen;
}

export function chunkWhere(bundle: Rolldown.OutputBundle, test: (chunk: Rolldown.OutputChunk) => boolean): string[] {
  return Object.values(bundle).flatMap((item) => (item.type === 'chunk' && test(item) ? [item.fileName] : []));
}

/**
 * Fails the build when the first paint would wait for a deferred chunk: one shared helper that lands in the wrong
 * chunk is enough for that, and nothing else would tell.
 */
export function deferredStaysDeferred(firstRoute: RegExp): Plugin {
  return {
    name: 'deferred-stays-deferred',
    generateBundle(_options, bundle) {
      const first = chunkWhere(bundle, (chunk) => chunk.isEntry || firstRoute.test(chunk.facadeModuleId ?? ''));
      for (const fileName of closure(bundle, first)) {
        const chunk = bundle[fileName];
        if (chunk?.type === 'chunk' && DEFERRED.test(chunk.name)) {
          this.error(`${fileName} is loaded before the first paint; import it only through import()`);
        }
      }
    },
  };
}
