import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { pictures } from './scripts/build/pictures.ts';

export default defineConfig({
  plugins: [react(), pictures()],
  server: {
    proxy: { '/api': 'http://localhost:3000' },
  },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'page',
          environment: 'jsdom',
          include: ['src/**/*.test.{ts,tsx}'],
          setupFiles: ['src/test/setup.ts'],
          restoreMocks: true,
          unstubGlobals: true,
          // A zone west of Greenwich: a date without a time that is read as local would show the day before.
          env: { TZ: 'America/New_York' },
        },
      },
      { extends: true, test: { name: 'build', environment: 'node', include: ['scripts/**/*.test.ts'] } },
    ],
  },
});
