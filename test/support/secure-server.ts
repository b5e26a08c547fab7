import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Postgres, startPostgres } from '../../dev/postgres.js';
import { type Pool, createPool } from '../../storage/db/pool.js';
import { until } from './until.js';

/** A Postgres of its own that offers TLS and lets in every role but its superuser with TLS only. */
export interface SecureServer {
  readonly admin: Pool;
  /** An address on `localhost`, as `user` or `user:password`. */
  url(user: string, database: string, parameters?: string): string;
  /** The path of a file that `openssl` made; see `makeCertificates`. */
  file(name: string): string;
  /** Lets it show this certificate to new connections. */
  show(certificate: 'server' | 'elsewhere' | 'self' | 'strange'): Promise<void>;
  /** Runs a statement that concerns new connections, and ends all connections of clients. */
  breakWith(statement: string): Promise<void>;
  /** A server on a copy of its data that only repeats it; `url` as above. Stops this server for a moment. */
  startStandby(): Promise<{ url: SecureServer['url'] }>;
  stop(): Promise<void>;
}

export async function startSecureServer(): Promise<SecureServer> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-secure-')));
  // Under root another user runs Postgres and must reach its data.
  chmodSync(folder, 0o711);
  const certificates = join(folder, 'certificates');
  makeCertificates(certificates);
  const file = (name: string) => join(certificates, name);
  const dataDir = join(folder, 'data');
  const logFile = join(folder, 'postgres.log');
  let server = await startPostgres({ dataDir, logFile, durable: false });
  let admin = createPool(server.url, { applicationName: 'test admin', max: 2 });
  let standby: Postgres | undefined;
  const put = (name: string, text: string | Buffer) => {
    const { uid, gid } = statSync(dataDir);
    const path = join(dataDir, name);
    writeFileSync(path, text);
    chmodSync(path, 0o600);
    chownSync(path, uid, gid);
  };
  const shows = async (certificate: string) => {
    put('server.crt', readFileSync(file(`${certificate}.pem`)));
    put('server.key', readFileSync(file(`${certificate}.key`)));
    // As text, for a Date has no microseconds.
    const { rows } = await admin.query<{ at: string }>(
      'SELECT pg_conf_load_time()::text AS at FROM pg_reload_conf()',
    );
    // A new connection has the certificate once its server process has loaded it, which the postmaster did before.
    await until(async () => {
      const client = createPool(server.url, { applicationName: 'test admin', max: 1 });
      const text = 'SELECT pg_conf_load_time() > $1::timestamptz AS "isLater"';
      const loaded = await client.query<{ isLater: boolean }>({ text, values: [rows[0]?.at] });
      await client.end();
      return loaded.rows[0]?.isLater ?? false;
    });
  };
  put('root.crt', readFileSync(file('authority.pem')));
  put(
    'pg_hba.conf',
    `host all postgres 127.0.0.1/32 trust
     hostssl all with_certificate 127.0.0.1/32 cert
     hostssl all with_password,other_password 127.0.0.1/32 scram-sha-256
     hostssl all all 127.0.0.1/32 trust\n`,
  );
  for (const setting of [`ssl = on`, `ssl_ca_file = 'root.crt'`])
    await admin.query(`ALTER SYSTEM SET ${setting}`);
  await shows('server');
  const urlOf = (port: () => number) => (user: string, database: string, parameters?: string) =>
    `postgres://${user}@localhost:${port()}/${database}?${parameters ?? `sslrootcert=${file('authority.pem')}`}`;
  return {
    get admin() {
      return admin;
    },
    url: urlOf(() => server.port),
    file,
    show: shows,
    async breakWith(statement) {
      await admin.query(statement);
      await admin.query(
        `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND usename <> 'postgres'`,
      );
    },
    async startStandby() {
      const { port } = server;
      await admin.end();
      await server.stop();
      const copy = join(folder, 'standby');
      cpSync(dataDir, copy, { recursive: true });
      writeFileSync(join(copy, 'standby.signal'), '');
      const { uid, gid } = statSync(dataDir);
      chmodSync(copy, 0o700);
      for (const name of ['.', ...readdirSync(copy, { recursive: true, encoding: 'utf8' })])
        chownSync(join(copy, name), uid, gid);
      server = await startPostgres({ dataDir, port, logFile, durable: false });
      admin = createPool(server.url, { applicationName: 'test admin', max: 2 });
      const started = await startPostgres({
        dataDir: copy,
        logFile: join(folder, 'standby.log'),
        durable: false,
      });
      standby = started;
      return { url: urlOf(() => started.port) };
    },
    async stop() {
      await admin.end();
      await Promise.all([server.stop(), standby?.stop()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Of two authorities: `authority` (`server`, for localhost; `elsewhere`, for another name; `client`, for the role
 * with_certificate) and `stranger` (`strange`, for localhost; `strange-client`). `self` is its own authority. `locked.key` has a
 * password.
 */
function makeCertificates(folder: string): void {
  mkdirSync(folder, { mode: 0o755 });
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const make = (name: string, subject: string, more: string[]) =>
    openssl(
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...['-subj', `/CN=${subject}`, '-keyout', `${name}.key`, '-out', `${name}.pem`, ...more],
    );
  const sign = (authority: string, name: string, subject: string) =>
    make(name, subject, [
      ...['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`],
      ...['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', `subjectAltName=DNS:${subject}`],
    ]);
  for (const authority of ['authority', 'stranger']) make(authority, authority, []);
  make('self', 'localhost', ['-addext', 'subjectAltName=DNS:localhost']);
  sign('authority', 'server', 'localhost');
  sign('authority', 'elsewhere', 'db.example');
  sign('authority', 'client', 'with_certificate');
  sign('stranger', 'strange', 'localhost');
  sign('stranger', 'strange-client', 'with_certificate');
  openssl('pkey', '-in', 'client.key', '-aes256', '-passout', 'pass:secret', '-out', 'locked.key');
}
