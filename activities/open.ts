import { Context } from '@temporalio/activity';
import type { OpenInput, OpenResult } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import { type Holder, openChain } from '../storage/chains.js';
import type { ActivityDependencies } from './dependencies.js';

/**
 * Takes the project's turn. A project that another chain works on is PROJECT_BUSY. A holder whose workflow is closed is
 * gone, but its agent may live on for a moment: until it is surely dead, `open` asks Temporal to be tried again.
 */
export async function open(
  deps: Pick<ActivityDependencies, 'pool' | 'closedRuns'>,
  input: OpenInput,
): Promise<OpenResult> {
  const { workflowExecution } = Context.current().info;
  if (!workflowExecution) throw new Error('The activity open belongs to a workflow.');
  const { workflowId, runId } = workflowExecution;

  let opened = await openChain(deps.pool, input, runId, null);
  if (opened.outcome === 'busy' && (await isGone(deps, opened.holder, workflowId))) {
    opened = await openChain(deps.pool, input, runId, opened.holder.runId);
  }
  switch (opened.outcome) {
    case 'opened': {
      const { head, baseSessionId, turn, warnings } = opened;
      return { head, baseSessionId, turn, warnings };
    }
    case 'busy':
      throw new SessionChainError(
        'PROJECT_BUSY',
        `The chain ${opened.holder.workflowId} (run ${opened.holder.runId}) works on this project.`,
      );
    case 'former_agent_alive':
      throw new SessionChainError(
        'HOLDER_ENDING',
        `The chain ${opened.holder.workflowId} closed without handing on its turn; its agent counts as dead in ${opened.waitMs} ms.`,
        undefined,
        // Its worker was told to stop, and may say sooner that it has.
        { retryAfterMs: Math.min(opened.waitMs, 1_000) },
      );
  }
}

/**
 * Of another workflow the latest run counts: a reset run goes on under the turn that a former one took. Of our own, the
 * latest run is this one. Where Temporal does not know, the holder is not gone.
 */
async function isGone(
  { closedRuns }: Pick<ActivityDependencies, 'closedRuns'>,
  { workflowId, runId }: Holder,
  ownWorkflowId: string,
): Promise<boolean> {
  return await closedRuns
    .isClosed(workflowId, workflowId === ownWorkflowId ? runId : undefined)
    .catch(() => false);
}
