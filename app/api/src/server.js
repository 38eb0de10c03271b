import { constants } from 'node:os';

// First of all, before the slow imports: as PID 1 a process without a handler would ignore these signals.
let stop;
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    const first = stop;
    stop = undefined;
    if (first === undefined) process.exit(128 + constants.signals[signal]);
    first();
  });
}

const { ConfigError, EXIT_CONFIG, loadServerConfig } = await import('./config.js');
const { createLogger } = await import('./log.js');

let config;
let log;
try {
  config = loadServerConfig(process.env);
  log = createLogger(config);
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(EXIT_CONFIG);
}
const { logger, flush } = log;
process.on('uncaughtExceptionMonitor', (err) => logger.fatal({ err }, 'the process ends by an unexpected error'));

const { buildApp } = await import('./app.js');
const { drain } = await import('./drain.js');

const app = await buildApp({ config, logger });
try {
  await app.listen({ host: config.host, port: config.port });
} catch (err) {
  logger.fatal({ err }, `cannot listen on ${config.host}:${config.port}`);
  process.exit(1);
}

stop = async () => {
  const cut = await drain(app, config.drainTimeoutSeconds);
  await flush();
  process.exit(cut === 0 ? 0 : 1);
};
