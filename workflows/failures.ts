import { ActivityFailure, ApplicationFailure, TimeoutFailure, isCancellation } from '@temporalio/workflow';
import { type Failure, failureOfCode, isFailureCode } from '../contracts/failures.js';
import { isReachedLimit, limitRemedy } from '../contracts/limits.js';

/** The limits with which an activity was called, in ms. */
export interface ActivityLimits {
  /** The time that the agent itself may take. */
  timeoutMs: number;
  /** The time that one try may take in total. */
  startToCloseTimeoutMs: number;
  heartbeatTimeoutMs: number;
}

/**
 * What went wrong in an activity, from the error in which Temporal wraps it: the code, and what the code means; for a
 * time-out, which limit was exceeded.
 */
export function failureOf(error: unknown, limits?: ActivityLimits): Failure {
  if (isCancellation(error)) return failureOfCode('CANCELLED');
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure && isFailureCode(cause.type)) {
    const failure = { ...failureOfCode(cause.type), ...remedyOfLimit(cause) };
    // What this workflow threw itself is of its own words.
    return cause === error ? { ...failure, message: cause.message } : failure;
  }
  if (cause instanceof TimeoutFailure) return timedOut(cause, limits);
  return failureOfCode('INTERNAL');
}

/** Of what was reached only the limit's name travels: what to raise. */
function remedyOfLimit({ details }: ApplicationFailure): Pick<Failure, 'remedy'> | undefined {
  const reached = details?.[1];
  return isReachedLimit(reached) ? { remedy: limitRemedy(reached) } : undefined;
}

// A step's own time limit is kept by its worker, which says STEP_TIMED_OUT. A limit of Temporal passes where the worker did not.
function timedOut({ timeoutType }: TimeoutFailure, limits: ActivityLimits | undefined): Failure {
  return { ...failureOfCode('WORKER_LOST'), message: passed(timeoutType, limits) };
}

function passed(timeoutType: TimeoutFailure['timeoutType'], limits: ActivityLimits | undefined): string {
  const within = (ms: number | undefined) => (ms === undefined ? '' : ` within ${ms / 1000} s`);
  switch (timeoutType) {
    case 'START_TO_CLOSE': {
      const own = limits
        ? `, which is its time limit of ${limits.timeoutMs / 1000} s and the time to start, to stop and to commit`
        : '';
      return `The last try did not end${within(limits?.startToCloseTimeoutMs)}${own}: its worker hung, or waited for the database.`;
    }
    case 'HEARTBEAT':
      return `The worker sent no heartbeat${within(limits?.heartbeatTimeoutMs)}.`;
    case 'SCHEDULE_TO_START':
      return 'No worker took it in time: none polls its task queue, or all are busy.';
    default:
      return 'All tries together took longer than they may.';
  }
}

/** The number of the attempt that failed, where the failure tells it; else 0. */
export function attemptOf(error: unknown): number {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  const attempt = cause instanceof ApplicationFailure ? cause.details?.[0] : undefined;
  return typeof attempt === 'number' ? attempt : 0;
}
