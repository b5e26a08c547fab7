import { Context } from '@temporalio/activity';
import type { AgentProgress } from '../agent/progress.js';
import type { StepProgress } from '../contracts/chain.js';

export interface Heartbeat {
  report(progress: AgentProgress): void;
}

/**
 * Sends a heartbeat at once, then with every report and at least at a third of the heartbeat timeout, while the work
 * continues.
 */
export async function withHeartbeat<Result>(work: (beat: Heartbeat) => Promise<Result>): Promise<Result> {
  const context = Context.current();
  let last: StepProgress = { turns: 0, activity: 'starting' };
  const beat = () => context.heartbeat(last);
  beat();
  const timer = setInterval(beat, (context.info.heartbeatTimeoutMs ?? 30_000) / 3);
  try {
    return await work({
      // No names of files: the last heartbeat ends up in the history.
      report({ turns, toolName, status }) {
        last = { turns, activity: toolName ?? status ?? last.activity };
        beat();
      },
    });
  } finally {
    clearInterval(timer);
  }
}
