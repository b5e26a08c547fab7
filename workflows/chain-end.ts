import {
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  proxyActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type { DeliverEndInput, EndActivities } from '../contracts/end.js';
import { sameInstallation } from '../contracts/installation.js';
import { payloadVersion } from '../contracts/plan.js';
import { callOnHost, hostFailure } from './host-activity.js';
import { unknownPayload } from './payload-version.js';

/**
 * One round of calls of the host's activity for one end of a chain: until it succeeds, or its tries are used up. The row
 * of the end decides whether it is called, and a worker starts the next round; so nothing of it has to stay in Temporal.
 */
export async function chainEnd(input: DeliverEndInput): Promise<void> {
  if (input?.version !== payloadVersion) throw unknownPayload('the input', input?.version);
  const { version, key, onEnd } = input;
  const end = { version, key, ...sameInstallation(input) } as const;
  const { beginEnd, noteEnd } = proxyActivities<EndActivities>({
    taskQueue: workflowInfo().taskQueue,
    startToCloseTimeout: '30 s',
    retry: { initialInterval: '1 s', maximumInterval: '1 min' },
  });
  const note = async (failure: string | null) =>
    await CancellationScope.nonCancellable(() => noteEnd({ ...end, failure }));
  const call = await beginEnd(end);
  if (!call) return;
  try {
    await callOnHost(onEnd, call.status, call);
  } catch (error) {
    const failure = isCancellation(error) ? 'The workflow was cancelled.' : hostFailure(error, onEnd);
    await note(failure);
    if (isCancellation(error)) throw error;
    throw ApplicationFailure.create({ type: 'EndNotDelivered', message: failure, nonRetryable: true });
  }
  await note(null);
}
