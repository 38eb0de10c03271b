import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';
import { eventually } from './env.js';

const source = (name) => fileURLToPath(new URL(`../../src/${name}`, import.meta.url));

/** Runs an entry point to its end: { code, stdout, stderr }. */
export async function run(script, args, env) {
  const child = start(script, env, [], args);
  const [code] = await once(child.process, 'close');
  return { code, stdout: child.stdout(), stderr: child.stderr() };
}

function start(script, env, flags, args = []) {
  const child = spawn(process.execPath, [...flags, source(script), ...args], { env });
  after(() => child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return { process: child, stdout: () => stdout, stderr: () => stderr };
}

/** Starts the real server and waits until it listens, which its log says on stdout or in LOG_FILE. */
export async function startServer(env, flags = []) {
  const child = start('server.js', env, flags);
  const exited = once(child.process, 'exit').then(([code, signal]) => ({ code, signal }));
  let port;
  await eventually(() => {
    const log = env.LOG_FILE && existsSync(env.LOG_FILE) ? readFileSync(env.LOG_FILE, 'utf8') : child.stdout();
    port = [...log.matchAll(/Server listening at http:\/\/127\.0\.0\.1:(\d+)/g)].at(-1)?.[1];
    if (child.process.exitCode !== null) throw new Error(`the server ended: ${child.stdout()}${child.stderr()}`);
    return port !== undefined;
  });
  return { ...child, exited, url: `http://127.0.0.1:${port}`, port: Number(port) };
}
