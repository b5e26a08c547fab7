import { Context } from '@temporalio/activity';
import type { OpenInput, OpenResult } from '../contracts/chain.js';
import { SessionChainError } from '../contracts/failures.js';
import { openChain } from '../storage/chains.js';
import { wakeNext } from '../storage/line.js';
import type { ActivityDependencies } from './dependencies.js';

/**
 * Takes the project's turn, or a place in the line. Who is in the way though its workflow is closed is taken out; its
 * agent may live on for a moment, and until it is surely dead `open` asks Temporal to be tried again.
 */
export async function open(
  deps: Pick<ActivityDependencies, 'pool' | 'chainRuns'>,
  input: OpenInput,
): Promise<OpenResult> {
  const { workflowExecution } = Context.current().info;
  if (!workflowExecution) throw new Error('The activity open belongs to a workflow.');
  const { workflowId, runId } = workflowExecution;
  // Absent in the input of a chain that was started before there was a line.
  const opener = { runId, home: await deps.chainRuns.home(), turn: input.turn ?? null };

  let goneRunId: string | null = null;
  for (;;) {
    const answer = await openChain(deps.pool, input, opener, goneRunId);
    switch (answer.outcome) {
      case 'opened': {
        const { head, baseSessionId, turn, warnings } = answer;
        return { head, baseSessionId, turn, warnings };
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
