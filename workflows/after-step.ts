import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  TimeoutFailure,
} from '@temporalio/workflow';
import type { ChainInput, CommittedStep } from '../contracts/chain.js';
import { type Failure, remedyFor } from '../contracts/failures.js';
import type { AfterActivity, AfterStepInput } from '../contracts/plan.js';

type HostActivities = Record<string, (call: AfterStepInput) => Promise<unknown>>;

/**
 * Calls the host's activity for a step that has committed, and returns why it failed or null. Rejects when the chain is
 * cancelled. At least once: a chain that is started again calls it again, with the same transition id.
 */
export async function callAfterStep(
  { projectId, versionId, buildId }: ChainInput,
  { step, transitionId, attemptId, newSessionId }: CommittedStep,
  after: AfterActivity,
  workspace: string,
): Promise<Failure | null> {
  const call: AfterStepInput = {
    ...{ projectId, versionId, buildId, step, workspace },
    // A step that was committed before there were such calls has no transition id in its stored result.
    transitionId: transitionId ?? attemptId,
    sessionId: newSessionId,
  };
  const { scheduleToStartTimeoutMs, startToCloseTimeoutMs, heartbeatTimeoutMs, maxAttempts } = after;
  // Between tries 5 + 10 + 20 … s, and each may wait in the queue for as long as it may run: it ends for sure. It is
  // told of a cancellation, and not waited for, because one without heartbeats would never learn of it.
  const activities = proxyActivities<HostActivities>({
    taskQueue: after.taskQueue,
    scheduleToStartTimeout: scheduleToStartTimeoutMs,
    startToCloseTimeout: startToCloseTimeoutMs,
    ...(heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeout: heartbeatTimeoutMs }),
    retry: { initialInterval: '5 s', maximumInterval: '1 min', maximumAttempts: maxAttempts },
    cancellationType: 'TRY_CANCEL',
    summary: `${after.activity} after ${step}`,
  });
  try {
    await activities[after.activity]?.(call);
    return null;
  } catch (error) {
    if (isCancellation(error)) throw error;
    return {
      code: 'AFTER_ACTIVITY_FAILED',
      message: `The activity ${after.activity} on the task queue ${after.taskQueue} ${reasonOf(error, after)}.`,
      remedy: remedyFor('AFTER_ACTIVITY_FAILED'),
    };
  }
}

// Histories hold short labels only, and the host's message may be of any length.
const longestReason = 300;

function reasonOf(error: unknown, after: AfterActivity): string {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof TimeoutFailure) {
    switch (cause.timeoutType) {
      case 'SCHEDULE_TO_START':
        return `was taken by nobody within ${after.scheduleToStartTimeoutMs / 1000} s: no worker polls that queue, or all are busy`;
      case 'HEARTBEAT':
        return `sent no heartbeat for ${(after.heartbeatTimeoutMs ?? 0) / 1000} s`;
      default:
        return `did not end within ${after.startToCloseTimeoutMs / 1000} s`;
    }
  }
  const message = (cause instanceof Error ? cause.message : String(cause)).slice(0, longestReason);
  const type = cause instanceof ApplicationFailure && cause.type ? `${cause.type}: ` : '';
  return `failed: ${type}${message.replace(/[\s.]+$/, '')}`;
}
