// Loaded into the API by the memory tests alone (node --import), so that the product's code stays as it is. On SIGUSR2
// it collects all garbage and writes a line of figures to standard output, which the API does not use.
import { writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';

process.on('SIGUSR2', async () => {
  const before = process.memoryUsage();
  // What a collection finalizes is free for the next one, after a turn of the event loop.
  for (let run = 0; run < 3; run += 1) {
    globalThis.gc();
    await turn();
  }
  const { heapUsed, external } = process.memoryUsage();
  const figures = { rss: before.rss, heap_before: before.heapUsed + before.external, heap: heapUsed + external };
  writeSync(1, `${JSON.stringify({ memory_probe: figures })}\n`);
});
