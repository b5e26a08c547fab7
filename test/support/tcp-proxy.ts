import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { freePorts } from '../../dev/ports.js';

/** A TCP relay on loopback that can fail as networks and servers do, in front of a real server. */
export interface TcpProxy {
  /** The target's url with the proxy's host and port. */
  url: string;
  /** Breaks every connection and refuses new ones until `restore`. */
  cut(): Promise<void>;
  restore(): Promise<void>;
  /** Lets the next request through, then breaks the connection in the place of the answer. */
  loseNextAnswer(): void;
  stop(): Promise<void>;
}

export async function startTcpProxy(targetUrl: string): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const { port } = await freePorts({ port: undefined });
  const sockets = new Set<Socket>();
  let losesAnswer = false;
  let server: Server | undefined;

  function relay(client: Socket): void {
    const upstream = createConnection({ host: target.hostname, port: Number(target.port) });
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', end);
      socket.on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    client.on('data', (data) => upstream.write(data));
    upstream.on('data', (data) => {
      if (!losesAnswer) client.write(data);
      else {
        losesAnswer = false;
        end();
      }
    });
  }

  async function restore(): Promise<void> {
    server = createServer(relay).listen(port, '127.0.0.1');
    await once(server, 'listening');
  }

  async function cut(): Promise<void> {
    const closing = server;
    server = undefined;
    const closed = closing && once(closing, 'close');
    closing?.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  await restore();
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return {
    url: url.href,
    cut,
    restore,
    loseNextAnswer: () => {
      losesAnswer = true;
    },
    stop: cut,
  };
}
