// The pictures in docs/images: one bad night, at both widths, in light and dark.
import { launch, open } from './browser.mjs';
import { STATES, serve } from './fixture.mjs';

const state = process.argv[2] ?? 'night';
const folder = process.argv[3] ?? new URL('../../docs/images', import.meta.url).pathname;
const site = await serve(STATES[state]());
const browser = await launch();
try {
  for (const width of [1280, 390]) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(browser, site.url, { viewport: { width, height: 844 }, colorScheme,
        reducedMotion: 'reduce' });
      const suffix = colorScheme === 'dark' ? '-dark' : '';
      await page.screenshot({ path: `${folder}/memory-monitor-${width}${suffix}.png`, fullPage: true });
      await page.context().close();
    }
  }
} finally {
  await browser.close();
  await site.close();
}
