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

/** Starts the real server and waits until it listens: at PORT, or where its log says when PORT is 0. */
export async function startServer(env, flags = []) {
  const child = start('server.js', env, flags);
  const exited = once(child.process, 'exit').then(([code, signal]) => ({ code, signal }));
  let port;
  const listening = () => {
    const log = env.LOG_FILE && existsSync(env.LOG_FILE) ? readFileSync(env.LOG_FILE, 'utf8') : child.stdout();
    port = [...log.matchAll(/Server listening at http:\/\/127\.0\.0\.1:(\d+)/g)].at(-1)?.[1];
    return port !== undefined;
  };
  const answering = async () => {
    port = env.PORT;
    return fetch(`http://127.0.0.1:${port}/health/live`).then(({ ok }) => ok, () => false);
  };
  await eventually(() => {
    if (child.process.exitCode !== null) throw new Error(`the server ended: ${child.stdout()}${child.stderr()}`);
    return env.PORT === '0' ? listening() : answering();
  });
  return { ...child, exited, url: `http://127.0.0.1:${port}`, port: Number(port) };
}
