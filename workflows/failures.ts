import { ActivityFailure, ApplicationFailure, TimeoutFailure, isCancellation } from '@temporalio/workflow';
import { type Failure, failureOfCode, isFailureCode } from '../contracts/failures.js';

/** What went wrong in an activity, from the error in which Temporal wraps it: the code, and what the code means. */
export function failureOf(error: unknown): Failure {
  if (isCancellation(error)) return failureOfCode('CANCELLED');
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure && isFailureCode(cause.type)) {
    const failure = failureOfCode(cause.type);
    // What this workflow threw itself is of its own words.
    return cause === error ? { ...failure, message: cause.message } : failure;
  }
  if (cause instanceof TimeoutFailure) {
    const { code, remedy } = failureOfCode('WORKER_LOST');
    return { code, message: `No worker finished the step in time (${cause.timeoutType}).`, remedy };
  }
  return failureOfCode('INTERNAL');
}

/** The number of the attempt that failed, where the failure tells it; else 0. */
export function attemptOf(error: unknown): number {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  const attempt = cause instanceof ApplicationFailure ? cause.details?.[0] : undefined;
  return typeof attempt === 'number' ? attempt : 0;
}
