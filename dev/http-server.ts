import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKeys } from '../client/keys.js';
import { SessionChainError } from '../contracts/failures.js';
import { createPool } from '../storage/db/pool.js';
import { freePorts } from './ports.js';
import { type Supervised, supervise } from './supervised.js';

export interface HttpServer {
  url: string;
  /** Holds a key for everything, which ends with the server. */
  keyFile: string;
  failed: Supervised['failed'];
  /** Process id of the one that runs now. */
  pid: () => number;
  /** An address that logs a browser in once, within ten minutes. */
  link(): Promise<string>;
  stop(): Promise<void>;
}

/** For a server that was not stopped, whose key nothing revokes. */
const keyLifetimeMs = 30 * 86_400_000;

/** The HTTP server on loopback, in a process of its own, and a key for it in a file that its user alone reads. */
export async function startHttpServer(options: {
  environment: Record<string, string>;
  databaseUrl: string;
  stateDir: string;
  port: number;
  say: (line: string) => void;
}): Promise<HttpServer> {
  const { environment, databaseUrl, stateDir, say } = options;
  const { port } = await freePorts({ port: options.port });
  const url = `http://127.0.0.1:${port}`;
  const keyFile = join(stateDir, 'http-key');
  const logFile = join(stateDir, 'logs', 'server.log');
  const server = await supervise({
    command: 'serve',
    environment: {
      ...environment,
      SESSION_CHAIN_HTTP_HOST: '127.0.0.1',
      SESSION_CHAIN_HTTP_PORT: String(port),
      SESSION_CHAIN_DASHBOARD_URL: url,
    },
    logFile,
    say,
  });
  const pool = createPool(databaseUrl, { applicationName: 'session-chain start', max: 1 });
  const keys = createKeys(pool);
  const stop = async () => {
    rmSync(keyFile, { force: true });
    await server.stop();
  };
  try {
    const made = await keys.create({ name: 'npm start', scope: 'admin', lifetimeMs: keyLifetimeMs });
    writeFileSync(keyFile, `${made.key}\n`, { mode: 0o600 });
    await Promise.race([answers(url), server.failed]);
    return {
      url,
      keyFile,
      failed: server.failed,
      pid: () => server.pid(),
      link: async () => await linkOf(url, made.key),
      async stop() {
        // Where the database has gone before, the key ends by itself.
        await keys.revoke(made.id).catch(() => undefined);
        await Promise.all([stop(), pool.end()]);
      },
    };
  } catch (error) {
    await Promise.all([stop(), pool.end()]);
    throw error;
  }
}

async function answers(url: string): Promise<void> {
  for (;;) {
    const isUp = await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isUp) return;
    await sleep(50);
  }
}

async function linkOf(url: string, key: string): Promise<string> {
  const answer = await fetch(`${url}/v1/codes`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
  });
  if (answer.ok) return ((await answer.json()) as { url: string }).url;
  throw new SessionChainError('SERVER_START_FAILED', `${url}/v1/codes answered ${answer.status}.`);
}
