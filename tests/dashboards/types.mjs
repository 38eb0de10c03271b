// Checks dashboards (paths as arguments) against Grafana's own types, @grafana/schema: no unknown key, no wrong value,
// in the dashboard, in each panel, in the options and field settings of its kind, and in queries of Loki. The package
// has no types for Prometheus's queries. Ends with 1 and the compiler's words where something does not fit.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const kinds = {
  timeseries: 'TimeSeriesPanelCfg',
  stat: 'StatPanelCfg',
  table: 'TablePanelCfg',
  logs: 'LogsPanelCfg',
};
const raw = (kind, name, part = 'panelcfg') => `@grafana/schema/dist/esm/raw/composable/${kind}/${part}/x/${name}_types.gen`;

// Types as JSON has them: the text of an enum in its place, and every key optional, since Grafana fills in defaults.
// A panel with a key too many is none: literals are checked for that.
const head = `
import type { AnnotationQuery, Dashboard, Panel, RowPanel } from '@grafana/schema';
import type { LokiDataQuery } from '${raw('loki', 'LokiDataQuery', 'dataquery')}';
${Object.entries(kinds).map(([kind, name]) => `import type * as ${kind} from '${raw(kind, name)}';`).join('\n')}
type Json<T> = unknown extends T ? T : T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends readonly (infer Item)[] ? Json<Item>[] : T extends object ? { [Key in keyof T]?: Json<T[Key]> } : T;
// What Prometheus's data source adds to an annotation.
type PrometheusAnnotation = Json<AnnotationQuery> & {
  expr?: string; step?: string; useValueForTime?: boolean; titleFormat?: string; textFormat?: string; tagKeys?: string };
type Whole = Omit<Json<Dashboard>, 'panels' | 'annotations'>;
`;

function source({ panels, annotations, ...board }) {
  const lines = [head];
  const check = (name, value) => lines.push(`({\n${JSON.stringify(value, null, 1).slice(1)}) satisfies ${name};`);
  check('Whole', board);
  for (const annotation of annotations.list) check('PrometheusAnnotation', annotation);
  for (const { options, targets = [], ...panel } of panels) {
    if (panel.type === 'row') {
      check('Json<RowPanel>', panel);
      continue;
    }
    if (!(panel.type in kinds)) throw new Error(`panel ${panel.title}: no types are known for ${panel.type}`);
    const { custom, ...defaults } = panel.fieldConfig?.defaults ?? {};
    check('Json<Panel>', panel.fieldConfig ? { ...panel, fieldConfig: { ...panel.fieldConfig, defaults } } : panel);
    check(`Json<${panel.type}.Options>`, options ?? {});
    if (custom) check(`Json<${panel.type}.FieldConfig>`, custom);
    for (const { datasource, ...target } of targets) {
      if (datasource?.type === 'loki') check('Json<LokiDataQuery>', target);
    }
  }
  return lines.join('\n');
}

const options = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, types: [],
  moduleResolution: ts.ModuleResolutionKind.Bundler, target: ts.ScriptTarget.ES2022 };
const host = ts.createCompilerHost(options);
const virtual = new Map(process.argv.slice(2).map((path, index) =>
  [join(import.meta.dirname, `dashboard${index}.ts`), { path, text: source(JSON.parse(readFileSync(path, 'utf8'))) }]));
const read = host.readFile.bind(host);
host.readFile = (name) => virtual.get(name)?.text ?? read(name);
const exists = host.fileExists.bind(host);
host.fileExists = (name) => virtual.has(name) || exists(name);
const getSourceFile = host.getSourceFile.bind(host);
host.getSourceFile = (name, ...rest) => virtual.has(name)
  ? ts.createSourceFile(name, virtual.get(name).text, options.target) : getSourceFile(name, ...rest);

const found = ts.getPreEmitDiagnostics(ts.createProgram([...virtual.keys()], options, host));
for (const { file, start, messageText } of found) {
  const line = file ? file.text.split('\n')[file.getLineAndCharacterOfPosition(start).line].trim() : '';
  const path = file ? (virtual.get(file.fileName)?.path ?? file.fileName) : '';
  console.error(`${path}: ${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`);
}
process.exit(found.length ? 1 : 0);
