import { Redis } from 'ioredis';
import { findOnPath } from './find-on-path.js';
import { startServer } from './server.js';

export interface RedisServer {
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Settles when the server is gone, for whatever reason. */
  readonly exited: Promise<unknown>;
  stop(): Promise<void>;
}

/**
 * Starts Redis on loopback, without persistence (it holds a checkpoint, never an authority), or returns null when
 * there is no `redis-server` on PATH. It ends with this process (see guard.ts).
 * @throws SessionChainError SERVER_START_FAILED
 */
export async function startRedis(options: {
  dir: string;
  /** Used when it is free, else another one. */
  port?: number;
  logFile: string;
}): Promise<RedisServer | null> {
  const command = findOnPath('redis-server');
  if (command === undefined) return null;
  const { server, ports } = await startServer({
    name: 'Redis',
    logFile: options.logFile,
    ports: { port: options.port },
    command: ({ port }) => ({
      command,
      args: [
        '--bind',
        '127.0.0.1',
        '--port',
        String(port),
        '--dir',
        options.dir,
        '--save',
        '',
        '--appendonly',
        'no',
      ],
    }),
    isReady: async ({ port }, { pid }) => (await processIdOf(port)) === pid,
  });
  return {
    url: `redis://127.0.0.1:${ports.port}`,
    port: ports.port,
    pid: server.pid,
    exited: server.exited,
    stop: () => server.stop(),
  };
}

/** Which server answers on that port: a PING could be answered by another Redis that was faster. */
async function processIdOf(port: number): Promise<number> {
  const client = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: () => null });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return Number(/^process_id:(\d+)/m.exec(await client.info('server'))?.[1]);
  } finally {
    client.disconnect();
  }
}
