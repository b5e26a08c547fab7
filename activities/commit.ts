import { Context } from '@temporalio/activity';
import type { CloseInput } from '../contracts/chain.js';
import { closeChain } from '../storage/chains/chains.js';
import { wakeNext } from '../storage/chains/queue.js';
import { chainWorkflowId } from '../temporal/names.js';
import type { ActivityDependencies } from './dependencies.js';
import { settleLedger } from './ledger.js';

/** Writes how the chain ended, the version's final session and status, frees the project and wakes the next chain. */
export async function commit(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore' | 'chainRuns' | 'log'>,
  input: CloseInput,
): Promise<void> {
  const { outcome, next } = await closeChain(deps.pool, input, {
    ticket: input.ticket,
    runId: Context.current().info.workflowExecution?.runId ?? '',
    result: input.result,
    versionStatus: input.versionStatus,
  });
  if (outcome === 'fenced') {
    deps.log.warn(
      { workflowId: chainWorkflowId(input) },
      'The chain was taken over; its end changed nothing.',
    );
  }
  await wakeNext(deps.pool, deps.chainRuns, input.projectId, next);
  await settleLedger(deps, input.projectId);
}
