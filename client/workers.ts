import type { Client } from '@temporalio/client';
import type { ChainPolicy } from '../contracts/chain.js';
import type { ChatPolicy } from '../contracts/question.js';
import type { SandboxSettings } from '../contracts/sandbox.js';
import type { ShownDefinition, WorkerLimitsInForce } from '../contracts/workers.js';
import type { Pool } from '../storage/db/pool.js';
import { type StoredWorker, listDefinitions, listWorkers } from '../storage/workers/workers.js';
import { taskQueuesOf } from '../temporal/names.js';
import { withSignal } from '../temporal/signal.js';
import { type TaskQueueKind, queueStateOf } from '../temporal/task-queues.js';

/** A worker, as it tells of itself. */
export interface WorkerSummary {
  /** Made at its start; a process may run several workers. */
  id: string;
  /** `<pid>-<8 hex>@<hostname>` of its process, as in `worker` of an attempt and in Temporal. */
  identity: string;
  host: string;
  /** Of the package session-chain. */
  version: string;
  /** Its release: to Temporal its build id. */
  release: string;
  /** The worker deployment of Temporal whose version the release is; null where it takes tasks of every release. */
  deployment: string | null;
  /** Of Claude Code at its start; null where it did not tell. */
  agentVersion: string | null;
  /** Of the Claude Agent SDK. */
  sdkVersion: string;
  /** How its agents are kept in. */
  sandbox: SandboxSettings['kind'];
  namespace: string;
  startedAt: Date;
  /** When it was seen last; it says so every 15 s. */
  seenAt: Date;
  /** Seen within the last minute. One that is not has died, or does not reach the database. */
  alive: boolean;
  /** The queues that it polls: for chains, agents and chats. */
  taskQueues: string[];
  /** Agents of steps that run on it, and how many may. */
  agents: { running: number; max: number };
  /** The same for answers of chats. */
  chats: { running: number; max: number };
  /** Claude Code processes on it that wait for the next task of their chain or chat. */
  parked: number;
  limits: WorkerLimitsInForce;
  /** Which chain it runs; see {@link WorkerReads.definitions}. `file` is null for one that came from no file. */
  definition: { digest: string; file: string | null };
}

/** A task queue in Temporal. */
export interface QueueSummary {
  taskQueue: string;
  kind: 'workflow' | 'activity';
  /** Workers that poll it now; one with all its slots taken does not. */
  pollers: number;
  /** Tasks that no worker has taken yet, about; null where Temporal does not count. */
  backlog: number | null;
  /** How long the oldest of them has waited; null where Temporal does not say. */
  oldestAgeMs: number | null;
}

export interface Workers {
  /** Those that were seen within a day: the living first, of these the newest. One that stopped in order is not there. */
  workers: WorkerSummary[];
  /** The queues of these workers and of this client, and those on which definitions call activities; null where Temporal does not answer. */
  queues: QueueSummary[] | null;
}

/** A definition that workers have loaded. */
export interface DefinitionInUse {
  digest: string;
  /** Where workers loaded it from. */
  files: string[];
  /** `identity` of the workers that have it, of the living alone. */
  workers: string[];
  definition: ShownDefinition;
}

/** Who does the work, and by which definition. */
export interface WorkerReads {
  /**
   * The workers of this database, and the task queues in Temporal.
   * @example
   * const { workers, queues } = await sessionChain.workers();
   * console.log(workers.filter(({ alive }) => alive).length, queues?.map(({ backlog }) => backlog));
   */
  workers(): Promise<Workers>;
  /**
   * The definitions that living workers have, the one of most workers first. Several are a rollout: a step waits for a worker that
   * has the definition with which its chain was planned.
   * @example
   * for (const { files, workers, definition } of await sessionChain.definitions()) {
   *   console.log(files, workers, definition.steps.map(({ name }) => name));
   * }
   */
  definitions(): Promise<DefinitionInUse[]>;
}

/** How long Temporal may take; the workers do not depend on it. */
const askTemporalMs = 3_000;
/** However many ask, Temporal is asked this often at most. */
const keptMs = 2_000;
/** Of other queues than the client's own, so many at most. */
const maxQueues = 50;

export function createWorkerReads({
  pool,
  temporal,
  policy,
  chat,
}: {
  pool: Pool;
  temporal: Client;
  policy: ChainPolicy;
  chat: ChatPolicy;
}): WorkerReads {
  let asked: { at: number; about: string; queues: Promise<QueueSummary[] | null> } | undefined;
  const queuesOf = async (workers: readonly StoredWorker[]) => {
    const wanted = wantedQueues(workers, temporal.options.namespace, policy, chat);
    const about = JSON.stringify(wanted);
    if (asked?.about !== about || performance.now() - asked.at > keptMs)
      asked = { at: performance.now(), about, queues: describeAll(temporal, wanted) };
    return await asked.queues;
  };
  return {
    async workers() {
      const workers = await listWorkers(pool);
      return { workers: workers.map(summaryOf), queues: await queuesOf(workers) };
    },
    definitions: async () => await listDefinitions(pool),
  };
}

type WantedQueue = Pick<QueueSummary, 'taskQueue' | 'kind'>;

function wantedQueues(
  workers: readonly StoredWorker[],
  namespace: string,
  { taskQueues: chains }: ChainPolicy,
  { taskQueues: chats }: ChatPolicy,
): WantedQueue[] {
  const wanted = new Map<string, WantedQueue>();
  const want = (taskQueue: string, kind: TaskQueueKind) =>
    wanted.set(`${kind} ${taskQueue}`, { taskQueue, kind });
  const wantAll = (names: { chains: string; agents: string; chats: string }) => {
    want(names.chains, 'workflow');
    want(names.chains, 'activity');
    want(names.agents, 'activity');
    want(names.chats, 'activity');
  };
  wantAll({ ...chains, chats: chats.chats });
  for (const worker of workers) {
    if (!worker.alive || worker.namespace !== namespace) continue;
    const names = taskQueuesOf(worker.taskQueue);
    wantAll({ ...names.chains, chats: names.chats.chats });
    for (const queue of worker.hostQueues) want(queue, 'activity');
  }
  return [...wanted.values()].slice(0, maxQueues);
}

async function describeAll(temporal: Client, wanted: readonly WantedQueue[]): Promise<QueueSummary[] | null> {
  try {
    return await withSignal(
      temporal,
      AbortSignal.timeout(askTemporalMs),
      async () =>
        await Promise.all(
          wanted.map(async ({ taskQueue, kind }) => {
            const { pollers, ...state } = await queueStateOf(temporal, taskQueue, kind);
            return { taskQueue, kind, pollers: pollers.length, ...state };
          }),
        ),
    );
  } catch {
    return null;
  }
}

function summaryOf(worker: StoredWorker): WorkerSummary {
  const { claudeCode, sdk, taskQueue, digest, file, limits, runningAgents, runningChats, parked } = worker;
  const { id, identity, host, version, release, deployment, sandbox, namespace, startedAt, seenAt, alive } =
    worker;
  const { chains, chats } = taskQueuesOf(taskQueue);
  return {
    ...{
      id,
      identity,
      host,
      version,
      release,
      deployment,
      agentVersion: claudeCode,
      sdkVersion: sdk,
      sandbox,
      namespace,
    },
    ...{ startedAt, seenAt, alive, limits, parked },
    taskQueues: [chains.chains, chains.agents, chats.chats],
    agents: { running: runningAgents, max: limits.maxAgents },
    chats: { running: runningChats, max: limits.maxChats },
    definition: { digest, file },
  };
}
