import { Context } from '@temporalio/activity';
import type { ChainCost, CloseInput } from '../contracts/chain.js';
import { closeChain, listOpenRuns, releaseChain } from '../storage/chains/chains.js';
import { chainElapsedMs, chainSpend } from '../storage/ledger/ledger.js';
import { wakeNext } from '../storage/chains/queue.js';
import { chainWorkflowId } from '../temporal/names.js';
import type { ActivityDependencies } from './dependencies.js';
import { failureFields, levelOf } from './log.js';
import { settleLedger } from './ledger.js';
import { holderEnding } from './open.js';

/** Writes how the chain ended, the version's final session and status, frees the project and wakes the next chain; its cost. */
export async function commit(
  deps: Pick<ActivityDependencies, 'pool' | 'createTranscriptStore' | 'chainRuns' | 'versionStatus' | 'log'>,
  input: CloseInput,
): Promise<ChainCost> {
  const { outcome, next } = await closeChain(deps.pool, input, {
    ticket: input.ticket,
    runId: Context.current().info.workflowExecution?.runId ?? '',
    result: input.result,
    versionStatus: deps.versionStatus,
  });
  if (outcome === 'fenced' && !(input.ticket === null && (await closeFormerRun(deps, input)))) {
    deps.log.warn('chain.close_refused');
  }
  await wakeNext(deps.pool, deps.chainRuns, input.projectId, next);
  await settleLedger(deps, input.projectId);
  const { costUsd, attemptsOfUnknownCost } = await chainSpend(deps.pool, input);
  if (outcome === 'closed') {
    const { status, failure, steps } = input.result;
    const stopped = steps.find((step) => step.status === 'failed' || step.status === 'cancelled');
    deps.log[failure ? levelOf(failure.code) : 'info']('chain.closed', {
      ...{ status, costUsd, attemptsOfUnknownCost },
      ...(failure && stopped ? { step: stopped.step } : {}),
      // Null for a chain that never opened.
      durationMs: Math.round(await chainElapsedMs(deps.pool, input)),
      ...(failure ? failureFields(failure) : {}),
    });
  }
  return { costUsd, attemptsOfUnknownCost };
}

/**
 * A run that never opened has no ticket to close its chain with. The chain is then kept open by a former run, and if
 * that run is over, nothing else would close the chain.
 */
async function closeFormerRun(
  { pool, chainRuns }: Pick<ActivityDependencies, 'pool' | 'chainRuns'>,
  input: CloseInput,
): Promise<boolean> {
  const workflowId = chainWorkflowId(input);
  const former = (await listOpenRuns(pool, input.projectId)).find((run) => run.workflowId === workflowId);
  if (!former || !(await chainRuns.isGone(former, workflowId))) return false;
  const released = await releaseChain(pool, input.projectId, former);
  if (released.outcome === 'former_agent_alive') throw holderEnding(former, released.waitMs);
  await wakeNext(pool, chainRuns, input.projectId, released.next);
  return true;
}
