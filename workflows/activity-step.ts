import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { ChainActivities } from '../contracts/activities.js';
import type { BeginActivityInput } from '../contracts/chain.js';
import { type Failure, failureOfCode } from '../contracts/failures.js';
import { stepSummary } from './details.js';
import { callOnHost, hostFailure } from './host-activity.js';

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
    await callOnHost(plan, stepSummary(plan), begun.call);
    await end(null);
    return null;
  } catch (error) {
    if (isCancellation(error)) {
      await end(failureOfCode('CANCELLED'));
      throw error;
    }
    const { code, remedy } = failureOfCode('ACTIVITY_STEP_FAILED');
    const failure = { code, message: hostFailure(error, plan), remedy };
    await end(failure);
    return failure;
  }
}
