import { setTimeout as sleep } from 'node:timers/promises';

const HEARTBEAT_MS = 15_000;
const HEARTBEAT = Buffer.from(':\n\n');
/** A client that leaves this much unread is dropped; above what a whole history takes (256 events, about 25 KB). */
const MAX_PENDING_BYTES = 64 * 1024;

/** One message of the event stream format (WHATWG HTML, 9.2.6): `{ id, event, retry, data }`, each optional. */
export function message({ id, event, retry, data }) {
  const lines = [];
  if (retry !== undefined) lines.push(`retry: ${retry}`);
  if (id !== undefined) lines.push(`id: ${id}`);
  if (event !== undefined) lines.push(`event: ${event}`);
  if (data !== undefined) lines.push(`data: ${JSON.stringify(data)}`);
  return `${lines.join('\n')}\n\n`;
}

const between = (min, max) => Math.round(min + Math.random() * (max - min));

/**
 * The open event streams of this process, at most `max`. A client that does not read is dropped, told by
 * `onDrop(pendingBytes)`: what waits for it is memory of this process.
 */
export function createStreams({ max, onDrop }) {
  const open = new Set();

  function write(stream, chunk) {
    if (stream.writableEnded) return; // ended by a drain; its last bytes are on their way
    const pending = stream.writableLength;
    if (pending <= MAX_PENDING_BYTES) {
      stream.write(chunk);
      return;
    }
    onDrop(pending);
    open.delete(stream);
    stream.destroy();
  }

  /** Sends text to all; the bytes are shared. */
  function send(text) {
    const chunk = Buffer.from(text);
    for (const stream of open) write(stream, chunk);
  }

  const heartbeat = setInterval(() => open.forEach((stream) => write(stream, HEARTBEAT)), HEARTBEAT_MS).unref();

  /** Opens a stream on a response of node:http. `first` is text to begin with. */
  function add(stream, headers, first) {
    // Kept open, the connection would be a way back to a release that is leaving.
    stream.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      connection: 'close',
    });
    open.add(stream);
    stream.on('close', () => open.delete(stream));
    // Clients that lost their streams together come back one by one.
    stream.write(message({ retry: between(1_000, 5_000) }) + first);
  }

  /**
   * Tells all clients at once that they have to reconnect and ends their streams one after the other within
   * `withinMs`. A stream stays in `open` until its last byte is out.
   */
  async function drain(withinMs) {
    const streams = [...open];
    const pause = withinMs / streams.length;
    streams.forEach((stream, index) => {
      const data = { reason: 'drain', ends_in_ms: Math.round(index * pause) };
      write(stream, message({ retry: between(100, 500), event: 'reconnect', data }));
    });
    const start = performance.now();
    for (const [index, stream] of streams.entries()) {
      const wait = start + index * pause - performance.now();
      if (wait > 0) await sleep(wait);
      stream.end();
    }
  }

  function close() {
    clearInterval(heartbeat);
    for (const stream of open) stream.end();
  }

  return { add, send, drain, close, size: () => open.size, isFull: () => open.size >= max };
}
