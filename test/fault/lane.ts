import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { createSessionChain } from '../../client/session-chain.js';
import type { ChainPolicy } from '../../contracts/chain.js';
import { defaultPolicy } from '../../contracts/policy.js';
import type { ChainDefinition } from '../../definition/definition.js';
import { type OfflineModel, startOfflineModel } from '../../dev/offline-model/server.js';
import { type Postgres, startPostgres } from '../../dev/postgres.js';
import { type RedisServer, startRedis } from '../../dev/redis.js';
import { findTemporalCli } from '../../dev/temporal-cli.js';
import { type TemporalServer, startTemporal } from '../../dev/temporal.js';
import { migrate } from '../../storage/db/migrate.js';
import { createPool } from '../../storage/db/pool.js';
import { taskQueuesOf } from '../../temporal/names.js';
import { type TestWorker, startWorkerProcess } from '../support/chain-stack.js';
import { type MatrixStep, deployTaskQueue, stepNames, writeDefinition } from './definition.js';

/** Servers of its own, which may be killed, for cells that run one after the other. */
export interface Lane {
  folder: string;
  definition: ChainDefinition;
  /** The servers as they are now; a restart keeps their ports and data. */
  postgres: Postgres;
  temporal: TemporalServer;
  redis: RedisServer;
  client: Client;
  restartPostgres(): Promise<void>;
  restartTemporal(): Promise<void>;
  restartRedis(): Promise<void>;
  /** A database in which all steps before this one are committed, and its project's files. */
  createBase(step: MatrixStep, name: string): Promise<{ databaseUrl: string; workspace: string }>;
  dropBase(name: string): Promise<void>;
  startWorker(options: WorkerOptions): Promise<TestWorker>;
  stop: () => Promise<void>;
}

export interface WorkerOptions {
  name: string;
  databaseUrl: string;
  model: OfflineModel;
  taskQueue: string;
  /** Busy with its one agent, a worker that is frozen takes no further try with it. Default: 1. */
  maxAgents?: number;
  /** Whether its processes go on with the next step; as workers do it where nothing else is said. */
  warm?: boolean;
}

/** The chain of every lane, as the workers load it from a file. */
type Chain = Awaited<ReturnType<typeof writeDefinition>>;

/** What every lane starts from: a data folder with one database per step, and the workspaces that belong to them. */
export interface Base {
  folder: string;
  chain: Chain;
  remove(): void;
}

export const projectId = 'project';

export function policyFor(taskQueue: string): ChainPolicy {
  return {
    ...defaultPolicy,
    heartbeatTimeoutMs: 3_000,
    killGraceMs: 1_000,
    taskQueues: taskQueuesOf(taskQueue).chains,
  };
}

/** Where the host's own worker takes the calls of a chain on this task queue. */
export function deployTaskQueueOf(taskQueue: string): string {
  return `${taskQueue}-deploy`;
}

/** Runs one real chain, step by step, and keeps a database for each step to start from. */
export async function prepareBase(): Promise<Base> {
  const folder = newFolder('fault-base');
  const chain = await writeDefinition(folder);
  const lane = await startLaneIn(folder, chain);
  const model = await startOfflineModel();
  const taskQueue = 'base';
  const url = new URL(lane.postgres.url);
  url.pathname = '/base';
  const databaseUrl = url.href;
  const workspace = join(folder, 'workspace');
  try {
    await sql(lane, 'CREATE DATABASE base');
    await migrate(databaseUrl);
    mkdirSync(workspace);
    const worker = await lane.startWorker({ name: 'worker', databaseUrl, model, taskQueue });
    for (const [index, step] of stepNames.entries()) {
      await keep(lane, step);
      cpSync(workspace, join(folder, 'files', step), { recursive: true });
      const isLast = index === stepNames.length - 1;
      // An activity of the host leaves nothing from which the next step could go on.
      if (!isLast && step !== 'deploy') await runAlone(lane, step, { databaseUrl, workspace, taskQueue });
    }
    await worker.kill('SIGTERM');
  } finally {
    await model.stop();
    await lane.stop();
  }
  return { folder, chain, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Copies the base as it is before a step. A copy needs a database to which nothing is connected; the worker comes back. */
async function keep(lane: Lane, step: MatrixStep): Promise<void> {
  await sql(lane, 'ALTER DATABASE base ALLOW_CONNECTIONS false');
  await sql(lane, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'base'`);
  await sql(lane, `CREATE DATABASE base_${step} TEMPLATE base STRATEGY FILE_COPY`);
  await sql(lane, 'ALTER DATABASE base ALLOW_CONNECTIONS true');
}

/** Runs a chain of this one step. */
async function runAlone(
  lane: Lane,
  step: MatrixStep,
  { databaseUrl, workspace, taskQueue }: { databaseUrl: string; workspace: string; taskQueue: string },
): Promise<void> {
  const pool = createPool(databaseUrl, { applicationName: 'test' });
  const chains = createSessionChain({ pool, temporal: lane.client, policy: policyFor(taskQueue) });
  const request = { projectId, versionId: `base-${step}`, steps: [step], workspace, createRows: true };
  const { status, warnings } = await chains.wait(await chains.start(request));
  if (status !== 'completed')
    throw new Error(`The base could not be made: ${step} is ${status}: ${warnings.join(' ')}`);
  await pool.end();
}

export async function startLane(base: Base): Promise<Lane> {
  const folder = newFolder('fault-lane');
  for (const part of ['postgres', 'files']) {
    // The data belongs to the user that runs Postgres, and must go on to.
    execFileSync('cp', ['-a', join(base.folder, part), join(folder, part)]);
  }
  const lane = await startLaneIn(folder, base.chain);
  const { stop } = lane;
  lane.stop = async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return lane;
}

/** Servers that keep their data in this folder, and workers with this chain. */
export async function startLaneIn(folder: string, { file, definition }: Chain): Promise<Lane> {
  const cliPath = await findTemporalCli();
  const log = (name: string) => join(folder, `${name}.log`);
  const openPostgres = async (port?: number) =>
    // Durable: without synchronous commits a kill takes the last ones with it.
    await startPostgres({
      dataDir: join(folder, 'postgres'),
      logFile: log('postgres'),
      durable: true,
      ...(port ? { port } : {}),
    });
  const openTemporal = async (former?: TemporalServer) =>
    await startTemporal({
      cliPath,
      dbFile: join(folder, 'temporal.db'),
      logFile: log('temporal'),
      namespace: 'default',
      searchAttributes: [],
      ...(former ? { port: former.port, uiPort: former.uiPort } : {}),
    });
  const openRedis = async (port?: number) => {
    const redis = await startRedis({ dir: folder, logFile: log('redis'), ...(port ? { port } : {}) });
    if (!redis) throw new Error('redis-server is not on PATH.');
    return redis;
  };
  const [postgres, temporal, redis] = await Promise.all([openPostgres(), openTemporal(), openRedis()]);
  const connection = await Connection.connect({ address: temporal.address });
  const lane: Lane = {
    folder,
    definition,
    postgres,
    temporal,
    redis,
    client: new Client({ connection }),
    async restartPostgres() {
      await lane.postgres.exited;
      lane.postgres = samePort(lane.postgres, await openPostgres(lane.postgres.port));
    },
    async restartTemporal() {
      await lane.temporal.exited;
      lane.temporal = samePort(lane.temporal, await openTemporal(lane.temporal));
    },
    async restartRedis() {
      lane.redis = samePort(lane.redis, await openRedis(lane.redis.port));
    },
    async createBase(step, name) {
      // Copied block by block through the log, a sequence forgets after a crash what it has given out since: nextval takes
      // the values that the template had logged ahead for logged here, too.
      await sql(lane, `CREATE DATABASE ${name} TEMPLATE base_${step} STRATEGY FILE_COPY`);
      const url = new URL(lane.postgres.url);
      url.pathname = `/${name}`;
      const workspace = join(folder, name, 'workspace');
      cpSync(join(folder, 'files', step), workspace, { recursive: true });
      return { databaseUrl: url.href, workspace };
    },
    async dropBase(name) {
      await sql(lane, `DROP DATABASE ${name} WITH (FORCE)`);
      rmSync(join(folder, name), { recursive: true, force: true });
    },
    startWorker: async ({ name, databaseUrl, model, taskQueue, maxAgents = 1, warm }) =>
      await startWorkerProcess(join(folder, name), {
        DATABASE_URL: databaseUrl,
        REDIS_URL: lane.redis.url,
        TEMPORAL_ADDRESS: lane.temporal.address,
        SESSION_CHAIN_TASK_QUEUE: taskQueue,
        SESSION_CHAIN_CONFIG: file,
        [deployTaskQueue]: deployTaskQueueOf(taskQueue),
        SESSION_CHAIN_WORKSPACE_ROOTS: folder,
        SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: '3000',
        SESSION_CHAIN_KILL_GRACE_MS: '1000',
        SESSION_CHAIN_MAX_AGENTS: String(maxAgents),
        ...(warm === undefined ? {} : { SESSION_CHAIN_WARM: warm ? '1' : '0' }),
        ANTHROPIC_BASE_URL: model.url,
        ANTHROPIC_API_KEY: 'test-credential',
      }),
    async stop() {
      await connection.close();
      await Promise.all([lane.postgres.stop(), lane.temporal.stop(), lane.redis.stop()]);
    },
  };
  return lane;
}

function samePort<Server extends { port: number }>(former: Server, server: Server): Server {
  if (server.port !== former.port) throw new Error(`The port ${former.port} was taken meanwhile.`);
  return server;
}

async function sql(lane: Lane, statement: string): Promise<void> {
  const client = new pg.Client(lane.postgres.url);
  await client.connect();
  await client.query(statement);
  await client.end();
}

export function newFolder(name: string): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), `session-chain-${name}-`)));
  // Under root another user runs Postgres and must reach its data.
  chmodSync(folder, 0o711);
  return folder;
}
