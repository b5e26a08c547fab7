import { ActivityFailure, ApplicationFailure, TimeoutFailure, isCancellation } from '@temporalio/workflow';
import { type Failure, failureOfCode, isFailureCode } from '../contracts/failures.js';

/** The limits with which an activity was called, in ms. */
export interface ActivityLimits {
  /** What the agent itself may take. */
  timeoutMs: number;
  /** What one try may take altogether. */
  startToCloseTimeoutMs: number;
  heartbeatTimeoutMs: number;
}

/**
 * What went wrong in an activity, from the error in which Temporal wraps it: the code, and what the code means; of a time-out
 * which limit passed.
 */
export function failureOf(error: unknown, limits?: ActivityLimits): Failure {
  if (isCancellation(error)) return failureOfCode('CANCELLED');
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure && isFailureCode(cause.type)) {
    const failure = failureOfCode(cause.type);
    // What this workflow threw itself is of its own words.
    return cause === error ? { ...failure, message: cause.message } : failure;
  }
  if (cause instanceof TimeoutFailure) return timedOut(cause, limits);
  return failureOfCode('INTERNAL');
}

function timedOut({ timeoutType }: TimeoutFailure, limits: ActivityLimits | undefined): Failure {
  const within = (ms: number | undefined) => (ms === undefined ? '' : ` within ${ms / 1000} s`);
  switch (timeoutType) {
    case 'START_TO_CLOSE': {
      const own = limits
        ? `, which is its time limit of ${limits.timeoutMs / 1000} s and the time to start, to stop and to commit`
        : '';
      return saying(
        'STEP_TIMED_OUT',
        `The last try did not end${within(limits?.startToCloseTimeoutMs)}${own}; its worker did not stop it.`,
      );
    }
    case 'HEARTBEAT':
      return saying('WORKER_LOST', `The worker sent no heartbeat${within(limits?.heartbeatTimeoutMs)}.`);
    case 'SCHEDULE_TO_START':
      return saying('WORKER_LOST', 'No worker took it in time: none polls its task queue, or all are busy.');
    default:
      return saying('STEP_TIMED_OUT', 'All tries together took longer than they may.');
  }
}

function saying(code: 'STEP_TIMED_OUT' | 'WORKER_LOST', message: string): Failure {
  return { ...failureOfCode(code), message };
}

/** The number of the attempt that failed, where the failure tells it; else 0. */
export function attemptOf(error: unknown): number {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  const attempt = cause instanceof ApplicationFailure ? cause.details?.[0] : undefined;
  return typeof attempt === 'number' ? attempt : 0;
}
