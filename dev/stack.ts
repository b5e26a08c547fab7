import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import type { SearchAttributeKey, SearchAttributeType } from '@temporalio/common/lib/search-attributes.js';
import { SessionChainError } from '../contracts/failures.js';
import { migrate } from '../storage/db/migrate.js';
import { type ApplicationDatabase, ensureApplicationDatabase } from './application-database.js';
import { type Passwords, passwordsOf } from './passwords.js';
import { freePorts } from './ports.js';
import { startPostgres } from './postgres.js';
import { startRedis } from './redis.js';
import { lockStateDir } from './state-lock.js';
import { startTemporal } from './temporal.js';
import { findTemporalCli } from './temporal-cli.js';

export interface StackOptions {
  /** Data, logs and the ports of last time; made when it is missing. One stack at a time may use it. */
  stateDir: string;
  /** Servers given here are used and not started. */
  env: {
    DATABASE_URL?: string | undefined;
    REDIS_URL?: string | undefined;
    TEMPORAL_ADDRESS?: string | undefined;
  };
  /** Gets one line at a time, such as 'Postgres: ready after 592 ms'. */
  onProgress?: (message: string) => void;
  /** false = throwaway data (tests): faster, and lost with the machine's power. Default true. */
  durable?: boolean;
  /** Of the embedded Temporal server; a given server is expected to have them. */
  namespace: string;
  searchAttributes: readonly SearchAttributeKey<SearchAttributeType>[];
}

export interface Stack {
  /** As the role of the worker and the command line, which is no superuser and owns nothing. */
  readonly databaseUrl: string;
  /** As the role that owns the database; for a given one the same as `databaseUrl`. */
  readonly ownerUrl: string;
  /** null = there is no Redis here; the product works without it. */
  readonly redisUrl: string | null;
  /** `ui` is null for a given server: only its owner knows where its Web UI is. */
  readonly temporal: { readonly address: string; readonly ui: string | null };
  /** What was started here. */
  readonly servers: readonly StackServer[];
  /** Settles only when a server ends without being stopped. */
  readonly serverLost: Promise<StackServer>;
  /** Migrates the database as its owner, and gives the role of `databaseUrl` its parts; returns what was done. */
  migrate(): Promise<string[]>;
  /** Stops what was started, and releases the state folder. May be called again. */
  stop(): Promise<void>;
}

export interface StackServer {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
}

/**
 * Starts Postgres, the Temporal dev server and Redis (if there is one), except for those that the environment gives,
 * all at once, on loopback, on the ports of last time where these are free. They end with this process, however it
 * ends; data that a killed process left behind is used again.
 * @throws SessionChainError STATE_DIR_BUSY, TEMPORAL_CLI_NOT_FOUND, POSTGRES_NOT_FOUND, SERVER_START_FAILED
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const stateDir = resolve(options.stateDir);
  makePrivate(stateDir);
  const unlock = lockStateDir(stateDir);
  try {
    return await startServers({ ...options, stateDir }, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

/**
 * Only this user reads what is in the state folder. Under root others may traverse the folder itself, because another
 * user runs the database, whose own folder is private to that one.
 */
function makePrivate(stateDir: string): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  chmodSync(stateDir, process.getuid?.() === 0 ? 0o711 : 0o700);
  for (const name of readdirSync(stateDir).filter((name) => !name.startsWith('postgres'))) {
    const path = join(stateDir, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat?.isDirectory()) chmodSync(path, 0o700);
    else if (stat?.isFile()) chmodSync(path, 0o600);
  }
}

async function startServers(options: StackOptions, unlock: () => void): Promise<Stack> {
  const passwords = requirePasswords(options);
  const portsFile = join(options.stateDir, 'ports.json');
  const ports = await freePorts(lastPorts(portsFile));
  const starting = {
    postgres: timed('Postgres', options, postgres(options, ports, passwords)),
    temporal: timed('Temporal', options, temporal(options, ports)),
    redis: timed('Redis', options, redis(options, ports, passwords)),
  };
  const settled = await Promise.allSettled(Object.values(starting));
  const servers = settled.flatMap((part) => (part.status === 'fulfilled' ? (part.value.server ?? []) : []));
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= Promise.all(servers.map((server) => server.stop())).then(unlock));
  const serverLost = new Promise<StackServer>((lost) => {
    for (const server of servers) {
      void server.exited.then(() => {
        if (stopping === undefined) lost({ name: server.name, pid: server.pid, logFile: server.logFile });
      });
    }
  });
  try {
    const [database, orchestrator, checkpoint] = await Promise.all([
      starting.postgres,
      starting.temporal,
      starting.redis,
    ]);
    writeFileSync(
      portsFile,
      JSON.stringify({ ...ports, ...database.ports, ...orchestrator.ports, ...checkpoint.ports }),
      { mode: 0o600 },
    );
    const { url, ownerUrl, role } = database.at;
    return {
      databaseUrl: url,
      ownerUrl,
      migrate: async () =>
        await migrate(
          ownerUrl,
          {},
          role === null
            ? []
            : (['worker', 'client', 'server', 'keys'] as const).map((part) => ({ part, role })),
        ),
      redisUrl: checkpoint.at,
      temporal: orchestrator.at,
      servers: servers.map(({ name, pid, logFile }) => ({ name, pid, logFile })),
      serverLost,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Ports = Record<'postgres' | 'temporal' | 'temporalUi' | 'redis', number>;

/** A part of the stack: its address and, when it was started here, the server and its ports. */
interface Part<At> {
  at: At;
  server?: StackServer & { exited: Promise<unknown>; stop(): Promise<void> };
  ports?: Partial<Ports>;
}

/** Throws SERVER_START_FAILED for data that was made without passwords, or whose passwords are lost. */
function requirePasswords({ stateDir, env }: StackOptions): Passwords {
  if (
    !env.DATABASE_URL &&
    existsSync(join(stateDir, 'postgres')) &&
    !existsSync(join(stateDir, 'passwords.json'))
  ) {
    throw new SessionChainError(
      'SERVER_START_FAILED',
      `The database in ${stateDir} has no password, as earlier versions made it.`,
      `Remove ${stateDir}, with the sample projects in it, or move it away; then start again.`,
    );
  }
  return passwordsOf(stateDir);
}

async function postgres(
  { env, stateDir, durable = true }: StackOptions,
  ports: Ports,
  passwords: Passwords,
): Promise<Part<Omit<ApplicationDatabase, 'role'> & { role: string | null }>> {
  if (env.DATABASE_URL) return { at: { url: env.DATABASE_URL, ownerUrl: env.DATABASE_URL, role: null } };
  const logFile = logOf(stateDir, 'postgres');
  const server = await startPostgres({
    dataDir: join(stateDir, 'postgres'),
    port: ports.postgres,
    logFile,
    durable,
    password: passwords.superuser,
  });
  const at = await ensureApplicationDatabase(server.url, passwords).catch(async (error: unknown) => {
    await server.stop();
    throw error;
  });
  return {
    at,
    server: { ...server, name: 'Postgres', logFile },
    ports: { postgres: server.port },
  };
}

async function temporal(options: StackOptions, ports: Ports): Promise<Part<Stack['temporal']>> {
  const { env, stateDir, namespace, searchAttributes, onProgress = () => undefined } = options;
  if (env.TEMPORAL_ADDRESS) return { at: { address: env.TEMPORAL_ADDRESS, ui: null } };
  const logFile = logOf(stateDir, 'temporal');
  const server = await startTemporal({
    cliPath: await findTemporalCli({ onProgress }),
    dbFile: join(stateDir, 'temporal.db'),
    port: ports.temporal,
    uiPort: ports.temporalUi,
    logFile,
    namespace,
    searchAttributes,
  });
  return {
    at: { address: server.address, ui: server.uiUrl },
    server: { ...server, name: 'Temporal', logFile },
    ports: { temporal: server.port, temporalUi: server.uiPort },
  };
}

async function redis(
  { env, stateDir }: StackOptions,
  ports: Ports,
  passwords: Passwords,
): Promise<Part<string | null>> {
  if (env.REDIS_URL) return { at: env.REDIS_URL };
  const logFile = logOf(stateDir, 'redis');
  const server = await startRedis({
    dir: stateDir,
    port: ports.redis,
    logFile,
    password: passwords.redis,
  });
  if (server === null) return { at: null };
  return {
    at: server.url,
    server: { ...server, name: 'Redis', logFile },
    ports: { redis: server.port },
  };
}

async function timed<At>(
  name: string,
  { onProgress }: StackOptions,
  starting: Promise<Part<At>>,
): Promise<Part<At>> {
  const begun = performance.now();
  const part = await starting;
  const started = `ready after ${Math.round(performance.now() - begun)} ms`;
  const found = part.at === null ? 'none found, going on without' : 'the one in the environment';
  onProgress?.(`${name}: ${part.server === undefined ? found : started}`);
  return part;
}

function logOf(stateDir: string, name: string): string {
  return join(stateDir, 'logs', `${name}.log`);
}

function lastPorts(file: string): Record<keyof Ports, number | undefined> {
  const last = readJson(file);
  const port = (name: keyof Ports) => {
    const value = last[name];
    return typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536
      ? value
      : undefined;
  };
  return {
    postgres: port('postgres'),
    temporal: port('temporal'),
    temporalUi: port('temporalUi'),
    redis: port('redis'),
  };
}

/** Empty when the file is missing or was cut off: its ports are a convenience. */
function readJson(file: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  } catch {
    return {};
  }
}
