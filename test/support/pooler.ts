import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { findOnPath } from '../../dev/find-on-path.js';
import { startServer } from '../../dev/server.js';

export interface Pooler {
  /** The database through the pooler. */
  url: string;
  /** What PgBouncer wrote. */
  log(): string;
  stop(): Promise<void>;
}

/** A PgBouncer of its own before the server of a database. It refuses root, and so runs as `nobody`. */
export async function startPooler(
  databaseUrl: string,
  poolMode: 'session' | 'transaction' | 'statement',
  more: Record<string, string | number> = {},
): Promise<Pooler> {
  const database = new URL(databaseUrl);
  const folder = mkdtempSync(join(tmpdir(), 'session-chain-pooler-'));
  const [config, logFile] = [join(folder, 'pgbouncer.ini'), join(folder, 'pgbouncer.log')];
  const runAs = process.getuid?.() === 0 ? nobody() : null;
  const { server, ports } = await startServer({
    name: 'PgBouncer',
    logFile,
    ports: { port: undefined },
    command: ({ port }) => {
      const settings = {
        listen_addr: '127.0.0.1',
        listen_port: port,
        unix_socket_dir: '',
        auth_type: 'any',
        pool_mode: poolMode,
        default_pool_size: 20,
        max_client_conn: 1_000,
        ...more,
      };
      const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
      // PgBouncer connects as one role where clients need not say who they are.
      const target = `* = host=${database.hostname} port=${database.port} user=${database.username}`;
      writeFileSync(config, `[databases]\n${target}\n[pgbouncer]\n${lines.join('\n')}\n`);
      if (runAs) {
        chmodSync(folder, 0o711);
        chownSync(config, runAs.uid, runAs.gid);
      }
      return { command: pgbouncer(), args: [config], ...runAs, stopSignal: 'INT' as const };
    },
    isReady: async ({ port }) => {
      const client = new pg.Client(`postgres://anybody@127.0.0.1:${port}/postgres`);
      client.on('error', () => undefined);
      await client.connect();
      await client.end();
      return true;
    },
  });
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${ports.port}`;
  return {
    url: url.href,
    log: () => readFileSync(logFile, 'utf8'),
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function pgbouncer(): string {
  const path = findOnPath('pgbouncer');
  if (!path) throw new Error('pgbouncer is not set up on this machine; npm test does that, or says how.');
  return path;
}

function nobody(): { uid: number; gid: number } {
  const [uid = NaN, gid = NaN] = ['-u', '-g'].map((flag) =>
    Number(spawnSync('id', [flag, 'nobody'], { encoding: 'utf8' }).stdout),
  );
  return { uid, gid };
}
