import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Log } from '../activities/log.js';
import type { Pool } from '../storage/db/pool.js';
import { knownWorkers } from '../storage/workers/workers.js';
import { identitiesPolling } from '../temporal/task-queues.js';

/** After so long each worker of this database has written its row. */
const lookAgainMs = 20_000;

/** Warns of workers of another database on the task queue, once, after the start. */
export function warnOfNeighbours(
  { pool, client, log }: { pool: Pool; client: Client; log: Log },
  { namespace, taskQueue }: { namespace: string; taskQueue: string },
): { close(): void } {
  const closed = new AbortController();
  const strangers = async () =>
    (await knownWorkers(pool, await identitiesPolling(client, taskQueue))).unknown;
  const look = async () => {
    if ((await strangers()).length === 0) return;
    await sleep(lookAgainMs, undefined, { signal: closed.signal, ref: false });
    const workers = await strangers();
    if (workers.length === 0 || closed.signal.aborted) return;
    log.warn('installation.neighbours', { namespace, taskQueue, workers });
  };
  // What cannot be asked now doctor asks.
  void look().catch(() => undefined);
  return { close: () => closed.abort() };
}
