import {
  ActivityFailure,
  ApplicationFailure,
  ServerFailure,
  TimeoutFailure,
  proxyActivities,
} from '@temporalio/workflow';
import type { HostActivity } from '../contracts/plan.js';
import { shorten } from '../contracts/text.js';

type HostActivities = Record<string, (call: object) => Promise<unknown>>;

/** Calls an activity of the host; `summary` is what Temporal's Web UI shows of it. */
// Between tries 5 + 10 + 20 … s, and each may stay in the queue for as long as it may run: it ends for sure. It is told
// about a cancellation, and not waited for, because one without heartbeats would never learn of it.
export async function callOnHost(host: HostActivity, summary: string, call: object): Promise<void> {
  const { activity, taskQueue, maxAttempts, ...timeouts } = host;
  const activities = proxyActivities<HostActivities>({
    taskQueue,
    scheduleToStartTimeout: timeouts.scheduleToStartTimeoutMs,
    startToCloseTimeout: timeouts.startToCloseTimeoutMs,
    ...(timeouts.heartbeatTimeoutMs === undefined ? {} : { heartbeatTimeout: timeouts.heartbeatTimeoutMs }),
    retry: { initialInterval: '5 s', maximumInterval: '1 min', maximumAttempts: maxAttempts },
    cancellationType: 'TRY_CANCEL',
    summary,
  });
  await activities[activity]?.(call);
}

/** Why it failed, in a sentence. */
export function hostFailure(error: unknown, host: HostActivity): string {
  return `The activity ${host.activity} on the task queue ${host.taskQueue} ${reasonOf(error, host)}.`;
}

// The host's own message is in the history already. A type is a label, which the host may misuse; a server's words are Temporal's.
function reasonOf(error: unknown, host: HostActivity): string {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof TimeoutFailure) {
    switch (cause.timeoutType) {
      case 'SCHEDULE_TO_START':
        return `was not taken within ${host.scheduleToStartTimeoutMs / 1000} s: no worker polls that queue, or all are busy`;
      case 'HEARTBEAT':
        return `sent no heartbeat for ${(host.heartbeatTimeoutMs ?? 0) / 1000} s`;
      case 'START_TO_CLOSE':
        return `did not end within ${host.startToCloseTimeoutMs / 1000} s`;
      default:
        return 'took longer in all its tries together than it may';
    }
  }
  if (cause instanceof ServerFailure) return `failed: ${shorten(cause.message, 200)}`;
  return cause instanceof ApplicationFailure && cause.type
    ? `failed with ${shorten(cause.type, 200)}`
    : 'failed';
}
