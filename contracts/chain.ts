import type { BriefFacts } from './brief.js';
import type { Failure } from './failures.js';
import type { OfInstallation } from './installation.js';
import type { AttemptId, ChainId, ChainKey, SessionId } from './ids.js';
import type { ChainBudget } from './limits.js';
import type { ChainOrigin } from './origin.js';
import type {
  ActivityStepInput,
  ActivityStepPlan,
  AgentStepPlan,
  ChainOverrides,
  ChainPlan,
  payloadVersion,
} from './plan.js';
import type { ChainMode, ChainStatus, ClosedChainStatus, StepKind, StepName, StepRole } from './steps.js';

/** Tokens by kind, summed over model turns. `inputTokens` were neither read from nor written to the prompt cache. */
export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
}

/** Tokens of one model and their cost; the cost is null where it is unknown. */
export interface ModelUsage extends Usage {
  costUsd: number | null;
}

/** How a chain waits, and the task queues that it uses; fixed when it starts, so that a replay sees the same. */
export interface ChainPolicy {
  heartbeatTimeoutMs: number;
  /** How long the agent may take to end once it has been told to. */
  killGraceMs: number;
  /** How long a chain waits for a model service that gives no time: doubling from wait to wait. */
  waitMs: WaitPolicy;
  /** How long a queued chain waits for a hint before it asks without one, doubling. */
  queueWaitMs: WaitPolicy;
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
export interface ChainInput extends ChainKey, OfInstallation {
  version: typeof payloadVersion;
  chainId: ChainId;
  mode: ChainMode;
  policy: ChainPolicy;
  overrides: ChainOverrides[];
  /** Continue from the nearest ancestor in the store, even where the head never was in it. */
  recover?: boolean;
}

/** The head as far as the chain knows it. */
export interface Head {
  /** The project's latest session; null for a project that has none. */
  sessionId: SessionId | null;
  /** `projects.session_seq`; null before the first transition. */
  seq: number | null;
}

export interface OpenInput extends ChainKey, OfInstallation {
  version: typeof payloadVersion;
  chainId: ChainId;
  /** The ticket that the chain drew when it asked before; null when it has none. */
  ticket: number | null;
  /** From 2 on: the chain was open before, and the database has gone back since. */
  opening?: number;
  overrides: ChainOverrides[];
  recover?: boolean;
}

/** The chain holds the project from now on. */
export interface OpenedChain {
  outcome: 'opened';
  head: Head;
  /** The session that the first step forks; null starts a fresh one. */
  baseSessionId: SessionId | null;
  /** What the chain presents to prove that it holds the project. */
  ticket: number;
  warnings: string[];
  /** What it starts from, and why. */
  origin: ChainOrigin;
  plan: ChainPlan;
}

/** Another chain holds the project, or is to hold it before this one. */
export interface QueuedChain {
  outcome: 'queued';
  /** The ticket that the chain drew and asks again with; null while an earlier run of it is in the way. */
  ticket: number | null;
  position: number;
  /** Workflow id of the chain in the way. */
  waitsFor: string;
}

export type OpenResult = OpenedChain | QueuedChain;

/** The queue position of a chain: 1 is the next to hold the project. */
export type QueuePosition = Pick<QueuedChain, 'position' | 'waitsFor'>;

/** The input of every activity of a step. */
export interface StepCall extends ChainKey, OfInstallation {
  version: typeof payloadVersion;
  chainId: ChainId;
  ticket: number;
  step: StepName;
  /** Counts the times that the step was decided to run, from 1; each has attempts and a commit of its own. */
  round: number;
}

export interface StepInput extends StepCall {
  mode: ChainMode;
  plan: AgentStepPlan;
  head: Head;
  budget: ChainBudget;
  killGraceMs: number;
  waitMs: WaitPolicy;
  /** How often the step was left to another worker, see WaitingStep. */
  waits: number;
  /** Whether a later step of the plan runs Claude Code, which may go on in the same process. */
  hasNext: boolean;
}

/**
 * A committed step: the head moved from `oldSessionId` to `newSessionId`. Turns, usage, cost and duration are those of
 * all its attempts together, as far as they were known when it was committed; an unknown cost counts as 0.
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
  turns: number;
  usage: Usage;
  costUsd: number;
  durationMs: number;
  warnings: string[];
  /** The task queue of the worker that keeps the step's process for the next one; absent where none does. */
  parkedOn?: string;
}

/** A step that had nothing to do; the head stays. */
export interface SkippedStep {
  outcome: 'skipped';
  step: StepName;
  reason: string;
}

/** A step that continues later, without having failed; the reason is our own text, never a service's. */
export interface WaitingStep {
  outcome: 'waiting';
  step: StepName;
  /** 0 where no attempt was begun: this worker has another definition of the step, or not the project's folder. */
  attempt: number;
  /** Tries of the activity that failed before; they count against the step's limit of attempts. */
  tries?: number;
  waitMs: number;
  reason: string;
}

export type StepResult = CommittedStep | SkippedStep | WaitingStep;

/** The call of `beginActivity`, before the host's activity is called. */
export interface BeginActivityInput extends StepCall {
  head: Head;
  plan: ActivityStepPlan;
}

/** `completed`: a former run of the chain has called it successfully, and it is not called again. */
export type BegunActivity = { outcome: 'call'; call: ActivityStepInput } | { outcome: 'completed' };

/** The call of `endActivity`, once the host's activity has ended. */
export interface EndActivityInput extends StepCall {
  /** Null for success. */
  failure: Failure | null;
}

/** The state of a step. Turns, usage, cost and duration are those of all its attempts so far, failed ones included. */
export interface StepState {
  step: StepName;
  kind: StepKind;
  role?: StepRole;
  /** An activity of the host is `completed`; a step that runs Claude Code is `committed`. */
  status: 'pending' | 'running' | 'waiting' | 'committed' | 'completed' | 'skipped' | 'failed' | 'cancelled';
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
  /** The submitted value; known to the database only. */
  value?: Record<string, unknown>;
}

/** The state of a chain, threaded through the workflow by one reducer and returned by the query `chainState`. */
export interface ChainState extends ChainKey {
  mode: ChainMode;
  status: ChainStatus;
  head: Head;
  /** What the first step forks; null for a fresh session, and until the chain has opened. */
  baseSessionId: SessionId | null;
  /** What the chain starts from, and why, once it has opened. */
  origin?: ChainOrigin;
  /** The same in a sentence. */
  resumedFrom?: string;
  /** What a fresh session was told about the project's state; known to the database only. */
  brief?: BriefFacts;
  /** Empty until the chain has opened: the worker's definition says which steps there are. */
  steps: StepState[];
  warnings: string[];
  /** For a queued chain; in the workflow as of its last request, in the database as of now. */
  queue?: QueuePosition;
  /** ISO 8601; until when the chain waits. Known to the database only, because a workflow has no clock. */
  waitingUntil?: string;
  failure?: Failure;
}

/** How a chain ended; the same shape as its state, in `chains.result` and as the workflow's result. */
export type ChainResult = ChainState & { status: ClosedChainStatus };

/** What `project_versions.status` becomes after a chain; null leaves the column alone. */
export interface VersionStatus {
  succeeded: string | null;
  failed: string | null;
}

/** `ticket` is null for a run that never learnt it. */
export interface CloseInput extends ChainKey, OfInstallation {
  version: typeof payloadVersion;
  ticket: number | null;
  /** The workflow's own account; it counts as far as the database confirms it. */
  result: ChainResult;
}

/** What a chain cost over all its attempts, in US dollars; without those whose cost is unknown. */
export interface ChainCost {
  costUsd: number;
  attemptsOfUnknownCost: number;
}

/** What a step's activity reports with its heartbeats. */
export interface StepProgress {
  turns: number;
  /** The tool that ran last. */
  activity: string;
}
