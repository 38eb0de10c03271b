import type { BuildOptions } from 'vite';

export const terserOptions: NonNullable<BuildOptions['terserOptions']> = {
  compress: { passes: 2 },
  format: { comments: false },
  // Two at a time: each worker holds a whole chunk as a tree.
  maxWorkers: 2,
};
