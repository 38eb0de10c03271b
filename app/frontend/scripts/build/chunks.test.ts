import { expect, it } from 'vitest';
import { groupOf } from './chunks.ts';

it.each([
  ['react', 'vendor-react-core'],
  ['react-dom', 'vendor-react-core'],
  ['scheduler', 'vendor-react-core'],
  ['react-is', 'vendor-react-shims'],
  ['recharts', 'vendor-charts'],
  ['d3-scale', 'vendor-charts-math'],
  ['@reduxjs/toolkit', 'vendor-charts-state'],
  ['wouter', 'vendor-router-query'],
  ['@tanstack/react-query', 'vendor-router-query'],
  ['@tanstack/query-core', 'vendor-router-query'],
  ['@tanstack/react-virtual', 'vendor-virtual'],
  ['@tanstack/virtual-core', 'vendor-virtual'],
  ['@dnd-kit/core', 'vendor-dnd'],
  ['@radix-ui/react-dialog', 'ui-radix-dialogs'],
  ['@radix-ui/react-alert-dialog', 'ui-radix-dialogs'],
  ['@radix-ui/react-slot', 'ui-radix-core'],
  ['@radix-ui/react-focus-scope', 'ui-radix-layers'],
  ['@radix-ui/react-select', 'ui-radix-menus'],
  ['@radix-ui/react-tabs', 'ui-radix-controls'],
])('%s is part of %s', (name, group) => {
  expect(groupOf(`/app/node_modules/${name}/dist/index.js`)).toBe(group);
  expect(groupOf(`/app/node_modules/other/node_modules/${name}/index.js`)).toBe(group);
  expect(groupOf(`C:\\app\\node_modules\\${name.replace('/', '\\')}\\index.js`)).toBe(group);
});

it('leaves own code and what it does not know to the imports', () => {
  expect(groupOf('/app/src/react/react-dom.ts')).toBeUndefined();
  expect(groupOf('/app/node_modules/reactive/index.js')).toBeUndefined();
  expect(groupOf('\0vite/preload-helper.js')).toBeUndefined();
});
