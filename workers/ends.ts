import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { DeliverEndInput } from '../contracts/end.js';
import { installationMemo } from '../contracts/installation.js';
import { type HostActivity, payloadVersion } from '../contracts/plan.js';
import { readInstallation } from '../storage/db/installation.js';
import type { Pool } from '../storage/db/pool.js';
import { takeEnds } from '../storage/chains/ends.js';
import { temporalError } from '../temporal/errors.js';
import { endWorkflowId, workflowTypes } from '../temporal/names.js';
import { type Log, failureFields } from '../activities/log.js';
import { toSessionChainError } from '../contracts/failures.js';

/** Starts the workflows that tell the host of ends of chains, until it is closed. */
export interface EndDispatcher {
  close(): Promise<void>;
}

/** How soon a host hears of an end; a look that finds none writes nothing. */
const lookMs = 1_000;
const atOnce = 50;

/**
 * Looks for ends whose call is due, every second. Any number of workers
 * may look: each end is taken by one, and what is under way in Temporal is not started twice.
 */
export function dispatchEnds({
  pool,
  client,
  taskQueue,
  onEnd,
  log,
}: {
  pool: Pool;
  client: Client;
  /** Of the chains: their worker runs the workflow. */
  taskQueue: string;
  onEnd: HostActivity;
  log: Log;
}): EndDispatcher {
  const closed = new AbortController();
  const looking = lookUntilClosed();
  return {
    async close() {
      closed.abort();
      await looking;
    },
  };

  async function lookUntilClosed(): Promise<void> {
    let isTold = false;
    while (!closed.signal.aborted) {
      try {
        await startDue();
        if (isTold) log.info('ends.resumed');
        isTold = false;
      } catch (error) {
        if (closed.signal.aborted) return;
        if (!isTold) log.warn('ends.delayed', failureFields(toSessionChainError(error)));
        isTold = true;
      }
      await sleep(lookMs, undefined, { signal: closed.signal, ref: false }).catch(() => undefined);
    }
  }

  async function startDue(): Promise<void> {
    for (;;) {
      const due = await takeEnds(pool, atOnce);
      if (due.length === 0) return;
      const installation = await readInstallation(pool);
      for (const end of due) {
        if (closed.signal.aborted) return;
        const input: DeliverEndInput = {
          ...{ version: payloadVersion, installation: installation.id },
          ...{ key: end.key, onEnd },
        };
        await client.workflow
          .start(workflowTypes.chainEnd, {
            workflowId: endWorkflowId(end, end.key),
            workflowIdConflictPolicy: 'USE_EXISTING',
            taskQueue,
            args: [input],
            memo: installationMemo(installation),
            staticSummary: `${onEnd.activity} on ${onEnd.taskQueue}`,
          })
          .catch((error: unknown) => {
            throw temporalError(error);
          });
      }
      if (due.length < atOnce) return;
    }
  }
}
