import { setTimeout as sleep } from 'node:timers/promises';
import type { NativeConnection, Worker } from '@temporalio/worker';
import { type FailureCode, toSessionChainError } from '../contracts/failures.js';
import { temporalError } from '../temporal/errors.js';

/** Whether a worker takes on work. */
export interface WorkerHealth {
  /** `ready`: it polls, and Temporal and the database answer. `stopping`: it was told to stop, or broke. */
  status: 'ready' | 'stopping' | 'unavailable';
  checks: {
    /** `ok`, or the code of the failure. */
    temporal: 'ok' | FailureCode;
    database: 'ok' | FailureCode;
  };
}

/** Within this time Temporal and the database must answer. */
export const healthTimeoutMs = 2_000;
/** However many probes ask, Temporal and the database are asked this often at most. */
const keptMs = 1_000;

/** What a worker works with. */
export interface Checked {
  states: () => ReturnType<Worker['getState']>[];
  connection: Pick<NativeConnection, 'withDeadline' | 'workflowService'>;
  /** Throws where the database does not answer in time. */
  database: () => Promise<void>;
}

/** A function that looks; calls at the same time, and within a second, share one look. */
export function createHealth({ states, connection, database }: Checked): () => Promise<WorkerHealth> {
  let looked: { at: number; answers: ReturnType<typeof look> } | undefined;
  return async () => {
    if (!looked || performance.now() - looked.at > keptMs)
      looked = { at: performance.now(), answers: look() };
    const checks = await looked.answers;
    if (states().some((state) => state !== 'RUNNING')) return { status: 'stopping', checks };
    const isAvailable = Object.values(checks).every((said) => said === 'ok');
    return { status: isAvailable ? 'ready' : 'unavailable', checks };
  };

  async function look(): Promise<WorkerHealth['checks']> {
    const deadline = Date.now() + healthTimeoutMs;
    const [temporal, ofDatabase] = await Promise.all([
      connection
        .withDeadline(deadline, () => connection.workflowService.getSystemInfo({}))
        .then(ok, (error: unknown) => toSessionChainError(temporalError(error)).code),
      // A pool whose connections are all in use answers no sooner.
      Promise.race([
        database().then(ok, (error: unknown) => toSessionChainError(error).code),
        sleep(healthTimeoutMs, 'DATABASE_UNAVAILABLE' as const, { ref: false }),
      ]),
    ]);
    return { temporal, database: ofDatabase };
  }
}

const ok = () => 'ok' as const;
