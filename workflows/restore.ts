import { proxyActivities, workflowInfo } from '@temporalio/workflow';
import { payloadVersion } from '../contracts/plan.js';
import type { RestoreActivities, RestoreInput, RestoreOutcome } from '../contracts/retention.js';
import { onAnyWorker, onOwnInstallation } from './own-installation.js';
import { unknownPayload } from './payload-version.js';

/** Brings something of a project back from the archive. Its caller reads from the database why it failed. */
export async function restore(input: RestoreInput): Promise<RestoreOutcome> {
  if (input?.version !== payloadVersion) throw unknownPayload('the input', input?.version);
  const { restoreProject } = proxyActivities<RestoreActivities>({
    ...onAnyWorker,
    taskQueue: workflowInfo().taskQueue,
    startToCloseTimeout: '12 h',
    heartbeatTimeout: input.heartbeatTimeoutMs,
    retry: { initialInterval: '1 s', maximumInterval: '1 min', maximumAttempts: 10 },
  });
  return await onOwnInstallation(() => restoreProject(input));
}
