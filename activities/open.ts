import { Context } from '@temporalio/activity';
import type { OpenInput, OpenResult } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import { type Holder, openChain } from '../storage/chains.js';
import type { ActivityDependencies } from './dependencies.js';

/**
 * Takes the project's turn. A project that another chain works on is PROJECT_BUSY. A holder whose workflow is closed
 * counts as gone once its agent is surely dead: after its heartbeat timeout plus the kill grace; until then `open`
 * asks Temporal to be tried again.
 */
export async function open(
  deps: Pick<ActivityDependencies, 'pool' | 'closedRuns'>,
  input: OpenInput,
): Promise<OpenResult> {
  const { workflowExecution } = Context.current().info;
  if (!workflowExecution) throw new Error('The activity open belongs to a workflow.');
  const { workflowId, runId } = workflowExecution;

  const first = await openChain(deps.pool, input, runId, null);
  if (first.outcome === 'opened') return resultOf(first);
  await requireGone(deps, first.holder, workflowId, input.heartbeatTimeoutMs + input.killGraceMs);
  const second = await openChain(deps.pool, input, runId, first.holder.runId);
  if (second.outcome === 'opened') return resultOf(second);
  throw busy(second.holder);
}

function resultOf({ head, baseSessionId, turn, warnings }: OpenResult): OpenResult {
  return { head, baseSessionId, turn, warnings };
}

async function requireGone(
  { closedRuns }: Pick<ActivityDependencies, 'closedRuns'>,
  holder: Holder,
  ownWorkflowId: string,
  agentDeadAfterMs: number,
): Promise<void> {
  // Of another workflow the latest run counts: a reset run goes on under the turn that a former one took. Of our own,
  // the latest run is this one.
  const closedAt = await closedRuns
    .closedAt(holder.workflowId, holder.workflowId === ownWorkflowId ? holder.runId : undefined)
    .catch(() => null);
  if (!closedAt) throw busy(holder);
  const waitMs = closedAt.getTime() + agentDeadAfterMs - Date.now();
  if (waitMs > 0) {
    throw new SessionChainError(
      'HOLDER_ENDING',
      `The chain ${holder.workflowId} closed without handing on its turn; its agent counts as dead in ${Math.ceil(waitMs / 1000)} s.`,
      undefined,
      { retryAfterMs: waitMs },
    );
  }
}

function busy(holder: Holder): SessionChainError {
  return new SessionChainError(
    'PROJECT_BUSY',
    `The chain ${holder.workflowId} (run ${holder.runId}) works on this project.`,
  );
}
