import type { ChainRun, ChainRuns } from '../../contracts/chain-runs.js';
import type { ProjectId } from '../../contracts/ids.js';
import { type Pool, queryRows } from '../db/pool.js';
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

/** Projects with chains that a workflow has taken up, in the order of their ids. */
export async function projectsWithOpenChains(
  pool: Pool,
  after: ProjectId | null,
  limit: number,
): Promise<ProjectId[]> {
  const rows = await queryRows<{ id: ProjectId }>(pool, {
    name: 'projects_with_open_chains',
    text: `SELECT DISTINCT c.project_id AS id FROM session_chain.chains c
           WHERE c.closed_at IS NULL AND c.ticket IS NOT NULL AND ($1::text IS NULL OR c.project_id > $1)
           ORDER BY c.project_id LIMIT $2`,
    values: [after, limit],
  });
  return rows.map(({ id }) => id);
}

/** Those of the chains that have no row. */
export async function chainsWithoutRow(pool: Pool, chainIds: readonly string[]): Promise<Set<string>> {
  const rows = await queryRows<{ id: string }>(pool, {
    name: 'chains_without_row',
    text: `SELECT w.id::text FROM unnest($1::bigint[]) w (id)
           WHERE NOT EXISTS (SELECT FROM session_chain.chains c WHERE c.id = w.id)`,
    values: [chainIds],
  });
  return new Set(rows.map(({ id }) => id));
}
