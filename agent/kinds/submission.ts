import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../../contracts/failures.js';
import { submissionTool } from '../../definition/submission.js';
import { acceptedSubmission, answerText, hasClosed } from '../../transcript/entries.js';
import type { AgentTask, Kind } from './kind.js';
import { continueStep, evidenceOfTurns, requireFinishedTurn } from './work.js';

/**
 * The agent submits a value through the tool of its step; the accepted call in the transcript is the proof. With it the step is
 * done, however the words end that come after it.
 */
export const submission: Kind = {
  continueMessage: continueStep,
  judge(run) {
    const { task, own } = run;
    const value = submittedValue(task, own);
    if (value === null || !hasClosed(own)) requireFinishedTurn(run);
    if (value === null) {
      throw new SessionChainError(
        'SUBMISSION_INVALID',
        `The model ended the ${task.name} step without a value that fits the schema.`,
      );
    }
    return { text: answerText(own), value, warnings: [] };
  },
  evidence(task, own) {
    const value = submittedValue(task, own);
    if (value !== null && hasClosed(own)) {
      return { kind: 'finished', rule: 'an accepted submission and a last message after it', value };
    }
    const evidence = evidenceOfTurns(own);
    return evidence.kind === 'finished'
      ? { kind: 'partial', rule: 'the turn ended without an accepted submission' }
      : evidence;
  },
};

function submittedValue(
  { name, schema }: AgentTask,
  own: SessionStoreEntry[],
): Record<string, unknown> | null {
  if (!schema) throw new Error(`The submission ${name} has no schema.`);
  return acceptedSubmission(own, submissionTool(name), schema);
}
