import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { MetadataSchema } from '../definition/definition.js';
import { metadataTool } from '../definition/metadata.js';
import type { AgentTask } from '../contracts/steps.js';
import {
  acceptedSubmission,
  endsWithFinishedTurn,
  lastStopReason,
  usageOfTurns,
  verifiedCompaction,
} from '../transcript/entries.js';

/**
 * What a stored transcript proves about an attempt that nobody saw end. `rule` names the sentence that decided.
 * - `finished`: the step is done and paid; its session can be committed as it is.
 * - `partial`: model turns are stored; a fork of the session goes on after them.
 * - `nothing`: no model turn of its own that is worth going on from; the base is forked again.
 */
export type Evidence =
  | { kind: 'finished'; rule: string; metadata?: Record<string, unknown> }
  | { kind: 'partial'; rule: string }
  | { kind: 'nothing'; rule: string };

/**
 * Judges the entries that an attempt added itself, see `ownEntries`. Pure. Entries that Claude Code wrote in the
 * model's name (interruptions, API errors) are no evidence.
 */
export function judgeEvidence(
  step: AgentTask,
  own: SessionStoreEntry[],
  metadataSchema: MetadataSchema,
): Evidence {
  if (step === 'compact') {
    // A summary that is half written is in no entry: there is nothing to go on from.
    return verifiedCompaction(own)
      ? { kind: 'finished', rule: 'a boundary of its own whose summary made the context smaller' }
      : { kind: 'nothing', rule: 'no verified compaction' };
  }
  if (usageOfTurns(own).turns === 0) return { kind: 'nothing', rule: 'no model turn of its own' };
  if (lastStopReason(own) === 'refusal') return { kind: 'nothing', rule: 'the model refused' };
  if (!endsWithFinishedTurn(own))
    return { kind: 'partial', rule: 'model turns, but none that ended the work' };
  if (step !== 'metadata') return { kind: 'finished', rule: 'its last message ended the turn' };
  const metadata = acceptedSubmission(own, metadataTool, metadataSchema);
  return metadata
    ? { kind: 'finished', rule: 'an accepted submission and a message that ended the turn', metadata }
    : { kind: 'partial', rule: 'the turn ended without an accepted submission' };
}
