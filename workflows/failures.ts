import { ActivityFailure, ApplicationFailure, TimeoutFailure, isCancellation } from '@temporalio/workflow';
import { type Failure, isFailureCode, remedyFor } from '../contracts/failures.js';

/** What went wrong in an activity, from the error in which Temporal wraps it. */
export function failureOf(error: unknown): Failure {
  if (isCancellation(error)) {
    return { code: 'CANCELLED', message: 'The workflow was cancelled.', remedy: remedyFor('CANCELLED') };
  }
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure && isFailureCode(cause.type)) {
    const remedy = cause.details?.[0];
    return {
      code: cause.type,
      message: cause.message,
      remedy: typeof remedy === 'string' ? remedy : remedyFor(cause.type),
    };
  }
  if (cause instanceof TimeoutFailure) {
    return {
      code: 'WORKER_LOST',
      message: `No worker finished the step in time (${cause.timeoutType}).`,
      remedy: remedyFor('WORKER_LOST'),
    };
  }
  return {
    code: 'AGENT_FAILED',
    message: cause instanceof Error ? cause.message : String(cause),
    remedy: remedyFor('AGENT_FAILED'),
  };
}
