import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { SessionChainError } from '../contracts/failures.js';
import { type Installation, isOfOther } from '../contracts/installation.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { listWorkers } from '../storage/workers/workers.js';
import { temporalError } from '../temporal/errors.js';
import { refusedByOthers } from '../temporal/others.js';

/** Whose work is whose, where several databases share a namespace of Temporal. */

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
  if (refusal === null) return null;
  const { namespace } = temporal.options;
  const hasOwn = (await listWorkers(pool)).some(
    (worker) => worker.alive && worker.taskQueue === taskQueue && worker.namespace === namespace,
  );
  return hasOwn ? null : refusal;
}

export function noOwnWorker({ options: { namespace } }: Client, taskQueue: string, refusal: string) {
  return new SessionChainError(
    'OTHER_INSTALLATION',
    `No worker of this database polls the task queue ${taskQueue} (namespace ${namespace}), but one of another does. ${refusal}`,
  );
}
