import { setTimeout as sleep } from 'node:timers/promises';
import type { NativeConnection } from '@temporalio/worker';
import { failureFields, type Log } from '../activities/log.js';
import type { Outage } from '../activities/outage.js';
import { toSessionChainError } from '../contracts/failures.js';
import { temporalError } from '../temporal/errors.js';

/** Looks at what a worker needs even when it has nothing to do; what is away is told by its outage. */
export interface Watch {
  close(): Promise<void>;
}

const lookMs = 5_000;
/** A pool whose connections are all in use for a moment is no outage. */
const answerMs = { database: 10_000, temporal: 5_000 };

export function keepWatch({
  log,
  connection,
  database,
  outages,
}: {
  log: Log;
  connection: Pick<NativeConnection, 'withDeadline' | 'workflowService'>;
  /** Throws where the database does not answer within this time. */
  database: (timeoutMs: number) => Promise<void>;
  outages: { database: Outage; temporal: Outage };
}): Watch {
  const closed = new AbortController();
  const { signal } = closed;
  const look = async (outage: Outage, ask: () => Promise<unknown>): Promise<void> => {
    try {
      await ask();
      outage.over();
    } catch (error) {
      if (!signal.aborted) outage.trouble(log, failureFields(toSessionChainError(error)));
    }
  };
  const askTemporal = async () => {
    await connection
      .withDeadline(Date.now() + answerMs.temporal, () => connection.workflowService.getSystemInfo({}))
      .catch((error: unknown) => {
        throw temporalError(error);
      });
  };
  const until = async (outage: Outage, ask: () => Promise<unknown>) => {
    while (!signal.aborted) {
      await look(outage, ask);
      await sleep(lookMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  };
  const watching = [
    until(outages.database, async () => await database(answerMs.database)),
    until(outages.temporal, askTemporal),
  ];
  return {
    async close() {
      closed.abort();
      await Promise.all(watching);
    },
  };
}
