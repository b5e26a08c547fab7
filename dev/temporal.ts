import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import {
  encodeSearchAttributeIndexedValueType,
  type SearchAttributeKey,
  type SearchAttributeType,
} from '@temporalio/common/lib/search-attributes.js';
import { SessionChainError } from '../contracts/failures.js';
import { startServer } from './server.js';

export interface TemporalOptions {
  /** From `findTemporalCli`. */
  cliPath: string;
  /**
   * The SQLite file that keeps everything; without it the server keeps nothing. Only one server at a time may use it.
   */
  dbFile?: string;
  /** Ports of the gRPC service and of the Web UI; used when they are free, else others. */
  port?: number;
  uiPort?: number;
  logFile: string;
  namespace: string;
  /** Registered in the namespace where they are missing. */
  searchAttributes: readonly SearchAttributeKey<SearchAttributeType>[];
}

export interface TemporalServer {
  /** `127.0.0.1:<port>` */
  readonly address: string;
  /** `http://127.0.0.1:<uiPort>` */
  readonly uiUrl: string;
  readonly port: number;
  readonly uiPort: number;
  readonly pid: number;
  /** Settles when the server is gone, for whatever reason. */
  readonly exited: Promise<unknown>;
  stop(): Promise<void>;
}

/** The guard of a killed launcher gives its server 8 s. */
const formerServerTimeoutMs = 15_000;

/**
 * The stock dev server polls its queues at most 20 times a second, which puts 45 ms into every hop of a workflow; with
 * these a chain of four trivial steps takes 50 to 80 ms instead of 450.
 */
const dynamicConfig = [
  'history.transferProcessorMaxPollRPS=200',
  'history.timerProcessorMaxPollRPS=200',
  'history.visibilityProcessorMaxPollRPS=200',
  'system.enableActivityEagerExecution=true',
];

/**
 * Starts the Temporal dev server with its Web UI on loopback and returns when its namespace answers. It ends with this
 * process (see guard.ts).
 * @throws SessionChainError SERVER_START_FAILED
 */
export async function startTemporal(options: TemporalOptions): Promise<TemporalServer> {
  if (options.dbFile !== undefined) await formerServerGone(options.dbFile);
  const { server, ports } = await startServer({
    name: 'The Temporal dev server',
    logFile: options.logFile,
    ports: { port: options.port, uiPort: options.uiPort },
    command: ({ port, uiPort }) => ({
      command: options.cliPath,
      args: [
        ...['server', 'start-dev', '--log-level', 'error', '--namespace', options.namespace],
        ...['--ip', '127.0.0.1', '--port', String(port), '--ui-ip', '127.0.0.1', '--ui-port', String(uiPort)],
        ...dynamicConfig.flatMap((setting) => ['--dynamic-config-value', setting]),
        ...(options.dbFile === undefined ? [] : storageArgs(options.dbFile)),
      ],
      // Not our environment: TEMPORAL_* variables configure the CLI too.
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TZ: 'UTC' },
    }),
    isReady: async ({ port }) => (await acceptsTcp(port)) && (await hasNamespace(port, options.namespace)),
  });
  try {
    await registerSearchAttributes(ports.port, options);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return {
    address: `127.0.0.1:${ports.port}`,
    uiUrl: `http://127.0.0.1:${ports.uiPort}`,
    port: ports.port,
    uiPort: ports.uiPort,
    pid: server.pid,
    exited: server.exited,
    stop: () => server.stop(),
  };
}

/** With the write-ahead log a file is as fast as memory, and survives kill -9. */
function storageArgs(dbFile: string): string[] {
  return [
    ...['--db-filename', dbFile],
    ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
  ];
}

/**
 * Waits until no server uses the file any more: two servers on one file both start, without an error. There is one for
 * a moment after a launcher was killed.
 */
async function formerServerGone(dbFile: string): Promise<void> {
  const deadline = Date.now() + formerServerTimeoutMs;
  for (;;) {
    const pid = serverOn(dbFile);
    if (pid === undefined) return;
    if (Date.now() > deadline) {
      throw new SessionChainError(
        'SERVER_START_FAILED',
        `A Temporal server, process ${pid}, still uses ${dbFile}.`,
        `Stop process ${pid}, then start again.`,
      );
    }
    await sleep(50);
  }
}

/** The process that was started on that file, as its command line says. */
function serverOn(dbFile: string): number | undefined {
  if (!existsSync('/proc/self/cmdline')) {
    const processes = execFileSync('ps', ['-axo', 'pid=,command='], { encoding: 'utf8' }).split('\n');
    const line = processes.find((text) => text.includes(` --db-filename ${dbFile} `));
    return line === undefined ? undefined : Number.parseInt(line, 10);
  }
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    const args = commandLine(pid);
    return args[1] === 'server' && args[args.indexOf('--db-filename') + 1] === dbFile;
  });
  return found === undefined ? undefined : Number(found);
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // It has ended meanwhile.
  }
}

/** A gRPC client backs off for a second after a refused connection, so the port is asked first. */
function acceptsTcp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const settle = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => settle(true)).once('error', () => settle(false));
  });
}

async function hasNamespace(port: number, namespace: string): Promise<boolean> {
  return withConnection(port, async ({ workflowService }) => {
    const { namespaceInfo } = await workflowService.describeNamespace({ namespace });
    return namespaceInfo?.name === namespace;
  });
}

/**
 * By the API, because the CLI's own option only takes effect when it creates the namespace, not with an existing file.
 */
async function registerSearchAttributes(port: number, options: TemporalOptions): Promise<void> {
  const { namespace } = options;
  await withConnection(port, async ({ operatorService }) => {
    const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
    const missing = options.searchAttributes.filter(({ name }) => !Object.hasOwn(customAttributes, name));
    if (missing.length === 0) return;
    const searchAttributes = Object.fromEntries(
      missing.map(({ name, type }) => [name, encodeSearchAttributeIndexedValueType(type)!]),
    );
    await operatorService.addSearchAttributes({ namespace, searchAttributes });
  });
}

async function withConnection<T>(port: number, use: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address: `127.0.0.1:${port}`, connectTimeout: 5_000 });
  try {
    return await use(connection);
  } finally {
    await connection.close();
  }
}
