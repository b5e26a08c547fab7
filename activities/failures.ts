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
import { mayBeHidden, requireAccess } from '../storage/db/host-access.js';
import { type Pool, isDatabaseAway } from '../storage/db/pool.js';
import { isInterruption } from '../storage/operations/operations.js';
import {
  type ActivityLog,
  type Log,
  type LogIds,
  failureFields,
  forActivity,
  isWorthALine,
  levelOf,
  levelOfPart,
  levelOfTry,
} from './log.js';
import type { Meter } from './meter.js';
import type { Outage } from './outage.js';

/** The failure of an attempt whose end is in the journal. */
export class AttemptError extends Error {
  constructor(
    readonly failure: SessionChainError,
    /** Number of the attempt that failed. */
    readonly attempt: number,
    /** Of the attempt. */
    readonly log: ActivityLog,
  ) {
    super(failure.message, { cause: failure });
  }
}

export interface FailureReport {
  pool: Pool;
  log: Log;
  meter: Meter;
  outages: { database: Outage };
  /** What its lines are about; they are loudest where nothing else tells of the failure. Default: the activity alone. */
  subject?: 'step' | 'question' | 'part of a chain';
  /** How often the operation may be tried, where this call of the activity is one try of several. */
  maxAttempts?: number;
  /** Stores the whole message in the database. */
  keep?: (failure: Failure) => Promise<void>;
}

/**
 * Runs an activity with a log that knows its ids, logs how it failed, and turns its errors into what a workflow can read: type =
 * the failure's code, message = what the code means, details = [number of the attempt, the limit that was reached]. Messages may
 * quote models, agents and files, so they stay in the database: Temporal's histories hold codes. A cancellation that Temporal
 * asked for stays one. A row that is not found may be hidden by row-level security of the host, which is told instead, as that
 * may be put right while a chain waits. Tries are few: where the database was away before an attempt began,
 * `untilDatabaseAnswers` is the result in place of one more failure.
 */
export async function reportingFailures<Result>(
  input: { version: number },
  report: FailureReport & { untilDatabaseAnswers?: (log: ActivityLog) => Result },
  run: (log: ActivityLog) => Promise<Result>,
): Promise<Result> {
  const { meter, keep } = report;
  const ofCall = forActivity(report.log, idsOf(input, report));
  try {
    requireKnownVersion(input);
    return await run(ofCall);
  } catch (error) {
    // Temporal's own, such as a cancellation.
    if (error instanceof TemporalFailure) throw error;
    const {
      failure: found,
      attempt,
      log,
    } = error instanceof AttemptError
      ? error
      : { failure: toSessionChainError(error), attempt: undefined, log: ofCall };
    const failure = await unlessHidden(report.pool, found);
    meter.failed(failure);
    if (isDatabaseAway(failure)) report.outages.database.trouble(log, failureFields(failure));
    const isBeforeAttempt = attempt === undefined;
    if (report.untilDatabaseAnswers && isBeforeAttempt && isDatabaseAway(failure) && !isStopped())
      return report.untilDatabaseAnswers(log);
    logFailure(log, report, failure);
    await keep?.(toFailure(failure)).catch((cause: unknown) => {
      log[isDatabaseAway(cause) ? 'info' : 'warn']('failure.not_stored', { code: failure.code, err: cause });
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

function isStopped(): boolean {
  return Context.current().cancellationSignal.aborted;
}

async function unlessHidden(pool: Pool, failure: SessionChainError): Promise<SessionChainError> {
  if (!mayBeHidden(failure)) return failure;
  return await requireAccess(pool).then(
    () => failure,
    (error: unknown) => toSessionChainError(error),
  );
}

/** One line: a try that another follows, or the last one. */
function logFailure(
  log: ActivityLog,
  { subject, maxAttempts }: FailureReport,
  failure: SessionChainError,
): void {
  const { attempt, retryPolicy } = Context.current().info;
  const { code } = failure;
  const ofWhat = subject === 'step' || subject === 'question' ? subject : 'activity';
  const fields = {
    ...failureFields(failure),
    ...(code === 'INTERNAL' ? { err: failure.cause } : {}),
  };
  if (isInterruption(code)) {
    if (ofWhat !== 'activity') log.info(`${ofWhat}.interrupted`, fields);
    return;
  }
  const most = maxAttempts ?? retryPolicy?.maximumAttempts ?? 0;
  if (isRetryable(code) && (most === 0 || attempt < most)) {
    // What is tried without end says so at every doubling.
    if (ofWhat === 'activity' && !isWorthALine(attempt)) return;
    const loud = levelOfTry(code, attempt);
    // The end of an operation has the level; what has no end but success pages by its tries.
    return log[loud === 'error' && ofWhat !== 'activity' ? 'warn' : loud](`${ofWhat}.retried`, {
      ...fields,
      tries: attempt,
      ...(failure.retryAfterMs === undefined ? {} : { waitMs: failure.retryAfterMs }),
    });
  }
  const level = subject === undefined ? levelOf(code) : levelOfPart(code);
  log[level](`${ofWhat}.failed`, { ...fields, tries: attempt });
}

const idNames = ['projectId', 'versionId', 'buildId', 'chatId', 'questionId', 'step'] as const;

/** The ids in the input of an activity, and what Temporal knows of the call. */
function idsOf(input: object, { subject }: FailureReport): LogIds & { workflowId: string } {
  const { info } = Context.current();
  const given = { ...input, ...('request' in input ? (input.request as object) : {}) } as Record<
    string,
    unknown
  >;
  return {
    ...Object.fromEntries(
      idNames.flatMap((name) => (typeof given[name] === 'string' ? [[name, given[name]]] : [])),
    ),
    workflowId: info.workflowExecution?.workflowId ?? '',
    ...(subject === 'step' || subject === 'question' ? {} : { activity: info.activityType }),
  };
}

function requireKnownVersion({ version }: { version: number }): void {
  if (version === payloadVersion) return;
  throw new SessionChainError(
    'PAYLOAD_UNKNOWN',
    `The payload has the version ${String(version)}; this worker knows ${payloadVersion}.`,
  );
}
