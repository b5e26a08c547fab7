import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Log } from '../activities/log.js';
import type { Pool } from '../storage/db/pool.js';
import { unknownIdentities } from '../storage/workers/workers.js';
import { taskQueuesOf } from '../temporal/names.js';
import { pollersOf } from '../temporal/task-queues.js';

/** After so long each worker of this database has written its row. */
const lookAgainMs = 20_000;

/** Warns of workers of another database on the task queue, once, after the start. */
export function warnOfNeighbours(
  { pool, client, log }: { pool: Pool; client: Client; log: Log },
  { namespace, taskQueue }: { namespace: string; taskQueue: string },
): { close(): void } {
  const closed = new AbortController();
  const look = async () => {
    if ((await strangersOn(pool, client, taskQueue)).length === 0) return;
    await sleep(lookAgainMs, undefined, { signal: closed.signal, ref: false });
    const workers = await strangersOn(pool, client, taskQueue);
    if (workers.length === 0 || closed.signal.aborted) return;
    log.warn('installation.neighbours', { namespace, taskQueue, workers });
  };
  // What cannot be asked now doctor asks.
  void look().catch(() => undefined);
  return { close: () => closed.abort() };
}

/** The workers that poll the queues of chains and have no row in this database. */
export async function strangersOn(pool: Pool, client: Client, taskQueue: string): Promise<string[]> {
  const { chains } = taskQueuesOf(taskQueue).chains;
  const pollers = await pollersOf(client, chains, 'workflow');
  return await unknownIdentities(pool, [...new Set(pollers.map(({ identity }) => identity))]);
}
