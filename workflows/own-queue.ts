import { ActivityFailure, ApplicationFailure, TimeoutFailure, sleep } from '@temporalio/workflow';
import type { Returned } from '../contracts/activities.js';

/** Of the activity that is offered. A worker that is there takes it within milliseconds. */
export const ownQueueOptions = {
  scheduleToStartTimeout: '1 s',
  retry: { maximumAttempts: 1 },
} as const;

/** What became of a task on the queue of the worker that keeps its process. */
export type Offered<Result> =
  | { taken: true; result: Result }
  /** All workers may take it now; `tries` of it have failed. */
  | { taken: false; tries: number };

/**
 * Offers a task to the worker that keeps its process, by an activity that is tried once. It goes to all workers where that one
 * is gone or returns it, at once, and where the try failed and another is left, after the pause that Temporal would make.
 */
export async function offer<Result extends object>(
  call: () => Promise<Result | Returned>,
  { maxAttempts, pauseMs }: { maxAttempts: number; pauseMs: number },
): Promise<Offered<Result>> {
  try {
    const result = await call();
    return isReturned(result) ? { taken: false, tries: 0 } : { taken: true, result };
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    const { cause, retryState } = error;
    if (cause instanceof TimeoutFailure && cause.timeoutType === 'SCHEDULE_TO_START')
      return { taken: false, tries: 0 };
    if (retryState !== 'MAXIMUM_ATTEMPTS_REACHED' || maxAttempts <= 1) throw error;
    await sleep((cause instanceof ApplicationFailure && cause.nextRetryDelay) || pauseMs);
    return { taken: false, tries: 1 };
  }
}

/** Calls an activity on the queue of all workers until one has a place for it, which is sooner than another is asked. */
export async function onAny<Result extends object>(call: () => Promise<Result | Returned>): Promise<Result> {
  for (;;) {
    const result = await call();
    if (!isReturned(result)) return result;
  }
}

function isReturned(result: object): result is Returned {
  return 'outcome' in result && result.outcome === 'returned';
}
