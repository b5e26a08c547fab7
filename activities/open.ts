import { Context } from '@temporalio/activity';
import type { OpenInput, OpenResult, OpenedChain } from '../contracts/chain.js';
import { planOf } from '../definition/definition.js';
import { SessionChainError } from '../contracts/failures.js';
import { type OpenOptions, openChain, requireChain } from '../storage/chains/chains.js';
import { wakeNext } from '../storage/chains/queue.js';
import { nearestValidAncestor, recoveryWarning } from '../storage/heads/recovery.js';
import type { ActivityDependencies } from './dependencies.js';

/**
 * Takes the project's turn, or a place in the line. Who is in the way though its workflow is closed is taken out; its
 * agent may live on for a moment, and until it is surely dead `open` asks Temporal to be tried again. A head whose
 * transcript is lost is replaced as base by its nearest ancestor that is whole, with a warning.
 */
export async function open(
  deps: Pick<ActivityDependencies, 'pool' | 'chainRuns' | 'definition'>,
  input: OpenInput,
): Promise<OpenResult> {
  const { workflowExecution } = Context.current().info;
  if (!workflowExecution) throw new Error('The activity open belongs to a workflow.');
  const { workflowId, runId } = workflowExecution;
  // Absent in the input of a chain that was started before there was a line.
  const opener = { runId, home: await deps.chainRuns.home(), turn: input.turn ?? null };
  const options: OpenOptions = {
    reset: { ...deps.definition.reset, ...input.reset },
    recover: input.recover ?? false,
  };

  let goneRunId: string | null = null;
  let earlierWarnings: string[] = [];
  for (;;) {
    const answer = await openChain(deps.pool, input, opener, goneRunId, options);
    switch (answer.outcome) {
      case 'opened': {
        const { head, baseSessionId, turn, origin } = answer;
        const warnings = [...earlierWarnings, ...answer.warnings];
        return { head, baseSessionId, turn, origin, warnings, ...(await planned(deps, input)) };
      }
      case 'head_lost': {
        opener.turn = answer.turn;
        const recovery = await nearestValidAncestor(deps.pool, input.projectId, answer.sessionId);
        options.recovery = { head: answer.sessionId, base: recovery.sessionId };
        earlierWarnings = [...answer.warnings, recoveryWarning(answer.sessionId, recovery)];
        break;
      }
      case 'queued': {
        const { turn, place, blocker, holds } = answer;
        if (blocker.runId !== goneRunId && (await deps.chainRuns.isGone(blocker, workflowId))) {
          opener.turn = turn;
          goneRunId = blocker.runId;
          break;
        }
        // Nobody works: the one in the way may not know that it could.
        if (!holds) await wakeNext(deps.pool, deps.chainRuns, input.projectId, blocker);
        return { outcome: 'queued', turn, place, waitsFor: blocker.workflowId };
      }
      case 'former_agent_alive':
        throw new SessionChainError(
          'HOLDER_ENDING',
          `The chain ${answer.blocker.workflowId} closed without handing on its turn; its agent counts as dead in ${answer.waitMs} ms.`,
          undefined,
          // Its worker was told to stop, and may say sooner that it has.
          { retryAfterMs: Math.min(answer.waitMs, 1_000) },
        );
    }
  }
}

/** What the definition says of the steps; the workspace only where an activity of the host is to be told it. */
async function planned(
  { pool, definition }: Pick<ActivityDependencies, 'pool' | 'definition'>,
  input: OpenInput,
): Promise<Pick<OpenedChain, 'plan' | 'workspace'>> {
  const plan = planOf(definition);
  if (Object.keys(definition.after).length === 0) return { plan };
  return { plan, workspace: (await requireChain(pool, input)).workspace };
}
