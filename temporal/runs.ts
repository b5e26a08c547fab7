import { type Client, WorkflowNotFoundError, isGrpcServiceError } from '@temporalio/client';
import type { ChainRun, ChainRuns } from '../contracts/chain-runs.js';
import { isOfOther } from '../contracts/installation.js';
import { signals } from './names.js';

/** Looks up runs, and wakes them, through a client of their namespace. A workflow of another installation is none of ours. */
export function createChainRuns(client: Client, installationId: () => Promise<string>): ChainRuns {
  let home: Promise<string> | undefined;
  const homeOf = () => {
    home ??= findHome(client);
    home.catch(() => (home = undefined));
    return home;
  };
  const livesElsewhere = async (run: ChainRun) => run.home !== null && run.home !== (await homeOf());
  return {
    home: homeOf,
    async isGone(run, ownWorkflowId) {
      try {
        if (await livesElsewhere(run)) return false;
        const runId = run.workflowId === ownWorkflowId ? run.runId : undefined;
        const { status, memo } = await client.workflow.getHandle(run.workflowId, runId).describe();
        if (isOfOther(memo, await installationId())) return true;
        return status.name !== 'RUNNING' && status.name !== 'PAUSED';
      } catch (error) {
        return error instanceof WorkflowNotFoundError;
      }
    },
    async wake(run) {
      try {
        if (await livesElsewhere(run)) return true;
        await client.workflow.getHandle(run.workflowId).signal(signals.projectFree);
        return true;
      } catch (error) {
        return !(error instanceof WorkflowNotFoundError);
      }
    },
  };
}

/** PERMISSION_DENIED and UNIMPLEMENTED, as gRPC numbers them. */
const keepsToItself = new Set([7, 12]);

async function findHome(client: Client): Promise<string> {
  const { namespace } = client.options;
  const { namespaceInfo } = await client.workflowService.describeNamespace({ namespace });
  const cluster = await client.workflowService.getClusterInfo({}).catch((error: unknown) => {
    // A hosted Temporal may not reveal its cluster; the namespace's own id is unique enough then. Any other error
    // must not give this process a home of another name than its neighbours have.
    if (isGrpcServiceError(error) && keepsToItself.has(error.code)) return null;
    throw error;
  });
  return `${cluster?.clusterId ?? ''}/${namespaceInfo?.id ?? namespace}`;
}
