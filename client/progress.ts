import {
  type WorkflowExecutionDescription,
  type WorkflowHandle,
  defaultPayloadConverter,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type { StepProgress } from '../contracts/chain.js';
import { temporalError } from '../temporal/errors.js';

/** What a running step is doing right now. */
export interface LiveProgress extends Partial<StepProgress> {
  /** The activity: a step, `open`, `commit`, or one of the host. */
  step: string;
  /** Temporal's count of tries, 1 for the first. */
  tries: number;
  /** Why the try before this one failed. */
  lastFailure?: string;
}

/** The pending activity of a chain with its last heartbeat, from Temporal; null when none is pending. */
export async function readProgress(handle: WorkflowHandle): Promise<LiveProgress | null> {
  const description = await handle.describe().catch((error: unknown) => {
    if (error instanceof WorkflowNotFoundError) return null;
    throw temporalError(error);
  });
  const pending = description?.raw.pendingActivities?.[0];
  if (!pending) return null;
  const step = pending.activityType?.name ?? '';
  // The heartbeat details of an activity of the host are its own and are not read.
  const details = pending.heartbeatDetails?.payloads?.[0];
  const said: unknown = details && defaultPayloadConverter.fromPayload(details);
  return {
    step,
    tries: pending.attempt ?? 1,
    ...(isProgress(said) ? said : {}),
    ...(pending.lastFailure?.message ? { lastFailure: pending.lastFailure.message } : {}),
  };
}

/** Whether the pending activity of a chain is still in its task queue: no worker has taken it. */
export function waitsInItsTaskQueue({ raw }: WorkflowExecutionDescription): boolean {
  return Number(raw.pendingActivities?.[0]?.state) === scheduled;
}

/** PENDING_ACTIVITY_STATE_SCHEDULED, as Temporal numbers it. */
const scheduled = 1;

function isProgress(value: unknown): value is StepProgress {
  const { turns, activity } = (value ?? {}) as Partial<StepProgress>;
  return typeof turns === 'number' && typeof activity === 'string';
}
