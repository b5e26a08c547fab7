import { Context } from '@temporalio/activity';
import type { ChainRun } from '../contracts/chain-runs.js';
import type { OpenInput, OpenResult } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import { resolvePlan } from '../definition/resolve-plan.js';
import { type OpenOptions, chainOfRun, openChain } from '../storage/chains/chains.js';
import { wakeNext } from '../storage/chains/queue.js';
import { nearestValidAncestor, recoveryWarning } from '../storage/heads/recovery.js';
import type { ActivityDependencies } from './dependencies.js';

/**
 * Takes the project for a chain, or a position in its queue, and resolves the plan of a chain that opens. A chain in
 * the way whose workflow is closed is taken out; until the lease of its agent has expired, `open` asks Temporal for a
 * retry. A head whose transcript is lost is replaced as base by its nearest ancestor that is whole, with a warning.
 */
export async function open(
  deps: Pick<ActivityDependencies, 'pool' | 'chainRuns' | 'definition' | 'log'>,
  input: OpenInput,
): Promise<OpenResult> {
  const { workflowExecution } = Context.current().info;
  if (!workflowExecution) throw new Error('The activity open belongs to a workflow.');
  const { workflowId, runId } = workflowExecution;
  const { steps } = await chainOfRun(deps.pool, input);
  const { plan, reset } = resolvePlan(deps.definition, input.overrides, steps);
  const opener = { runId, home: await deps.chainRuns.home(), ticket: input.ticket };
  const options: OpenOptions = {
    opening: input.opening ?? 1,
    plan: plan.steps.map(({ name, kind, role, critical }) => ({
      name,
      kind,
      ...(role ? { role } : {}),
      critical,
    })),
    deploys: plan.deploys ?? false,
    budget: plan.budget,
    reset,
    recover: input.recover ?? false,
  };

  let goneRunId: string | null = null;
  let earlierWarnings: string[] = [];
  for (;;) {
    const answer = await openChain(deps.pool, input, opener, goneRunId, options);
    switch (answer.outcome) {
      case 'opened':
        deps.log.info('chain.opened', {
          head: answer.head.sessionId,
          seq: answer.head.seq,
          from: answer.origin.kind,
          steps: plan.steps.map(({ name }) => name),
          ...(options.opening === 1 ? {} : { opening: options.opening }),
        });
        return { ...answer, warnings: [...earlierWarnings, ...answer.warnings], plan };
      case 'head_lost': {
        opener.ticket = answer.ticket;
        const recovery = await nearestValidAncestor(deps.pool, input.projectId, answer.sessionId);
        options.recovery = { head: answer.sessionId, base: recovery.sessionId };
        earlierWarnings = [...answer.warnings, recoveryWarning(answer.sessionId, recovery)];
        break;
      }
      case 'queued': {
        const { ticket, position, blocker, holds } = answer;
        if (blocker.runId !== goneRunId && (await deps.chainRuns.isGone(blocker, workflowId))) {
          opener.ticket = ticket;
          goneRunId = blocker.runId;
          deps.log.warn('chain.taken_out', { gone: blocker.workflowId });
          break;
        }
        // The project is free, and the chain in the way may not know it.
        if (!holds) await wakeNext(deps.pool, deps.chainRuns, input.projectId, blocker);
        // It asks again and again, with its ticket.
        if (input.ticket === null) deps.log.info('chain.queued', { position, waitsFor: blocker.workflowId });
        return { outcome: 'queued', ticket, position, waitsFor: blocker.workflowId };
      }
      case 'former_agent_alive':
        throw holderEnding(answer.blocker, answer.waitMs);
    }
  }
}

/** A holder whose workflow is gone and whose agent may be alive; to be retried. */
export function holderEnding({ workflowId }: ChainRun, waitMs: number): SessionChainError {
  return new SessionChainError(
    'HOLDER_ENDING',
    `The chain ${workflowId} ended without freeing the project; the lease of its agent expires in ${waitMs} ms.`,
    undefined,
    // Its worker was told to stop, and may report earlier that it has.
    { retryAfterMs: Math.min(waitMs, 1_000) },
  );
}
