import { type Client, isGrpcServiceError } from '@temporalio/client';

/** A worker that polls for work. */
export interface Poller {
  /** `<pid>-<8 hex>@<hostname>` of the worker's process; of another library what that library says. */
  identity: string;
  lastSeen: Date;
}

const taskQueueTypes = { workflow: 1, activity: 2 } as const;
export type TaskQueueKind = keyof typeof taskQueueTypes;
/** A poll is held open for a minute at most. Temporal itself remembers pollers for five. */
const pollsWithinMs = 90_000;

/** The workers that poll a task queue now, as far as Temporal knows them. */
export async function pollersOf(client: Client, taskQueue: string, type: TaskQueueKind): Promise<Poller[]> {
  return pollingNow(await describe(client, taskQueue, type));
}

/**
 * The identities of the workers that poll for chains. That queue says which processes are there: one whose agents all work polls no
 * queue of agents for as long as they do.
 */
export async function identitiesPolling(client: Client, taskQueue: string): Promise<string[]> {
  const pollers = await pollersOf(client, taskQueue, 'workflow');
  return [...new Set(pollers.map(({ identity }) => identity))];
}

/** What waits in a task queue. Temporal counts approximately. */
export interface QueueState {
  pollers: Poller[];
  /** Tasks that no worker has taken; null where Temporal did not count. */
  backlog: number | null;
  /** How long the oldest of them has waited; 0 for none, null where Temporal did not say. */
  oldestAgeMs: number | null;
}

export async function queueStateOf(
  client: Client,
  taskQueue: string,
  type: TaskQueueKind,
): Promise<QueueState> {
  const described = await describe(client, taskQueue, type);
  const { approximateBacklogCount: count, approximateBacklogAge: age } = described.stats ?? {};
  return {
    pollers: pollingNow(described),
    backlog: count === undefined || count === null ? null : Number(count),
    oldestAgeMs: age ? Number(age.seconds ?? 0) * 1_000 + Math.round((age.nanos ?? 0) / 1e6) : null,
  };
}

type Described = Awaited<ReturnType<Client['workflowService']['describeTaskQueue']>>;

async function describe(client: Client, taskQueue: string, type: TaskQueueKind): Promise<Described> {
  return await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: taskQueueTypes[type],
    reportStats: true,
  });
}

function pollingNow({ pollers }: Described): Poller[] {
  return (pollers ?? [])
    .map(({ identity, lastAccessTime }) => ({
      identity: identity ?? '',
      lastSeen: new Date(Number(lastAccessTime?.seconds ?? 0) * 1_000),
    }))
    .filter(({ lastSeen }) => Date.now() - lastSeen.getTime() < pollsWithinMs);
}

/** The build id that a worker deployment routes new workflows to; null for none, or where Temporal does not know the deployment. */
export async function currentReleaseOf(client: Client, deploymentName: string): Promise<string | null> {
  const { namespace } = client.options;
  try {
    const { workerDeploymentInfo } = await client.workflowService.describeWorkerDeployment({
      namespace,
      deploymentName,
    });
    return workerDeploymentInfo?.routingConfig?.currentDeploymentVersion?.buildId ?? null;
  } catch (error) {
    if (isGrpcServiceError(error) && notThere.has(error.code)) return null;
    throw error;
  }
}

/** NOT_FOUND and UNIMPLEMENTED, as gRPC numbers them. */
const notThere = new Set([5, 12]);
