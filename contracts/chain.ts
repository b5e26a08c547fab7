import type { BriefFacts } from './brief.js';
import type { Failure } from './failures.js';
import type { AttemptId, ChainId, ChainKey, SessionId } from './ids.js';
import type { ChainOrigin, ResetPolicy } from './origin.js';
import type { ChainPlan } from './plan.js';
import type { ChainMode, ChainStatus, ClosedChainStatus, StepName } from './steps.js';

/** Tokens by kind, summed over model turns. `inputTokens` were neither read from nor written to the prompt cache. */
export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
}

/** Tokens of one model and what they cost; the cost is null where nobody can tell. */
export interface ModelUsage extends Usage {
  costUsd: number | null;
}

/** What one step may take. */
export interface StepLimits {
  /** Wall-clock time of one attempt. */
  timeoutMs: number;
  /** Model turns of all its attempts together. */
  maxTurns: number;
  /** US dollars of all its attempts together; no limit when absent. */
  maxCostUsd?: number;
  /** Attempts before the step has failed. */
  maxAttempts: number;
}

/** What a whole chain may take, over all its attempts; no limit where a field is absent. */
export interface ChainBudget {
  maxCostUsd?: number;
  /** Model turns. */
  maxTurns?: number;
  /** Wall-clock time since the chain took its turn. */
  timeoutMs?: number;
}

/**
 * The policy of a chain, fixed when it starts, so that a replay sees the same. What it leaves out of the steps is as the
 * worker's definition says when the chain opens, see ChainPlan.
 */
export interface ChainPolicy {
  limits?: Partial<Record<StepName, Partial<StepLimits>>>;
  /** Instead of the models that the definition names. */
  model?: string;
  budget: ChainBudget;
  heartbeatTimeoutMs: number;
  /** How long the agent may take to end once it was told to. */
  killGraceMs: number;
  /** Below this context size, in tokens, compaction is skipped. */
  compactThresholdTokens?: number;
  /** When a build starts a fresh session instead of going on from the head; what is left out is as the definition says. */
  reset?: Partial<ResetPolicy>;
  /** How long a chain waits for a model service that does not say until when: doubling from wait to wait. */
  waitMs: WaitPolicy;
  /** How long a chain in line waits for a hint before it asks by itself, doubling; default 30 s to 10 min. */
  turnWaitMs?: WaitPolicy;
  /** `project_versions.status` after the chain; null leaves the column alone. */
  versionStatus: { succeeded: string | null; failed: string | null };
  taskQueues: TaskQueues;
}

export interface WaitPolicy {
  initial: number;
  max: number;
}

export interface TaskQueues {
  /** Workflows and the short activities that only touch the database. */
  chains: string;
  /** The activities that run Claude Code. */
  agents: string;
}

/** The workflow's input: ids, counters and labels only; the instruction stays in Postgres and is found by the chain id. */
export interface ChainInput extends ChainKey {
  chainId: ChainId;
  mode: ChainMode;
  steps: StepName[];
  policy: ChainPolicy;
  /** Go on from the nearest ancestor in the store, also from a head that never was in it. */
  recover?: boolean;
}

/** Where the head stands as far as the chain knows. */
export interface Head {
  /** The project's latest session; null for a project that has none. */
  sessionId: SessionId | null;
  /** `projects.session_seq`; null before the first transition. */
  seq: number | null;
}

export interface OpenInput extends ChainKey {
  chainId: ChainId;
  /** The number that the chain drew when it asked before; null when it has none. */
  turn: number | null;
  reset?: Partial<ResetPolicy>;
  recover?: boolean;
}

/** The chain works from now on. */
export interface OpenedChain {
  head: Head;
  /** The session that the first step forks; null starts a fresh one. */
  baseSessionId: SessionId | null;
  /** What the chain presents to prove that it holds the project's turn. */
  turn: number;
  warnings: string[];
  /** From what it works, and why; absent in histories from before it was told. */
  origin?: ChainOrigin;
  /** What the worker's definition says of the steps; absent in histories from before there was one. */
  plan?: ChainPlan;
  /** The project's folder, where an activity of the host is to be told it. */
  workspace?: string;
}

/** Somebody else works on the project, or is to work before this chain. */
export interface QueuedChain {
  outcome: 'queued';
  /** The number that the chain drew and asks again with; null while an earlier run of it is in the way. */
  turn: number | null;
  place: number;
  /** Workflow id of who is in the way. */
  waitsFor: string;
}

/** An opened chain has no `outcome`: histories from before there was a line hold it so. */
export type OpenResult = (OpenedChain & { outcome?: never }) | QueuedChain;

/** The place of a chain in its project's line: 1 is the next to work. */
export type PlaceInLine = Pick<QueuedChain, 'place' | 'waitsFor'>;

export interface StepInput extends ChainKey {
  chainId: ChainId;
  turn: number;
  step: StepName;
  mode: ChainMode;
  head: Head;
  baseSessionId: SessionId | null;
  limits: StepLimits;
  budget: ChainBudget;
  killGraceMs: number;
  waitMs: WaitPolicy;
  compactThresholdTokens: number;
  /** Instead of the model that the definition names. */
  model?: string;
}

/**
 * A committed step: the head moved from `oldSessionId` to `newSessionId`. Turns, usage, cost and duration are those of
 * all its attempts together, as far as they were known when it was committed; a cost that nobody could tell counts as 0.
 */
export interface CommittedStep {
  outcome: 'committed';
  step: StepName;
  attemptId: AttemptId;
  /** 1 for the first attempt. */
  attempt: number;
  oldSessionId: SessionId | null;
  newSessionId: SessionId;
  seq: number;
  /** `session_transitions.id`; absent in a result from before it was stored. */
  transitionId?: string;
  turns: number;
  usage: Usage;
  costUsd: number;
  durationMs: number;
  warnings: string[];
}

/** A step that had nothing to do; the head stays. */
export interface SkippedStep {
  outcome: 'skipped';
  step: StepName;
  reason: string;
}

/** A step that goes on later, without having failed: the model service is overloaded or limits the rate. */
export interface WaitingStep {
  outcome: 'waiting';
  step: StepName;
  attempt: number;
  waitMs: number;
  reason: string;
}

export type StepResult = CommittedStep | SkippedStep | WaitingStep;

/** Where a step stands. Turns, usage, cost and duration are those of all its attempts so far, failed ones included. */
export interface StepState {
  step: StepName;
  status: 'pending' | 'running' | 'waiting' | 'committed' | 'skipped' | 'failed' | 'cancelled';
  /** Attempts so far; 0 where none was begun or none is known. */
  attempts: number;
  oldSessionId: SessionId | null;
  newSessionId: SessionId | null;
  turns: number;
  usage: Usage;
  costUsd: number;
  durationMs: number;
  /** Why the step was skipped, or what it waits for. */
  reason?: string;
  failure?: Failure;
  /** The host's activity that the step was followed by. */
  after?: AfterState;
}

export interface AfterState {
  activity: string;
  taskQueue: string;
  status: 'running' | 'completed' | 'failed' | 'cancelled';
  failure?: Failure;
}

/** The state of a chain, threaded through the workflow by one reducer and returned by the query `chainState`. */
export interface ChainState extends ChainKey {
  mode: ChainMode;
  status: ChainStatus;
  head: Head;
  /** What the first step forks; null for a fresh session, and until the chain has opened. */
  baseSessionId: SessionId | null;
  /** From what the chain works, and why, once it has opened. */
  origin?: ChainOrigin;
  /** The same in a sentence. */
  resumedFrom?: string;
  /** What a fresh session was told of the project's state; known to the database only. */
  brief?: BriefFacts;
  steps: StepState[];
  warnings: string[];
  /** For a chain that waits for its turn; in the workflow as of its last question, in the database as of now. */
  line?: PlaceInLine;
  /** ISO 8601; until when the chain waits. Known to the database only, for a workflow has no clock. */
  waitingUntil?: string;
  failure?: Failure;
}

/** How a chain ended; the same shape as its state, in `chains.result` and as the workflow's result. */
export type ChainResult = ChainState & { status: ClosedChainStatus };

export interface CloseInput extends ChainKey {
  chainId: ChainId;
  /** Null for a run that never learnt its number. */
  turn: number | null;
  result: ChainResult;
  versionStatus: string | null;
}

/** What a step's activity reports with its heartbeats. */
export interface StepProgress {
  turns: number;
  /** The tool that ran last, with the file it names. */
  activity: string;
}
