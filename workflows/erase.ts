import { proxyActivities, sleep, workflowInfo } from '@temporalio/workflow';
import type { EraseActivities, EraseInput } from '../contracts/erasure.js';
import { payloadVersion } from '../contracts/plan.js';
import { unknownPayload } from './payload-version.js';

/**
 * Erases a project: stops what works for it, deletes what is outside of the database, then the rows that say where that
 * was. It begins anew where something came up meanwhile.
 */
export async function erase(input: EraseInput): Promise<void> {
  if (input?.version !== payloadVersion) throw unknownPayload('the input', input?.version);
  const activities = proxyActivities<EraseActivities>({
    taskQueue: workflowInfo().taskQueue,
    startToCloseTimeout: '1 h',
    heartbeatTimeout: input.heartbeatTimeoutMs,
    retry: { initialInterval: '1 s', maximumInterval: '1 min' },
  });
  const until = async (isDone: () => Promise<boolean>) => {
    for (let seconds = 1; !(await isDone()); seconds = Math.min(seconds * 2, 30))
      await sleep(seconds * 1_000);
  };
  await until(async () => {
    await until(() => activities.stopWork(input));
    await until(() => activities.eraseHistories(input));
    await activities.eraseArchive(input);
    await activities.eraseCheckpoints(input);
    await activities.eraseRunFiles(input);
    while (!(await activities.eraseRows(input)));
    return await activities.certify(input);
  });
}
