import { type WorkflowHandle, defaultPayloadConverter, WorkflowNotFoundError } from '@temporalio/client';
import type { StepProgress } from '../contracts/chain.js';

/** What a running step does just now. */
export interface LiveProgress extends Partial<StepProgress> {
  /** The activity: a step, `open` or `commit`. */
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
    throw error;
  });
  const pending = description?.raw.pendingActivities?.[0];
  if (!pending) return null;
  const details = pending.heartbeatDetails?.payloads?.[0];
  return {
    step: pending.activityType?.name ?? '',
    tries: pending.attempt ?? 1,
    ...(details ? defaultPayloadConverter.fromPayload<StepProgress>(details) : {}),
    ...(pending.lastFailure?.message ? { lastFailure: pending.lastFailure.message } : {}),
  };
}
