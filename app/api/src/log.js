import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { ConfigError } from './config.js';

// What a full disk or a reader that stopped may cost in memory: lines beyond this are dropped.
const MAX_PENDING_BYTES = 2 ** 20;
const FLUSH_TIMEOUT_MS = 1_000;

function destination(fd, name) {
  const stream = pino.destination({ fd, sync: false, maxLength: MAX_PENDING_BYTES });
  let failing = false;
  stream.on('error', (error) => {
    if (!failing) process.stderr.write(`cannot write the log to ${name}: ${error.message}; lines may be lost\n`);
    failing = true;
  });
  stream.on('write', () => (failing = false));
  // pino flushes at exit, which on a full disk would never end.
  process.prependListener('exit', () => failing && stream.destroy());
  return stream;
}

export const loggerOptions = ({ level, release }) => ({
  level,
  base: { release },
  timestamp: pino.stdTimeFunctions.isoTime,
  formatters: { level: (label) => ({ level: label }) },
  redact: ['password', '*.password', 'authorization', '*.authorization', '*.cookie'],
});

/**
 * JSON logger: to `file` (opened for appending, so that logrotate's copytruncate works) and, from level error on,
 * also to stderr; without a file everything goes to stdout. `flush()` resolves when all lines are written
 * or that takes too long.
 */
export function createLogger({ log: { file, level }, release }) {
  let fd;
  if (file !== undefined) {
    try {
      fd = openSync(file, 'a', 0o640);
    } catch (error) {
      throw new ConfigError([`LOG_FILE: cannot append to ${file} as uid ${process.getuid()} (${error.code})`]);
    }
  }
  const streams =
    file === undefined
      ? [{ level, stream: destination(1, 'stdout') }]
      : [{ level, stream: destination(fd, file) }, { level: 'error', stream: destination(2, 'stderr') }];
  const logger = pino(loggerOptions({ level, release }), pino.multistream(streams));
  const flushed = ({ stream }) => new Promise((resolve) => stream.flush(resolve));
  return {
    logger,
    // On a full disk it never ends; the process does.
    flush: () => Promise.race([Promise.all(streams.map(flushed)), sleep(FLUSH_TIMEOUT_MS)]),
  };
}
