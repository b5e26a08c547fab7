import type { SDKResultSuccess, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { AgentTaskKind, StepRole } from '../../contracts/steps.js';
import type { SubmissionSchema } from '../../definition/definition.js';

/** What an agent is to do: a step of a chain, or the answer to a question. */
export interface AgentTask {
  /** The step's name; of a question `chat_plan`. */
  name: string;
  kind: AgentTaskKind;
  role?: StepRole;
  /** The tools that it may use; no other runs. */
  allowedTools: readonly string[];
  /** Of a submission. */
  schema?: SubmissionSchema;
  /** Of work: files, and folders that end with a slash, of which it should write one. */
  writes?: readonly string[];
}

/** A run that ended by itself and reported success. */
export interface EndedRun {
  task: AgentTask;
  result: SDKResultSuccess;
  /** The entries that the task has added and the store has acknowledged, those of earlier attempts included. */
  own: SessionStoreEntry[];
  /** Relative to the workspace. */
  filesTouched: string[];
  /** What Claude Code reported about a failed compaction. */
  compactionError: string | null;
}

/** The result of a run. */
export interface Verdict {
  text: string;
  /** Of a submission. */
  value?: Record<string, unknown>;
  /** Of a compaction. */
  compaction?: { preTokens: number; postTokens: number };
  warnings: string[];
}

/**
 * What a stored transcript proves about an attempt whose end was not recorded. `rule` names the sentence that decided.
 * - `finished`: the task is done and paid; its session can be committed as it is.
 * - `partial`: model turns are stored; a fork of the session continues after them.
 * - `nothing`: no model turn of its own that is worth continuing from; the base is forked again.
 */
export type Evidence =
  | { kind: 'finished'; rule: string; value?: Record<string, unknown> }
  | { kind: 'partial'; rule: string }
  | { kind: 'nothing'; rule: string };

/** A kind of task: how it continues, and what proves that it is done. */
export interface Kind {
  /** The user message that continues a task whose agent was stopped half-way; null where the base is forked again. */
  continueMessage(name: string): string | null;
  /** Whether a run did its task, by the stored transcript. Throws a SessionChainError that names what is missing. */
  judge(run: EndedRun): Verdict;
  /** Judges the entries that an attempt added itself, see `ownEntries`. Pure. */
  evidence(task: AgentTask, own: SessionStoreEntry[]): Evidence;
}
