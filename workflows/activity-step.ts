import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  TimeoutFailure,
  isCancellation,
  proxyActivities,
} from '@temporalio/workflow';
import type { ChainActivities } from '../contracts/activities.js';
import type { BeginActivityInput } from '../contracts/chain.js';
import { type Failure, failureOfCode } from '../contracts/failures.js';
import type { ActivityStepInput, ActivityStepPlan } from '../contracts/plan.js';
import { stepSummary } from './details.js';

type HostActivities = Record<string, (call: ActivityStepInput) => Promise<unknown>>;

/**
 * A step that is an activity of the host: its row is written before and after, and the call has the same key at every
 * restart. Returns why it failed, null for success. Rejects when the chain is cancelled. At least once: the host's
 * activity may have run even if its end did not arrive.
 */
export async function callHostActivity(
  database: ChainActivities,
  input: BeginActivityInput,
): Promise<Failure | null> {
  const begun = await database.beginActivity(input);
  if (begun.outcome === 'completed') return null;
  const { head: _head, plan, ...call } = input;
  const end = async (failure: Failure | null) =>
    await CancellationScope.nonCancellable(() => database.endActivity({ ...call, failure }));
  try {
    await activityOf(plan)?.(begun.call);
    await end(null);
    return null;
  } catch (error) {
    if (isCancellation(error)) {
      await end(failureOfCode('CANCELLED'));
      throw error;
    }
    const { code, remedy } = failureOfCode('ACTIVITY_STEP_FAILED');
    const failure = {
      code,
      message: `The activity ${plan.activity} on the task queue ${plan.taskQueue} ${reasonOf(error, plan)}.`,
      remedy,
    };
    await end(failure);
    return failure;
  }
}

// Between tries 5 + 10 + 20 … s, and each may stay in the queue for as long as it may run: it ends for sure. It is told
// about a cancellation, and not waited for, because one without heartbeats would never learn of it.
function activityOf(plan: ActivityStepPlan) {
  const { activity, taskQueue, maxAttempts, ...timeouts } = plan;
  const activities = proxyActivities<HostActivities>({
    taskQueue,
    scheduleToStartTimeout: timeouts.scheduleToStartTimeoutMs,
    startToCloseTimeout: timeouts.startToCloseTimeoutMs,
    ...(timeouts.heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeout: timeouts.heartbeatTimeoutMs }),
    retry: { initialInterval: '5 s', maximumInterval: '1 min', maximumAttempts: maxAttempts },
    cancellationType: 'TRY_CANCEL',
    summary: stepSummary(plan),
  });
  return activities[activity];
}

// The host's own message is in the history already; a type is a label, a message may have any length.
function reasonOf(error: unknown, plan: ActivityStepPlan): string {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof TimeoutFailure) {
    switch (cause.timeoutType) {
      case 'SCHEDULE_TO_START':
        return `was not taken within ${plan.scheduleToStartTimeoutMs / 1000} s: no worker polls that queue, or all are busy`;
      case 'HEARTBEAT':
        return `sent no heartbeat for ${(plan.heartbeatTimeoutMs ?? 0) / 1000} s`;
      case 'START_TO_CLOSE':
        return `did not end within ${plan.startToCloseTimeoutMs / 1000} s`;
      default:
        return 'took longer in all its tries together than it may';
    }
  }
  return cause instanceof ApplicationFailure && cause.type ? `failed with ${cause.type}` : 'failed';
}
