import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { findOnPath } from './find-on-path.js';
import { startServer } from './server.js';

export interface RedisServer {
  /** `redis://127.0.0.1:<port>`, with the password where one was asked for. */
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
  /** Letters and digits. Default: none. */
  password?: string;
}): Promise<RedisServer | null> {
  const { password } = options;
  const command = findOnPath('redis-server');
  if (command === undefined) return null;
  // Command lines can be read by every user of the machine.
  const configFile = join(options.dir, 'redis.conf');
  if (password !== undefined) writeFileSync(configFile, `requirepass ${password}\n`, { mode: 0o600 });
  const { server, ports } = await startServer({
    name: 'Redis',
    logFile: options.logFile,
    ports: { port: options.port },
    command: ({ port }) => ({
      command,
      args: [
        ...(password === undefined ? [] : [configFile]),
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
    isReady: async ({ port }, { pid }) => (await processIdOf(port, password)) === pid,
  });
  return {
    url: `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${ports.port}`,
    port: ports.port,
    pid: server.pid,
    exited: server.exited,
    stop: () => server.stop(),
  };
}

/** Which server answers on that port: a PING could be answered by another Redis that was faster. */
async function processIdOf(port: number, password: string | undefined): Promise<number> {
  const client = new Redis({
    ...{ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: () => null },
    ...(password === undefined ? {} : { password }),
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return Number(/^process_id:(\d+)/m.exec(await client.info('server'))?.[1]);
  } finally {
    client.disconnect();
  }
}
