import type { Client } from '@temporalio/client';

/** A worker that polls for work. */
export interface Poller {
  /** `pid@host` of the worker's process. */
  identity: string;
  lastSeen: Date;
}

const taskQueueTypes = { workflow: 1, activity: 2 } as const;
/** A poll is held open for a minute at most. Temporal itself remembers pollers for five. */
const pollsWithinMs = 90_000;

/** The workers that poll a task queue now, as far as Temporal knows them. */
export async function pollersOf(
  client: Client,
  taskQueue: string,
  type: keyof typeof taskQueueTypes,
): Promise<Poller[]> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: taskQueueTypes[type],
  });
  return (pollers ?? [])
    .map(({ identity, lastAccessTime }) => ({
      identity: identity ?? '',
      lastSeen: new Date(Number(lastAccessTime?.seconds ?? 0) * 1_000),
    }))
    .filter(({ lastSeen }) => Date.now() - lastSeen.getTime() < pollsWithinMs);
}
