import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { SessionChainError } from '../../contracts/failures.js';
import { submissionTool } from '../../definition/submission.js';
import { acceptedSubmission, answerText, hasClosed, schemaError } from '../../transcript/entries.js';
import type { AgentTask, Kind } from './kind.js';
import { continueStep, evidenceOfTurns, requireFinishedTurn } from './work.js';

/**
 * The agent submits a value through the tool of its step; the accepted call in the transcript is the proof. With it the
 * step is done, however the text after it ends.
 */
export const submission: Kind = {
  continueMessage: continueStep,
  judge(run) {
    const { task, own } = run;
    const value = submittedValue(task, own);
    if (value === null || !hasClosed(own)) requireFinishedTurn(run);
    if (value === null) throw notSubmitted(task, own);
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

function notSubmitted(task: AgentTask, own: SessionStoreEntry[]): SessionChainError {
  const { name } = task;
  const cause = schemaError(own, submissionTool(name), schemaOf(task));
  return cause
    ? new SessionChainError(
        'INVALID_CONFIG',
        `steps.${name}.schema failed on what the model submitted: ${cause.name}: ${cause.message}`,
        'Correct the schema in the configuration file, restart the workers, and start the chain again.',
        { cause },
      )
    : new SessionChainError(
        'SUBMISSION_INVALID',
        `The model ended the ${name} step without a value that fits the schema.`,
      );
}

function submittedValue(task: AgentTask, own: SessionStoreEntry[]): Record<string, unknown> | null {
  return acceptedSubmission(own, submissionTool(task.name), schemaOf(task));
}

function schemaOf({ name, schema }: AgentTask): NonNullable<AgentTask['schema']> {
  if (!schema) throw new Error(`The submission ${name} has no schema.`);
  return schema;
}
