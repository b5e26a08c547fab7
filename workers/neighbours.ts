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
  const pause = async () => await sleep(lookAgainMs, undefined, { signal: closed.signal, ref: false });
  const strangers = async (): Promise<string[]> => {
    for (;;) {
      try {
        return (await knownWorkers(pool, await identitiesPolling(client, taskQueue))).unknown;
      } catch {
        // Temporal or the database is late or away.
        await pause();
      }
    }
  };
  const look = async () => {
    if ((await strangers()).length === 0) return;
    await pause();
    const workers = await strangers();
    if (workers.length === 0 || closed.signal.aborted) return;
    log.warn('installation.neighbours', { namespace, taskQueue, workers });
  };
  // It ends with an error where it is closed in a pause.
  void look().catch(() => undefined);
  return { close: () => closed.abort() };
}
