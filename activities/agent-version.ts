import type { StepInput, WaitingStep } from '../contracts/chain.js';
import { type ChainOfStep, noteWaiting } from '../storage/chains/chains.js';
import { endSearch } from '../storage/workspaces/searches.js';
import type { ActivityDependencies } from './dependencies.js';
import { waitFields } from './log.js';
import { lookAgain, tellWait, triesBefore, workerName } from './workspace.js';

/**
 * A chain keeps the version of Claude Code that it began with, where possible: a worker with another one leaves the
 * step to others, as it does with a folder that it does not have. If no worker has had the right version for the whole
 * waiting time, the step and the chain continue with the present one, and a warning says so.
 */
export async function keepAgentVersion(
  deps: Pick<ActivityDependencies, 'pool' | 'agent' | 'workspaceWaitMs' | 'log'>,
  input: StepInput,
  { agentVersion: former }: Pick<ChainOfStep, 'agentVersion'>,
  isCommitted: () => Promise<boolean>,
): Promise<WaitingStep | { outcome: 'goes_on'; warnings: string[] }> {
  const { pool, log } = deps;
  const { step, chainId, ticket } = input;
  const search = `agent:${chainId}:${ticket}`;
  const here = await deps.agent.version();
  if (former === null || here === null || here === former) {
    if (input.waits > 0) await endSearch(pool, search);
    return { outcome: 'goes_on', warnings: [] };
  }
  // A committed step needs no agent.
  if (await isCommitted()) return { outcome: 'goes_on', warnings: [] };
  const trouble = `This worker has Claude Code ${here}, and the chain works with ${former}.`;
  const { waitMs, isOverdue, searchedMs, looks } = await lookAgain(deps, {
    search,
    trouble: { code: 'AGENT_NOT_FOUND', message: trouble },
  });
  if (isOverdue) {
    await endSearch(pool, search);
    const waited = `no worker with ${former} has taken it for ${Math.round(searchedMs / 1_000)} s`;
    return {
      outcome: 'goes_on',
      warnings: [
        `The ${step} step ran with Claude Code ${here}, and what came before it in the chain with ${former}: ${waited}.`,
      ],
    };
  }
  const waitingFor = `${step}: a worker with Claude Code ${former}. ${workerName()}: ${trouble}`;
  tellWait(log, looks, { reason: trouble, ...waitFields(`a worker with Claude Code ${former}`, waitMs) });
  await noteWaiting(pool, input, { waitMs, waitingFor, code: 'AGENT_NOT_FOUND' });
  return {
    outcome: 'waiting',
    ...{ step, waitMs, attempt: 0, tries: triesBefore() },
    reason: `No worker with Claude Code ${former} has taken it: start one, or wait until it goes on with ${here}.`,
  };
}
