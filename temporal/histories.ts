import { type Client, WorkflowNotFoundError, isGrpcServiceError } from '@temporalio/client';
import type { ProjectId } from '../contracts/ids.js';
import { isOfOther } from '../contracts/installation.js';
import { listWorkflows } from './listing.js';
import { workflowPrefixesOf } from './names.js';

/** The histories of one project in Temporal. */

export interface Execution {
  workflowId: string;
  runId: string;
}

export interface ProjectHistories {
  /** Every execution that works or worked for the project, as far as Temporal's search lists it; all runs. */
  list(projectId: ProjectId): AsyncIterable<Execution>;
  /** The latest run of a workflow; null where its history is gone. */
  latest(workflowId: string): Promise<Execution | null>;
  /** Terminates an execution that is open. */
  terminate(execution: Execution): Promise<void>;
  /** Terminates an execution and deletes its history, which Temporal does a moment later. */
  delete(execution: Execution): Promise<void>;
}

/** NOT_FOUND, as gRPC numbers it. */
const gone = new Set([5]);

/** Through a client of their namespace, but for those of another installation, whose project of that name is another one. */
export function createProjectHistories(
  client: Client,
  installationId: () => Promise<string>,
): ProjectHistories {
  const { namespace } = client.options;
  const terminate = async ({ workflowId, runId }: Execution) =>
    void (await client.workflow
      .getHandle(workflowId, runId)
      .terminate('The project is erased.')
      .catch(ignoreGone));
  return {
    async *list(projectId) {
      const own = await installationId();
      for (const prefix of workflowPrefixesOf(projectId)) {
        const query = `WorkflowId STARTS_WITH '${prefix}/' OR WorkflowId = '${prefix}'`;
        for await (const { workflowId, runId, memo } of listWorkflows(client, query)) {
          if (memo === null || isOfOther(memo, own)) continue;
          // A search may take no notice of case.
          if (workflowId === prefix || workflowId.startsWith(`${prefix}/`)) yield { workflowId, runId };
        }
      }
    },
    async latest(workflowId) {
      try {
        const { runId, memo } = await client.workflow.getHandle(workflowId).describe();
        return isOfOther(memo, await installationId()) ? null : { workflowId, runId };
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return null;
        throw error;
      }
    },
    terminate,
    async delete(execution) {
      await terminate(execution);
      await client.workflowService
        .deleteWorkflowExecution({ namespace, workflowExecution: execution })
        .catch(ignoreGone);
    },
  };
}

function ignoreGone(error: unknown): void {
  if (error instanceof WorkflowNotFoundError) return;
  if (isGrpcServiceError(error) && gone.has(error.code)) return;
  throw error;
}
