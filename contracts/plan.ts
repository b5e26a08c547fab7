import type { ChainBudget, StepLimits } from './limits.js';
import type { ResetPolicy } from './origin.js';
import type { AgentStepKind, StepName, StepRole } from './steps.js';

/** The version of the payloads that workflows and activities exchange; any other is PAYLOAD_UNKNOWN. */
export const payloadVersion = 1;

/**
 * What a start sets in place of the worker's definition. A list of them is resolved field by field, the later ones
 * first; it travels untouched to the worker that opens the chain.
 */
export interface ChainOverrides {
  /** By step name. */
  limits?: Record<StepName, Partial<StepLimits>>;
  /** The model of every step. */
  model?: string;
  /** Context size, in tokens, below which compaction is skipped. */
  compactThresholdTokens?: number;
  reset?: Partial<ResetPolicy>;
  /** The limits of the whole chain. */
  budget?: ChainBudget;
}

/**
 * The steps of a chain, in order, with everything that decides how they run: resolved once, when the chain opens, so
 * that a replay sees the same and a running chain does not change with the file.
 */
export interface ChainPlan {
  version: typeof payloadVersion;
  steps: StepPlan[];
  /** The definition has a step with the role `deploy`, among these steps or not: a build alone deploys nothing. */
  deploys?: true;
  budget: ChainBudget;
}

export type StepPlan = AgentStepPlan | ActivityStepPlan;

export interface AgentStepPlan {
  name: StepName;
  /** What the step is for, in words for Temporal's Web UI; never a caller's text. */
  purpose?: string;
  kind: AgentStepKind;
  role?: Extract<StepRole, 'build'>;
  /** A failure of the step fails the chain. */
  critical: boolean;
  limits: StepLimits;
  /** A model, or `default` for Claude Code's own choice. */
  model: string;
  /** Of a compaction: below this context size, in tokens, it is skipped. */
  thresholdTokens?: number;
  /** Identifies the definition of the step: a worker that has another one leaves the step to others. */
  digest: string;
}

/** A step that is an activity of the host. */
export interface ActivityStepPlan extends HostActivity {
  name: StepName;
  /** What the step is for, in words for Temporal's Web UI. */
  purpose?: string;
  kind: 'activity';
  role?: Extract<StepRole, 'deploy'>;
  /** A failure of the step fails the chain. */
  critical: boolean;
}

/** An activity of the host, and how it is called. */
export interface HostActivity {
  /** The activity type. */
  activity: string;
  /** The task queue that a worker of the host polls for it. */
  taskQueue: string;
  /** Of one try. */
  startToCloseTimeoutMs: number;
  /** How long it may stay in the queue before a worker takes it. */
  scheduleToStartTimeoutMs: number;
  /** Silence after which a try counts as lost; for an activity that sends heartbeats. */
  heartbeatTimeoutMs?: number;
  maxAttempts: number;
}

/** What an activity of the host is called with. */
export interface ActivityStepInput {
  projectId: string;
  versionId: string;
  buildId: string;
  step: StepName;
  /**
   * A uuid, the same at every call for this step of this chain: the key by which a repeated call is recognised. Another one where
   * the database lost what the chain did before it, and the chain did that again.
   */
  key: string;
  /** The project's head: the last committed session, with the number of its transition. */
  sessionId: string | null;
  seq: number | null;
  /** The project's folder, as the worker of the chain sees it. */
  workspace: string;
}
