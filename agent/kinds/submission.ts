import { SessionChainError } from '../../contracts/failures.js';
import { submissionTool } from '../../definition/submission.js';
import { acceptedSubmission, answerText } from '../../transcript/entries.js';
import type { AgentTask, Kind } from './kind.js';
import { continueStep, evidenceOfTurns, requireFinishedTurn } from './work.js';

/** The agent submits a value through the tool of its step; the accepted call in the transcript is the proof. */
export const submission: Kind = {
  continueMessage: continueStep,
  judge(run) {
    requireFinishedTurn(run);
    const { task, own } = run;
    const value = submittedValue(task, own);
    if (value === null) {
      throw new SessionChainError(
        'SUBMISSION_INVALID',
        `The model ended the ${task.name} step without a value that fits the schema.`,
      );
    }
    return { text: answerText(own), value, warnings: [] };
  },
  evidence(task, own) {
    const evidence = evidenceOfTurns(own);
    if (evidence.kind !== 'finished') return evidence;
    const value = submittedValue(task, own);
    return value === null
      ? { kind: 'partial', rule: 'the turn ended without an accepted submission' }
      : { kind: 'finished', rule: 'an accepted submission and a message that ended the turn', value };
  },
};

function submittedValue(
  { name, schema }: AgentTask,
  own: Parameters<Kind['evidence']>[1],
): Record<string, unknown> | null {
  if (!schema) throw new Error(`The submission ${name} has no schema.`);
  return acceptedSubmission(own, submissionTool(name), schema);
}
