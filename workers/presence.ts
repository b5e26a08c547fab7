import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Log, failureFields } from '../activities/log.js';
import { toSessionChainError } from '../contracts/failures.js';
import type { WorkerFacts } from '../contracts/workers.js';
import type { Pool } from '../storage/db/pool.js';
import { type Running, removeWorker, renewWorker } from '../storage/workers/workers.js';

/** A worker's row in the database, for those who look after workers. */
export interface Presence {
  /** Takes the row along. */
  close(): Promise<void>;
}

const renewMs = 15_000;
const lookMs = 1_000;

/**
 * Writes the worker's row, and renews it every 15 s, or within a second where it runs more or less than the row says. A row that
 * cannot be written is told once and tried again: it never concerns the work.
 */
export function keepPresent({
  pool,
  facts,
  running,
  log,
}: {
  pool: Pool;
  facts: WorkerFacts;
  running: () => Running;
  log: Log;
}): Presence {
  const id = randomUUID();
  const closed = new AbortController();
  const renewing = renewUntilClosed();
  return {
    async close() {
      closed.abort();
      await renewing;
      // Of a worker that is gone without it, readers see when it was there last.
      await removeWorker(pool, id).catch(() => undefined);
    },
  };

  async function renewUntilClosed(): Promise<void> {
    let isTold = false;
    let written: { at: number; said: string } | undefined;
    while (!closed.signal.aborted) {
      const now = running();
      const said = JSON.stringify(now);
      if (written === undefined || said !== written.said || performance.now() - written.at >= renewMs) {
        try {
          await renewWorker(pool, id, facts, now);
          isTold = false;
        } catch (error) {
          const failure = failureFields(toSessionChainError(error));
          // An outage is told by itself.
          if (!isTold && !closed.signal.aborted && failure.code !== 'DATABASE_UNAVAILABLE')
            log.warn('worker.row_not_written', failure);
          isTold = true;
        }
        written = { at: performance.now(), said };
      }
      await sleep(lookMs, undefined, { signal: closed.signal, ref: false }).catch(() => undefined);
    }
  }
}
