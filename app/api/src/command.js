import { constants } from 'node:os';
import { ConfigError, EXIT_CONFIG } from './config.js';
import { isConnectionError } from './db.js';

// sysexits.h: a deploy can tell "later again" from "this will never work".
const EXIT_UNAVAILABLE = 69;
const EXIT_TEMPORARY = 75;
const LOCK_NOT_AVAILABLE = '55P03';

/** Runs the main function of a command and turns its errors into a line for a person and an exit code. */
export async function runCommand(name, main) {
  // As PID 1 a process without a handler would ignore these signals.
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(128 + constants.signals[signal]));
  try {
    await main();
  } catch (error) {
    let message = error.stack;
    process.exitCode = 1;
    if (error instanceof ConfigError) {
      ({ message } = error);
      process.exitCode = EXIT_CONFIG;
    } else if (error.code === LOCK_NOT_AVAILABLE) {
      message = 'another session held a lock for too long; nothing was changed; run it again later';
      process.exitCode = EXIT_TEMPORARY;
    } else if (isConnectionError(error)) {
      message = `the database cannot be used: ${error.message || error.code}; what was not committed is undone`;
      process.exitCode = EXIT_UNAVAILABLE;
    } else if (error.severity !== undefined) {
      message = `PostgreSQL refused it: ${error.message} (SQLSTATE ${error.code}); nothing was changed`;
    }
    process.stderr.write(`${name}: ${message}\n`);
  }
}
