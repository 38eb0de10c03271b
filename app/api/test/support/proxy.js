import net from 'node:net';
import { after } from 'node:test';

/**
 * A TCP proxy that can fail like a server does. `cut()` drops all connections and refuses new ones, `restore()`
 * listens again at the same port. `intercept(chunk, connection)` sees what clients send; it returns true when it has
 * dealt with the chunk itself.
 */
export async function createProxy({ host, port }) {
  const connections = new Set();
  const proxy = { intercept: () => false };

  const server = net.createServer((client) => {
    const upstream = net.connect({ host, port });
    const connection = {
      client,
      upstream,
      destroy() {
        client.destroy();
        upstream.destroy();
      },
    };
    connections.add(connection);
    for (const socket of [client, upstream]) {
      socket.on('error', () => connection.destroy());
      socket.on('close', () => connections.delete(connection));
    }
    client.on('data', (chunk) => proxy.intercept(chunk, connection) || upstream.write(chunk));
    client.on('end', () => upstream.end());
    upstream.pipe(client);
  });

  const listen = (at) => new Promise((resolve) => server.listen(at, '127.0.0.1', resolve));
  await listen(0);
  const address = server.address();

  proxy.host = '127.0.0.1';
  proxy.port = address.port;
  proxy.connections = () => connections.size;
  proxy.drop = () => connections.forEach((connection) => connection.destroy());
  proxy.cut = () => new Promise((resolve) => {
    server.close(resolve);
    proxy.drop();
  });
  proxy.restore = () => listen(proxy.port);
  after(async () => {
    if (server.listening) await proxy.cut();
  });
  return proxy;
}
