import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { createSessionChain } from '../../client/session-chain.js';
import type { ChainPolicy } from '../../contracts/chain.js';
import { defaultPolicy, taskQueuesOf } from '../../contracts/policy.js';
import { type StepName, stepNames } from '../../contracts/steps.js';
import { type OfflineModel, startOfflineModel } from '../../dev/offline-model/server.js';
import { type Postgres, startPostgres } from '../../dev/postgres.js';
import { type RedisServer, startRedis } from '../../dev/redis.js';
import { findTemporalCli } from '../../dev/temporal-cli.js';
import { type TemporalServer, startTemporal } from '../../dev/temporal.js';
import { migrate } from '../../storage/db/migrate.js';
import { createPool } from '../../storage/db/pool.js';
import { type TestWorker, startWorkerProcess } from '../support/chain-stack.js';

/** Servers of its own, which may be killed, for cells that run one after the other. */
export interface Lane {
  folder: string;
  /** The servers as they are now; a restart keeps their ports and data. */
  postgres: Postgres;
  temporal: TemporalServer;
  redis: RedisServer;
  client: Client;
  restartPostgres(): Promise<void>;
  restartTemporal(): Promise<void>;
  restartRedis(): Promise<void>;
  /** A database in which all steps before this one are committed, and its project's files. */
  createBase(step: StepName, name: string): Promise<{ databaseUrl: string; workspace: string }>;
  dropBase(name: string): Promise<void>;
  startWorker(options: WorkerOptions): Promise<TestWorker>;
  stop: () => Promise<void>;
}

export interface WorkerOptions {
  name: string;
  databaseUrl: string;
  model: OfflineModel;
  taskQueue: string;
}

/** What every lane starts from: a data folder with one database per step, and the workspaces that belong to them. */
export interface Base {
  folder: string;
  remove(): void;
}

export const projectId = 'project';

export function policyFor(taskQueue: string): ChainPolicy {
  return {
    ...defaultPolicy,
    heartbeatTimeoutMs: 3_000,
    killGraceMs: 1_000,
    compactThresholdTokens: 0,
    taskQueues: taskQueuesOf(taskQueue),
  };
}

/** Runs one real chain, step by step, and keeps a database for each step to start from. */
export async function prepareBase(): Promise<Base> {
  const folder = newFolder('fault-base');
  const lane = await startLaneIn(folder);
  const model = await startOfflineModel();
  const url = new URL(lane.postgres.url);
  try {
    await sql(lane, `CREATE DATABASE base_${stepNames[0]}`);
    url.pathname = `/base_${stepNames[0]}`;
    await migrate(url.href);
    mkdirSync(join(folder, 'files', stepNames[0]), { recursive: true });
    for (const [index, step] of stepNames.slice(0, -1).entries()) {
      const next = stepNames[index + 1] ?? step;
      const { databaseUrl, workspace } = await lane.createBase(step, `base_${next}`);
      const taskQueue = `base-${step}`;
      const worker = await lane.startWorker({ name: `worker-${step}`, databaseUrl, model, taskQueue });
      const pool = createPool(databaseUrl, { applicationName: 'test' });
      const chains = createSessionChain({ pool, temporal: lane.client, policy: policyFor(taskQueue) });
      const versionId = `base-${step}`;
      const started = await chains.start({
        projectId,
        versionId,
        steps: [step],
        workspace,
        createRows: true,
      });
      const { status } = await chains.wait(started);
      if (status !== 'completed')
        throw new Error(`The base for ${next} could not be made: ${worker.output()}`);
      await worker.kill('SIGTERM');
      await pool.end();
      cpSync(workspace, join(folder, 'files', next), { recursive: true });
    }
  } finally {
    await model.stop();
    await lane.stop();
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export async function startLane(base: Base): Promise<Lane> {
  const folder = newFolder('fault-lane');
  for (const part of ['postgres', 'files']) {
    // The data belongs to the user that runs Postgres, and must go on to.
    execFileSync('cp', ['-a', join(base.folder, part), join(folder, part)]);
  }
  const lane = await startLaneIn(folder);
  const { stop } = lane;
  lane.stop = async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return lane;
}

async function startLaneIn(folder: string): Promise<Lane> {
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
    startWorker: async ({ name, databaseUrl, model, taskQueue }) =>
      await startWorkerProcess(join(folder, name), {
        DATABASE_URL: databaseUrl,
        REDIS_URL: lane.redis.url,
        TEMPORAL_ADDRESS: lane.temporal.address,
        SESSION_CHAIN_TASK_QUEUE: taskQueue,
        SESSION_CHAIN_WORKSPACE_ROOTS: folder,
        SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: '3000',
        SESSION_CHAIN_KILL_GRACE_MS: '1000',
        // Busy with its one agent, a worker that is frozen takes no further try with it.
        SESSION_CHAIN_MAX_AGENTS: '1',
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

function newFolder(name: string): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), `session-chain-${name}-`)));
  // Under root another user runs Postgres and must reach its data.
  chmodSync(folder, 0o711);
  return folder;
}
