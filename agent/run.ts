import type { SessionKey, SessionStore, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import type { ModelUsage, Usage } from '../contracts/chain.js';
import { type FailureCode, SessionChainError } from '../contracts/failures.js';
import type { SessionId } from '../contracts/ids.js';
import type { Limit, LimitOwner } from '../contracts/limits.js';
import type { SandboxSettings } from '../contracts/sandbox.js';
import type { ChainMode } from '../contracts/steps.js';
import type { ChainDefinition } from '../definition/definition.js';
import type { ClaudeMd } from './claude-md.js';
import type { AgentTask, Verdict } from './kinds/kind.js';
import type { EgressEvent } from './egress/egress.js';
import type { Lease } from './process/lease.js';
import type { Sandbox } from './sandbox/sandbox.js';
import type { AgentProgress } from './progress.js';
import type { ToolCall } from './tool-gate.js';

/** What a run of the agent takes, what it gives back, and what it works with. */

export interface AgentDependencies {
  /** How many processes may be there at the same time, parked ones included. Default: no limit. */
  maxProcesses?: number;
  /** What reaches the model: credentials, base URL, provider switches. */
  modelEnvironment: Readonly<Record<string, string>>;
  /** The worker's environment; only allow-listed names of it pass to the agent. */
  inheritedEnvironment: Readonly<Record<string, string | undefined>>;
  /** The Claude Code binary. Default: the one that comes with the Agent SDK. */
  binaryPath?: string;
  /** Every run gets folders of its own below it, removed with the run. Workers may share it. */
  scratchRoot: string;
  sandbox: SandboxSettings;
  /** Tools, rules and servers that all steps share. */
  definition: ChainDefinition;
  log: (event: AgentEvent, ids: RunIds) => void;
}

/** What an event is about, beside its session and step: what the run was given. */
export type RunIds = Readonly<Record<string, string | number | undefined>>;

/** Messages for the worker's log. */
export type AgentEvent =
  | { event: 'agent.sandbox'; kind: Sandbox['kind']; hold: Sandbox['hold'] }
  | { event: 'agent.swept'; run: string; killed: number }
  | { event: 'agent.scratch_left'; sessionId: string; error: string }
  | EgressEvent
  | { event: 'agent.started'; sessionId: string; step: string; warm: boolean }
  | { event: 'agent.parked'; sessionId: string; step: string }
  | { event: 'agent.given_up'; sessionId: string; step: string; reason: string }
  | { event: 'agent.ended'; sessionId: string; step: string; durationMs: number }
  /** `error` is what `run` throws. */
  | { event: 'agent.failed'; sessionId: string; step: string; error: SessionChainError; durationMs: number };

/** The transcripts of a project, as a run reads and writes them. */
export interface RunStore extends Pick<SessionStore, 'append' | 'load'> {
  /**
   * The first append of a session that goes on from another one in the same process, which repeats nothing: all that the
   * base's main transcript holds, copied where it is stored, and then these entries. All or nothing. With a store that
   * lacks it every run starts a process.
   */
  appendToCopy?(key: SessionKey, baseSessionId: SessionId, entries: SessionStoreEntry[]): Promise<void>;
}

/** The limits of one run. */
export interface RunLimits {
  maxTurns: number;
  timeoutMs: number;
  /** US dollars of this run alone. */
  maxCostUsd?: number;
  /** What each limit belongs to, named in the message when it is reached. Default: the step. */
  limitsOf?: Record<Limit, LimitOwner>;
}

export interface AgentRequest extends RunLimits {
  task: AgentTask;
  mode: ChainMode;
  /** Chosen in advance; a uuid that no run has had. */
  sessionId: SessionId;
  /** The session that is forked and stays as it is; null starts a fresh one. */
  baseSessionId: SessionId | null;
  /** The project's transcripts. */
  store: RunStore;
  /** What is to be done, as the user message that begins it. */
  prompt: string;
  /**
   * What earlier attempts added to the step, where their last session is forked and continued; counts for the result,
   * not for the spend.
   */
  earlierEntries?: SessionStoreEntry[];
  /** What subagents of earlier attempts added. */
  earlierBySubagents?: SessionStoreEntry[];
  /** What earlier attempts may have done that neither this session nor the task tells; said with the first message. */
  warning?: string;
  instructionKind: 'none' | 'free';
  /** A model, or `default` for Claude Code's own choice; a fork without one would continue with its base's. */
  model: string;
  /** The real path of the project's folder. */
  workspace: string;
  /** How long its process may wait for the next task, which goes on from this run's session; null: it ends. Default: null. */
  keepWarm?: { idleMs: number } | null;
  /** From the interrupt to the kill. Default: 5 s. */
  killGraceMs?: number;
}

/** What a run itself spent, whether or not it did its step. */
export interface AgentSpend {
  usage: Usage;
  /** US dollars by Claude Code's price list; null when the agent was killed before it could say. */
  costUsd: number | null;
  /** The same by model; the cost of each is null where that of the whole is. */
  byModel: Record<string, ModelUsage>;
  /** Model turns that are in the transcript, those of subagents included. */
  turns: number;
  durationMs: number;
  /** The part of the duration spent waiting for the model; null where the agent was killed before it could say. */
  apiDurationMs: number | null;
  agentVersion: string | null;
  model: string | null;
  /** The run did not end by itself: a model turn that was under way at that time is in no figure. */
  turnInFlightUnknown: boolean;
  /** A tool call may have run whose entry is not stored. */
  hasOpenCalls: boolean;
}

export interface AgentResult extends AgentSpend, Verdict {
  sessionId: SessionId;
  costUsd: number;
  apiDurationMs: number;
  /** Relative to the workspace; what the file tools wrote, not what shell commands wrote. */
  filesTouched: string[];
  /** Size of the context that the next step starts with. */
  contextTokens: number;
  /** Whether its process waits for the next task. */
  parked: boolean;
}

/** A run that did not do its step; `spent` was spent nevertheless. */
export class AgentRunError extends SessionChainError {
  readonly spent: AgentSpend;
  /** The message without what it quotes; absent where it quotes nothing, or is nothing without. */
  readonly logged: string | undefined;

  constructor(error: SessionChainError, spent: AgentSpend) {
    const { cause, retryAfterMs, reached } = error;
    super(error.code, error.message, error.remedy, { cause, retryAfterMs, reached });
    this.spent = spent;
    this.logged = error instanceof QuotingError ? error.logged : undefined;
  }
}

/** An error whose message quotes the model service or Claude Code. */
export class QuotingError extends SessionChainError {
  constructor(
    code: FailureCode,
    message: string,
    /** The same in our own words. */
    readonly logged: string,
    options?: { cause?: unknown; retryAfterMs?: number },
  ) {
    super(code, message, undefined, options);
  }
}

/** How a run is stopped and watched. */
export interface RunContext {
  signal: AbortSignal;
  /** The agent is interrupted a kill grace before it ends, and dead by then, whatever has become of this process. */
  lease: Lease;
  /** Go with every event of the run, and of its process while that waits. */
  ids?: RunIds;
  onProgress: (progress: AgentProgress) => void;
  /** Gets all files that the file tools have written so far, relative to the workspace, whenever there is a new one. */
  onFiles?: (files: string[]) => void;
  /** Gets what the model writes while it writes it; `message` counts its messages from 1. Empty at the end of a block. */
  onText?: (text: string, message: number) => void;
  /**
   * Notes the tool calls that run before their transcript entries are stored, in place of those noted before. Rejects
   * where the run may not go on. Default: every tool waits for its entry.
   */
  noteCalls?: (calls: ToolCall[]) => Promise<void>;
}

/** What one run works with. */
export interface Run {
  dependencies: AgentDependencies;
  request: AgentRequest;
  context: RunContext;
  claudeMd: ClaudeMd;
  startedAt: number;
}
