import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { z } from 'zod';
import type { ChainRuns } from '../contracts/chain-runs.js';
import { SessionChainError } from '../contracts/failures.js';
import { type ProjectId, parseProjectId } from '../contracts/ids.js';
import { type Installation, isOfOther } from '../contracts/installation.js';
import { chainsWithoutRow, projectsWithOpenChains, reconcile } from '../storage/chains/queue.js';
import {
  type MarkedRestored,
  markRestored,
  readInstallation,
  requireOwner,
} from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { readHead } from '../storage/heads/heads.js';
import { listWorkers } from '../storage/workers/workers.js';
import { type ListedRun, listChainRuns, terminateUnknown } from '../temporal/chain-list.js';
import { temporalError } from '../temporal/errors.js';
import { taskQueuesOf } from '../temporal/names.js';
import { refusedByOthers } from '../temporal/others.js';
import { checkedOptions } from './input.js';

/** Whose work is whose, where several databases share a namespace of Temporal, and what to do after a restore. */

/** A chain that Temporal knows and the database does not: it went back to before the chain, or its row was deleted. */
export interface UnknownChain {
  workflowId: string;
  runId: string;
  /** As Temporal calls it; `RUNNING` is open. */
  status: string;
  startedAt: Date;
  /** The incarnation of the database in which it was started. */
  incarnation: number;
}

/** What became of the chains of all projects whose workflows are gone, and what Temporal knows beside them. */
export interface ReconciledAll {
  dryRun: boolean;
  /** Projects with open chains that were looked at. */
  projects: number;
  /** Workflow ids of chains that were closed because their workflows are gone; of a dry run those that would be. The first 1,000. */
  released: string[];
  releasedChains: number;
  /** The ms until the last lease of the agent of a chain whose workflow is gone has expired: then call again. Null for none. */
  endingInMs: number | null;
  /** Chains of this installation that Temporal knows and the database does not, the first 1,000, and how many there are. */
  unknown: UnknownChain[];
  unknownOpen: number;
  unknownClosed: number;
  /** Those of them that were open and were terminated. */
  terminated: number;
  /** Chains of other installations in the namespace, which are left alone. */
  ofOthers: number;
}

export interface ReconcileAllOptions {
  /** Only this project. */
  projectId?: string;
  /** Only report. */
  dryRun?: boolean;
  /** Terminate the workflows of open chains that the database does not know; by themselves they end with REQUEST_LOST. */
  terminateUnknown?: boolean;
}

export interface RestoredOptions {
  /** The database is a copy that lives beside its original: it gets an id of its own. */
  newInstallation?: boolean;
  /** Also while workers say that they run. */
  force?: boolean;
}

/** The database as an installation, and what to do after it was restored. */
export interface Installations {
  /**
   * The database's id, which tells its chains in Temporal from those of others, and its incarnation.
   * @example
   * const { id, incarnation } = await sessionChain.installation();
   */
  installation(): Promise<Installation>;
  /**
   * Says that the database was restored from a backup: raises its incarnation, and moves its sequences past every number that
   * was drawn since. May be repeated. Needs the role that owns the schema, and no worker that runs. Throws INVALID_INPUT,
   * INSTALLATION_IN_USE, DATABASE_REFUSED.
   * @example
   * const { incarnation } = await sessionChain.restored();
   */
  restored(options?: RestoredOptions): Promise<MarkedRestored>;
  /**
   * {@link SessionChain.reconcile} for every project, page by page, and the chains that Temporal knows and the database does not.
   * Throws INVALID_INPUT, PROJECT_NOT_FOUND.
   * @example
   * const { releasedChains, unknownOpen } = await sessionChain.reconcileAll({ dryRun: true });
   */
  reconcileAll(options?: ReconcileAllOptions): Promise<ReconciledAll>;
}

const listed = 1_000;
const projectsAtOnce = 200;
const lookedUpAtOnce = 500;
const side = 8;

export function createInstallations({
  pool,
  temporal,
  runs,
}: {
  pool: Pool;
  temporal: Client;
  runs: ChainRuns;
}): Installations {
  return {
    installation: async () => await readInstallation(pool),
    async restored(options) {
      const shape = { newInstallation: z.boolean().default(false), force: z.boolean().default(false) };
      const { newInstallation, force } = checkedOptions(shape, options);
      await requireOwner(pool);
      const living = force ? [] : (await listWorkers(pool)).filter(({ alive }) => alive);
      if (living.length > 0) {
        throw new SessionChainError(
          'INSTALLATION_IN_USE',
          `Workers use this database: ${living.map(({ identity }) => identity).join(', ')}. Nothing was changed.`,
        );
      }
      return await markRestored(pool, newInstallation);
    },
    async reconcileAll(options) {
      const shape = {
        projectId: z.string().optional(),
        dryRun: z.boolean().default(false),
        terminateUnknown: z.boolean().default(false),
      };
      const { projectId, dryRun, terminateUnknown } = checkedOptions(shape, options);
      const only = projectId === undefined ? null : parseProjectId(projectId);
      if (only !== null) await readHead(pool, only);
      const done: ReconciledAll = {
        ...{ dryRun, projects: 0, released: [], releasedChains: 0, endingInMs: null },
        ...{ unknown: [], unknownOpen: 0, unknownClosed: 0, terminated: 0, ofOthers: 0 },
      };
      await closeGone(pool, runs, only, done);
      await findUnknown(pool, temporal, only, terminateUnknown, done);
      return done;
    },
  };
}

async function closeGone(
  pool: Pool,
  runs: ChainRuns,
  only: ProjectId | null,
  done: ReconciledAll,
): Promise<void> {
  const { dryRun } = done;
  const one = async (projectId: ProjectId) => {
    const { released, endingInMs } = await reconcile(pool, runs, projectId, { dryRun });
    done.projects += 1;
    done.releasedChains += released.length;
    done.released.push(...released.slice(0, listed - done.released.length));
    if (endingInMs !== null) done.endingInMs = Math.max(done.endingInMs ?? 0, endingInMs);
  };
  if (only !== null) return await one(only);
  for (let after: ProjectId | null = null; ;) {
    const page: ProjectId[] = await projectsWithOpenChains(pool, after, projectsAtOnce);
    const left = [...page];
    const next = async () => {
      for (let id = left.shift(); id !== undefined; id = left.shift()) await one(id);
    };
    await Promise.all(Array.from({ length: side }, next));
    after = page.at(-1) ?? null;
    if (page.length < projectsAtOnce) return;
  }
}

async function findUnknown(
  pool: Pool,
  temporal: Client,
  only: ProjectId | null,
  terminates: boolean,
  done: ReconciledAll,
): Promise<void> {
  const own = await readInstallation(pool);
  let batch: ListedRun[] = [];
  const look = async () => {
    const idOf = ({ memo }: ListedRun) => String(memo['chain']);
    const missing = await chainsWithoutRow(pool, [...new Set(batch.map(idOf))]);
    for (const run of batch.filter((one) => missing.has(idOf(one)))) {
      const { workflowId, runId, status, startedAt, memo } = run;
      const isOpen = status === 'RUNNING' || status === 'PAUSED';
      if (isOpen) done.unknownOpen += 1;
      else done.unknownClosed += 1;
      if (done.unknown.length < listed)
        done.unknown.push({ workflowId, runId, status, startedAt, incarnation: Number(memo['incarnation']) });
      if (isOpen && terminates && !done.dryRun) {
        await terminateUnknown(temporal, run);
        done.terminated += 1;
      }
    }
    batch = [];
  };
  try {
    for await (const run of listChainRuns(temporal, only)) {
      if (run.memo['installation'] !== own.id) done.ofOthers += 1;
      else if (/^\d+$/.test(String(run.memo['chain']))) batch.push(run);
      if (batch.length === lookedUpAtOnce) await look();
    }
    await look();
  } catch (error) {
    throw temporalError(error);
  }
}

/** The error of a call whose workflow id another installation uses; null where none does. */
export async function otherInstallation(
  pool: Pool,
  temporal: Client,
  workflowId: string,
): Promise<SessionChainError | null> {
  const [own, memo] = await Promise.all([
    readInstallation(pool),
    temporal.workflow
      .getHandle(workflowId)
      .describe()
      .then(
        (described) => described.memo,
        (error: unknown) => {
          if (error instanceof WorkflowNotFoundError) return undefined;
          throw temporalError(error);
        },
      ),
  ]);
  return isOfOther(memo, own.id) ? ofOtherInstallation(temporal, workflowId, memo, own) : null;
}

/** Throws OTHER_INSTALLATION. */
export async function requireOwn(pool: Pool, temporal: Client, workflowId: string): Promise<void> {
  const other = await otherInstallation(pool, temporal, workflowId);
  if (other) throw other;
}

/** The error that names both. */
export function ofOtherInstallation(
  { options: { namespace } }: Client,
  workflowId: string,
  memo: Record<string, unknown> | undefined,
  { id, database }: Pick<Installation, 'id' | 'database'>,
): SessionChainError {
  return new SessionChainError(
    'OTHER_INSTALLATION',
    `The workflow ${workflowId} in the namespace ${namespace} is of the installation ${String(memo?.['installation'])}; this is the database ${database}, of the installation ${id}.`,
    'Give each database a namespace of its own (TEMPORAL_NAMESPACE), or the project another id.',
  );
}

/**
 * What workers of another database said of a workflow of ours that they left alone, where no worker of ours lives that could
 * take it; else null.
 */
export async function takenByOthers(
  pool: Pool,
  temporal: Client,
  workflowId: string,
  taskQueue: string,
): Promise<string | null> {
  const refusal = await refusedByOthers(temporal, workflowId);
  return refusal === null || (await hasOwnWorker(pool, temporal, taskQueue)) ? null : refusal;
}

/** Whether a worker of this database lives that polls this task queue, or would with a free slot. */
export async function hasOwnWorker(pool: Pool, temporal: Client, taskQueue: string): Promise<boolean> {
  const { namespace } = temporal.options;
  return (await listWorkers(pool)).some((worker) => {
    const { chains, agents } = taskQueuesOf(worker.taskQueue).chains;
    return worker.alive && worker.namespace === namespace && [chains, agents].includes(taskQueue);
  });
}

export function noOwnWorker({ options: { namespace } }: Client, taskQueue: string, refusal: string) {
  return new SessionChainError(
    'OTHER_INSTALLATION',
    `No worker of this database polls the task queue ${taskQueue} (namespace ${namespace}), but one of another does. ${refusal}`,
  );
}
