import type { SDKResultSuccess, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../../contracts/failures.js';
import {
  answerText,
  endsWithFinishedTurn,
  endsWithFullContext,
  lastStopReason,
  saidOrDidSomething,
  usageOfTurns,
} from '../../transcript/entries.js';
import { compactionFailure } from './compaction.js';
import type { EndedRun, Evidence, Kind } from './kind.js';

/** The agent works on the project's files and ends its turn. */
export const work: Kind = {
  continueMessage: continueStep,
  judge(run) {
    requireFinishedTurn(run);
    const { task, own, filesTouched } = run;
    return { text: answerText(own), warnings: missingFiles(task.name, task.writes ?? [], filesTouched) };
  },
  evidence: (_task, own) => evidenceOfTurns(own),
};

/** The message to a session that continues a step whose agent was stopped half-way. */
export function continueStep(name: string): string {
  return [
    `Step: ${name}, continued. You were stopped in the middle of it; what you did until then is above and stands.`,
    'Go on from there and finish the step. Check the outcome of a tool call that was interrupted before you repeat it.',
  ].join('\n\n');
}

/** What the model's turns prove. Entries that Claude Code wrote in the model's name (interruptions, errors) are no evidence. */
export function evidenceOfTurns(own: SessionStoreEntry[]): Evidence {
  if (usageOfTurns(own).turns === 0) return { kind: 'nothing', rule: 'no model turn of its own' };
  if (lastStopReason(own) === 'refusal') return { kind: 'nothing', rule: 'the model refused' };
  return endsWithFinishedTurn(own)
    ? { kind: 'finished', rule: 'its last message ended the turn' }
    : { kind: 'partial', rule: 'model turns, but none that ended the work' };
}

/** Throws the reason why the turn did not end, if the stored transcript holds no ended turn. */
export function requireFinishedTurn({ own, result, compactionError }: EndedRun): void {
  const stopReason = lastStopReason(own);
  // A compaction that failed had a reason: what was asked next was too large.
  if (endsWithFullContext(own) || (compactionError !== null && stopReason !== 'end_turn')) {
    throw compactionError === null
      ? new SessionChainError('CONTEXT_FULL', "The step has filled the model's context.")
      : compactionFailure(compactionError, 'CONTEXT_FULL');
  }
  if (stopReason !== 'end_turn' && !isWordless(result)) {
    throw new SessionChainError(
      // Did the agent itself report this, or is the end merely not stored?
      endsUnfinished(result.stop_reason) ? 'ANSWER_UNFINISHED' : 'AGENT_FAILED',
      `The stored transcript does not end with a finished turn (${stopReason ?? 'no turn'}).`,
    );
  }
  if (!saidOrDidSomething(own)) {
    throw new SessionChainError(
      'ANSWER_UNFINISHED',
      'The model ended its turn without a word or a tool call.',
    );
  }
}

/** An empty answer, which models give after their last tool call; Claude Code stores no entry for it. */
export function isWordless({ stop_reason, result }: SDKResultSuccess): boolean {
  return stop_reason === 'end_turn' && result === '';
}

/** Whether a turn that Claude Code considers ended has stopped early: paused, or for a reason that is unknown here. */
function endsUnfinished(stopReason: string | null): boolean {
  return stopReason !== null && !['end_turn', 'tool_use', 'refusal'].includes(stopReason);
}

function missingFiles(name: string, writes: readonly string[], filesTouched: string[]): string[] {
  const touched = filesTouched.map((file) => file.toLowerCase());
  const isWritten = writes
    .map((place) => place.toLowerCase())
    .some((place) => touched.some((file) => (place.endsWith('/') ? file.startsWith(place) : file === place)));
  return writes.length === 0 || isWritten ? [] : [`The ${name} step wrote none of ${writes.join(', ')}.`];
}
