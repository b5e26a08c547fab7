import type { ChainRun, ChainRuns } from '../../contracts/chain-runs.js';
import type { ProjectId } from '../../contracts/ids.js';
import type { Pool } from '../db/pool.js';
import { inTransaction } from '../db/transaction.js';
import { listOpenRuns, releaseChain } from './chains.js';

/**
 * Wakes the chain that may hold the project next; one whose run is gone leaves the queue, and the one after it is
 * woken.
 */
export async function wakeNext(
  pool: Pool,
  runs: ChainRuns,
  projectId: ProjectId,
  next: ChainRun | null,
): Promise<void> {
  while (next && !(await runs.wake(next))) {
    // A run that is over for the signal is over for good only if it is the latest.
    if (!(await runs.isGone(next))) return;
    const released = await releaseChain(pool, projectId, next);
    next = 'next' in released && released.next?.runId !== next.runId ? released.next : null;
  }
}

/** What became of the runs that a project's open chains name. */
export interface Reconciled {
  /** Workflow ids of chains that were closed because their runs are gone; of a dry run those that would be. */
  released: string[];
  /** The ms until the lease of the agent of a chain whose run is gone has expired; null where there is none. */
  endingInMs: number | null;
}

/** A run further back in the queue that is gone is found when it would be woken. */
const frontOfTheQueue = 10;

export interface ReconcileOptions {
  /** Report what would be done, and do nothing. */
  dryRun?: boolean;
}

/** Closes a project's chains whose workflows are gone, even if no other chain wants the project. */
export async function reconcile(
  pool: Pool,
  runs: ChainRuns,
  projectId: ProjectId,
  { dryRun = false }: ReconcileOptions = {},
): Promise<Reconciled> {
  const reconciled: Reconciled = { released: [], endingInMs: null };
  const front = await listOpenRuns(pool, projectId, frontOfTheQueue);
  const gone = await Promise.all(front.map((run) => runs.isGone(run)));
  for (const run of front.filter((_, index) => gone[index])) {
    const outcome = dryRun
      ? await inTransaction(pool, (undone) => releaseChain(undone, projectId, run), { undo: true })
      : await releaseChain(pool, projectId, run);
    if (outcome.outcome === 'former_agent_alive') {
      reconciled.endingInMs = outcome.waitMs;
    } else {
      if (outcome.outcome === 'released') reconciled.released.push(run.workflowId);
      if (!dryRun) await wakeNext(pool, runs, projectId, outcome.next);
    }
  }
  return reconciled;
}
