import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { type SessionChain, createSessionChain } from '../client/session-chain.js';
import type { StartRequest } from '../client/start-request.js';
import type { ChainResult } from '../contracts/chain.js';
import { type OfflineModel, startOfflineModel } from '../dev/offline-model/server.js';
import { startStack } from '../dev/stack.js';
import { supervise } from '../dev/supervised.js';
import { type Pool, createPool } from '../storage/db/pool.js';
import { searchAttributes } from '../temporal/attributes.js';

/** A worker in a process of its own, and a client whose chains and questions go to that worker alone. */
export interface BenchSide {
  taskQueue: string;
  sessionChain: SessionChain;
  worker: { pid(): number };
  /** Runs a chain to its end; a new version, of a new project unless one is given. Throws unless it completed. */
  runChain(request?: Partial<StartRequest>): Promise<ChainResult>;
}

/** A throw-away copy of what `npm start` runs: durable servers, the offline model, one worker in its own process. */
export interface BenchStack extends BenchSide {
  databaseUrl: string;
  pids: Record<'postgres' | 'temporal' | 'worker', number>;
  pool: Pool;
  temporal: Client;
  temporalAddress: string;
  model: OfflineModel;
  /** The root of everything; real path. */
  folder: string;
  /** Another worker with a queue of its own, beside the one of the stack; it stops with the stack. */
  startSide(name: string, environment: Record<string, string>): Promise<BenchSide>;
  stop(): Promise<void>;
}

export async function startBenchStack(say: (line: string) => void): Promise<BenchStack> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-bench-')));
  // Under root another user runs Postgres and must reach its data.
  chmodSync(folder, 0o711);
  const closing: (() => Promise<unknown> | void)[] = [
    () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }),
  ];
  const stop = async () => {
    for (const close of closing.splice(0)) await close();
  };
  try {
    const stack = await startStack({
      stateDir: join(folder, 'state'),
      env: {},
      namespace: 'default',
      searchAttributes: Object.values(searchAttributes),
    });
    closing.unshift(() => stack.stop());
    await stack.migrate();
    const model = await startOfflineModel();
    closing.unshift(() => model.stop());
    const pool = createPool(stack.ownerUrl, { applicationName: 'session-chain bench', max: 4 });
    closing.unshift(() => pool.end());
    const connection = await Connection.connect({ address: stack.temporal.address });
    // Last of all: a call that is still being tried again when its connection closes ends the process.
    closing.push(() => connection.close());
    const temporal = new Client({ connection });
    const startSide = async (name: string, environment: Record<string, string>): Promise<BenchSide> => {
      const worker = await supervise({
        command: 'worker',
        environment: {
          PATH: process.env['PATH'] ?? '',
          DATABASE_URL: stack.databaseUrl,
          ...(stack.redisUrl ? { REDIS_URL: stack.redisUrl } : {}),
          TEMPORAL_ADDRESS: stack.temporal.address,
          SESSION_CHAIN_TASK_QUEUE: name,
          SESSION_CHAIN_WORKSPACE_ROOTS: folder,
          SESSION_CHAIN_SCRATCH_DIR: join(folder, 'scratch', name),
          ANTHROPIC_BASE_URL: model.url,
          ANTHROPIC_API_KEY: 'offline',
          ...environment,
        },
        logFile: join(folder, `worker-${name}.log`),
        say,
      });
      closing.unshift(() => worker.stop());
      const sessionChain = createSessionChain({
        ...{ pool, temporal, taskQueue: name },
        overrides: { compactThresholdTokens: 0 },
        maxQueued: 10_000,
      });
      return {
        ...{ taskQueue: name, sessionChain, worker },
        async runChain(request = {}) {
          const { projectId = `bench-${randomUUID().slice(0, 8)}` } = request;
          const workspace = join(folder, 'workspaces', projectId);
          mkdirSync(workspace, { recursive: true });
          const versionId = `${projectId}-${randomUUID().slice(0, 8)}`;
          const started = await sessionChain.start({
            projectId,
            versionId,
            workspace,
            createRows: true,
            ...request,
          });
          const result = await Promise.race([sessionChain.wait(started), worker.failed]);
          if (result.status === 'completed') return result;
          throw new Error(
            `The chain ended as ${result.status}: ${result.failure?.message ?? result.warnings.join(' ')}`,
          );
        },
      };
    };
    const side = await startSide('bench', {});
    const pidOf = (server: string) => stack.servers.find(({ name }) => name.startsWith(server))?.pid ?? 0;
    return {
      ...side,
      databaseUrl: stack.ownerUrl,
      pids: { postgres: pidOf('Postgres'), temporal: pidOf('Temporal'), worker: side.worker.pid() },
      ...{ pool, temporal, temporalAddress: stack.temporal.address, model, folder, startSide },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
