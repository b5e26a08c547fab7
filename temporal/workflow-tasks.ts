import { type Client, type WorkflowExecutionDescription, WorkflowNotFoundError } from '@temporalio/client';
import type { FailingTask } from '../contracts/waiting.js';
import { startOf } from '../contracts/text.js';
import { workflowTypes } from './names.js';

/** Workflow tasks that fail: on code that does not replay, that throws, or that cannot read a payload. */

export interface FailingWorkflow extends FailingTask {
  workflowId: string;
  runId: string;
}

/**
 * Why a workflow stands still, by its description; null for one that does not. A first failure is none yet: Temporal itself fails a
 * task that it wants to begin anew, and the next worker may be able to.
 */
export async function failingTaskOf(
  client: Client,
  { workflowId, runId, raw }: WorkflowExecutionDescription,
): Promise<FailingTask | null> {
  const tries = raw.pendingWorkflowTask?.attempt ?? 0;
  if (tries < 2) return null;
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: client.options.namespace,
    execution: { workflowId, runId },
    maximumPageSize: 100,
  });
  // As JSON it has the causes by name.
  const events = JSON.parse(JSON.stringify(history?.events ?? [])) as TaskEvent[];
  const before = events.findIndex((event) => event.workflowTaskCompletedEventAttributes);
  const failures = events.slice(0, before === -1 ? events.length : before).filter(hasFailed);
  // Only the first ones in a row become events.
  const [last, first] = [failures[0], failures.at(-1)];
  if (!last || !first) return null;
  const { cause = '', failure, identity = '' } = last.workflowTaskFailedEventAttributes ?? {};
  // What a killed worker had begun times out once, and another worker takes it.
  if (!last.workflowTaskFailedEventAttributes && tries < 3) return null;
  const [message = ''] = (failure?.message ?? '').split('\n');
  return {
    since: new Date(Number(first.eventTime.seconds) * 1_000),
    tries,
    cause: cause.replace('WORKFLOW_TASK_FAILED_CAUSE_', '') || 'TIMED_OUT',
    message: startOf(message, 500),
    worker: identity,
  };
}

interface TaskEvent {
  eventTime: { seconds: string };
  workflowTaskCompletedEventAttributes?: object;
  workflowTaskTimedOutEventAttributes?: object;
  workflowTaskFailedEventAttributes?: {
    cause?: string;
    failure?: { message?: string };
    identity?: string;
  };
}

function hasFailed(event: TaskEvent): boolean {
  return Boolean(event.workflowTaskFailedEventAttributes ?? event.workflowTaskTimedOutEventAttributes);
}

/** How a workflow stands; null where Temporal does not have it. */
export async function describeWorkflow(
  client: Client,
  workflowId: string,
  runId?: string,
): Promise<WorkflowExecutionDescription | null> {
  return await client.workflow
    .getHandle(workflowId, runId)
    .describe()
    .catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    });
}

/** The workflow of a run; null where Temporal does not find it: its search lags a moment behind. */
export async function workflowOfRun(
  client: Client,
  runId: string,
): Promise<{ workflowId: string; isOurs: boolean } | null> {
  for await (const { workflowId, type } of client.workflow.list({ query: `RunId = '${runId}'` }))
    return { workflowId, isOurs: ourTypes.includes(type) };
  return null;
}

/** A worker of the host may run workflows of its own on the same task queue. */
const ourTypes: readonly string[] = Object.values(workflowTypes);

export interface OpenWorkflow {
  workflowId: string;
  runId: string;
}

/** The open workflows of session-chain on a task queue, the newest first. */
export async function* openWorkflows(client: Client, taskQueue: string): AsyncGenerator<OpenWorkflow> {
  const types = ourTypes.map((type) => `'${type}'`).join(', ');
  const query = `TaskQueue = '${taskQueue}' AND ExecutionStatus = 'Running' AND WorkflowType IN (${types})`;
  for await (const { workflowId, runId } of client.workflow.list({ query })) yield { workflowId, runId };
}

/** As many as Temporal is asked about at a time. */
const atATime = 20;

/** Those of the newest `limit` open workflows of a task queue that stand still. */
export async function failingWorkflows(
  client: Client,
  taskQueue: string,
  limit: number,
): Promise<{ open: number; more: boolean; failing: FailingWorkflow[] }> {
  const open: OpenWorkflow[] = [];
  let more = false;
  for await (const one of openWorkflows(client, taskQueue)) {
    more = open.length === limit;
    if (more) break;
    open.push(one);
  }
  const failing: FailingWorkflow[] = [];
  const left = [...open];
  const look = async () => {
    for (let one = left.shift(); one; one = left.shift()) {
      const described = await describeWorkflow(client, one.workflowId, one.runId);
      const task = described && (await failingTaskOf(client, described));
      if (task) failing.push({ ...one, ...task });
    }
  };
  await Promise.all(Array.from({ length: atATime }, look));
  failing.sort((a, b) => a.since.getTime() - b.since.getTime());
  return { open: open.length, more, failing };
}
