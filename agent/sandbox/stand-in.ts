import { connect, createServer } from 'node:net';
import { once } from 'node:events';

export async function standIn(socket: string, url: string): Promise<() => void> {
  const { hostname, port } = new URL(url);
  const server = createServer((client) => {
    const up = connect(Number(port || 80), hostname);
    client.pipe(up).pipe(client);
    client.on('error', () => up.destroy());
    up.on('error', () => client.destroy());
  });
  server.listen(socket);
  await once(server, 'listening');
  return () => server.close();
}
