import { openSync } from 'node:fs';
import pino from 'pino';
import { ConfigError } from './config.js';

// What a full disk or a reader that stopped may cost: older lines beyond this are dropped, never the process.
const MAX_PENDING_BYTES = 2 ** 20;

function destination(fd, name) {
  const stream = pino.destination({ fd, sync: false, maxLength: MAX_PENDING_BYTES });
  let reported = false;
  stream.on('error', (error) => {
    if (!reported) process.stderr.write(`cannot write the log to ${name}: ${error.message}; lines may be lost\n`);
    reported = true;
  });
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
 * also to stderr; without a file everything goes to stdout. `flush()` resolves when all lines are written,
 * `flushSync()` is for the end of the process.
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
  return {
    logger,
    flush: () => Promise.all(streams.map(({ stream }) => new Promise((resolve) => stream.flush(resolve)))),
    flushSync: () => streams.forEach(({ stream }) => stream.flushSync()),
  };
}
