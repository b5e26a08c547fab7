import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { TemporalFailure } from '@temporalio/common';
import {
  type Failure,
  SessionChainError,
  failureOfCode,
  isRetryable,
  toFailure,
  toSessionChainError,
} from '../contracts/failures.js';
import { payloadVersion } from '../contracts/plan.js';
import type { ActivityLog } from './dependencies.js';
import type { Meter } from './meter.js';

/** The failure of an attempt whose end is in the journal. */
export class AttemptError extends Error {
  constructor(
    readonly failure: SessionChainError,
    /** Number of the attempt that failed. */
    readonly attempt: number,
  ) {
    super(failure.message, { cause: failure });
  }
}

export interface FailureReport {
  log: ActivityLog;
  meter: Meter;
  /** Stores the whole message in the database. */
  keep?: (failure: Failure) => Promise<void>;
}

/**
 * Runs an activity and turns its errors into what a workflow can read: type = the failure's code, message = what the code
 * means, details = [number of the attempt, the limit that was reached]. Messages may quote models, agents and files, so they stay in the database:
 * Temporal's histories hold codes. A cancellation that Temporal asked for stays one.
 */
export async function reportingFailures<Result>(
  input: { version: number },
  { log, meter, keep }: FailureReport,
  run: () => Promise<Result>,
): Promise<Result> {
  try {
    requireKnownVersion(input);
    return await run();
  } catch (error) {
    // Temporal's own, such as a cancellation.
    if (error instanceof TemporalFailure) throw error;
    const { failure, attempt } =
      error instanceof AttemptError ? error : { failure: toSessionChainError(error), attempt: undefined };
    meter.failed(failure);
    if (failure.code === 'INTERNAL') log.warn({ err: failure.cause }, 'An unexpected error.');
    await keep?.(toFailure(failure)).catch((cause: unknown) => {
      log.warn(
        { err: cause, code: failure.code, message: failure.message },
        'A failure could not be stored.',
      );
    });
    if (failure.code === 'CANCELLED' && Context.current().cancellationDetails?.cancelRequested) {
      throw new CancelledFailure(failureOfCode('CANCELLED').message);
    }
    throw ApplicationFailure.create({
      type: failure.code,
      message: failureOfCode(failure.code).message,
      nonRetryable: !isRetryable(failure.code),
      details: [attempt, failure.reached],
      ...(failure.retryAfterMs === undefined ? {} : { nextRetryDelay: failure.retryAfterMs }),
    });
  }
}

function requireKnownVersion({ version }: { version: number }): void {
  if (version === payloadVersion) return;
  throw new SessionChainError(
    'PAYLOAD_UNKNOWN',
    `The payload has the version ${String(version)}; this worker knows ${payloadVersion}.`,
  );
}
