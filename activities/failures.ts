import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { SessionChainError, isRetryable } from '../contracts/failures.js';

/** Extra facts that a step's failure carries to its chain. */
export class StepError extends Error {
  constructor(
    readonly failure: SessionChainError,
    /** Number of the attempt that failed. */
    readonly attempt: number,
  ) {
    super(failure.message, { cause: failure });
  }
}

// Histories hold short labels only.
const longestMessage = 500;

/**
 * Runs an activity and turns its errors into what a workflow can read: type = the failure's code, details = [remedy,
 * number of the attempt]. A cancellation that Temporal asked for stays one.
 */
export async function reportingFailures<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    const { failure, attempt } = error instanceof StepError ? error : { failure: error, attempt: undefined };
    if (!(failure instanceof SessionChainError)) throw error;
    if (failure.code === 'CANCELLED' && Context.current().cancellationDetails?.cancelRequested) {
      throw new CancelledFailure(failure.message);
    }
    throw ApplicationFailure.create({
      type: failure.code,
      message: failure.message.slice(0, longestMessage),
      nonRetryable: !isRetryable(failure.code),
      details: [failure.remedy, attempt],
      ...(failure.retryAfterMs === undefined ? {} : { nextRetryDelay: failure.retryAfterMs }),
    });
  }
}
