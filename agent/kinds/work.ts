import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../../contracts/failures.js';
import { endsWithFinishedTurn, lastStopReason, usageOfTurns } from '../../transcript/entries.js';
import type { Evidence, Kind } from './kind.js';

/** The agent works on the project's files and ends its turn. */
export const work: Kind = {
  continueMessage: continueStep,
  judge({ task, own, result, filesTouched }) {
    requireFinishedTurn(own);
    return { text: result.result, warnings: missingFiles(task.name, task.writes ?? [], filesTouched) };
  },
  evidence: (_task, own) => evidenceOfTurns(own),
};

/** What a session is told that goes on with a step whose agent was stopped half-way. */
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

export function requireFinishedTurn(own: SessionStoreEntry[]): void {
  const stopReason = lastStopReason(own);
  if (stopReason === 'end_turn') return;
  throw new SessionChainError(
    'AGENT_FAILED',
    `The stored transcript does not end with a finished turn (${stopReason ?? 'no turn'}).`,
  );
}

function missingFiles(name: string, writes: readonly string[], filesTouched: string[]): string[] {
  const touched = filesTouched.map((file) => file.toLowerCase());
  const isWritten = writes
    .map((place) => place.toLowerCase())
    .some((place) => touched.some((file) => (place.endsWith('/') ? file.startsWith(place) : file === place)));
  return writes.length === 0 || isWritten ? [] : [`The ${name} step wrote none of ${writes.join(', ')}.`];
}
