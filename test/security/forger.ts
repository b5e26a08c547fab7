import { proxyActivities } from '@temporalio/workflow';

/** Calls any activity on any queue with any input, once, as a client of Temporal may who has a worker of its own. */
export async function forge(type: string, taskQueue: string, input: unknown): Promise<unknown> {
  const activities = proxyActivities<Record<string, (input: unknown) => Promise<unknown>>>({
    taskQueue,
    startToCloseTimeout: '2 min',
    retry: { maximumAttempts: 1 },
  });
  return await activities[type]?.(input);
}
