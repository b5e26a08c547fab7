import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { type ActivityInterceptorsFactory, DefaultLogger, type LogEntry } from '@temporalio/worker';
import type { Log, LogLevel } from '../activities/log.js';
import { isFailureCode } from '../contracts/failures.js';

/** What of the context that Temporal's library gives a line may be in the log: its task tokens never. */
const kept = ['workflowId', 'workflowType', 'activityType', 'attempt', 'taskQueue'] as const;

/** A logger for Temporal's library: what it says and we do not, from warnings on, as lines of ours. */
export function temporalLogger(log: Log): DefaultLogger {
  return new DefaultLogger('WARN', (entry) => {
    if (isToldByUs(entry)) return;
    const { message, level, meta = {} } = entry;
    const error: unknown = meta['error'] ?? meta['err'];
    const about = Object.fromEntries(kept.flatMap((name) => (name in meta ? [[name, meta[name]]] : [])));
    log[levels[level] ?? 'warn']('temporal.sdk', {
      ...{ ...about, said: message },
      ...(error === undefined ? {} : { err: error }),
    });
  });
}

/** Keeps task tokens out of what Temporal's library says of these activities, whichever logger the process has. */
export function withoutTaskTokens(isOurs: (activityType: string) => boolean): ActivityInterceptorsFactory {
  return ({ info }) =>
    isOurs(info.activityType)
      ? { outbound: { getLogAttributes: ({ taskToken: _, ...about }, next) => next(about) } }
      : {};
}

const levels: Readonly<Record<string, LogLevel>> = { WARN: 'warn', ERROR: 'error' };

function isToldByUs({ message, meta }: LogEntry): boolean {
  // Most of our workers poll for one of both.
  if (/^No (workflows|activities) registered/.test(message)) return true;
  const { error } = (meta ?? {}) as { error?: unknown };
  // `activity.failed`, `step.failed` and their like; and `chain.closed`.
  if (message === 'Activity failed')
    return (
      error instanceof CancelledFailure || (error instanceof ApplicationFailure && isFailureCode(error.type))
    );
  // `workflow.task_failing`, once for each cause and not for each try.
  if (message === 'Failed to process Workflow Activation') return true;
  return message === 'Workflow failed' && meta?.['workflowType'] === 'chain';
}
