import type { ChainInput, StepLimits } from './chain.js';
import { type StepName, stepNames } from './steps.js';

/**
 * What a chain takes over from the worker's definition when it opens, so that a replay sees the same and a chain that
 * runs does not change with the file.
 */
export interface ChainPlan {
  steps: Record<StepName, StepPlan>;
  compactThresholdTokens: number;
}

export interface StepPlan {
  limits: StepLimits;
  /** A failure of the step fails the chain. */
  critical: boolean;
  after?: AfterActivity;
}

/** An activity of the host, called after a step has committed. */
export interface AfterActivity {
  /** The activity type. */
  activity: string;
  /** Where a worker of the host asks for it. */
  taskQueue: string;
  /** Of one try. */
  startToCloseTimeoutMs: number;
  /** How long it may lie in the queue before somebody takes it. */
  scheduleToStartTimeoutMs: number;
  /** Silence after which a try counts as lost; for an activity that sends heartbeats. */
  heartbeatTimeoutMs?: number;
  maxAttempts: number;
  /** Its failure fails the chain; otherwise it is a warning. */
  critical: boolean;
}

/** What the activity is called with. */
export interface AfterStepInput {
  projectId: string;
  versionId: string;
  buildId: string;
  step: StepName;
  /** The same at every call for this step of this chain: the key by which a repeated call is told. */
  transitionId: string;
  /** The session that the step committed. */
  sessionId: string;
  /** The project's folder, as the worker of the chain sees it. */
  workspace: string;
}

/** The plan of a chain: what its start named, else what the worker's definition said when it opened. */
export function planFor({ policy }: ChainInput, ofTheWorker: ChainPlan | undefined): ChainPlan {
  const planned = stepNames.map((step): [StepName, StepPlan] => {
    const { limits, critical, after } = ofTheWorker?.steps[step] ?? {};
    return [
      step,
      {
        // Chains of before there was a definition brought all their limits with them, and knew one critical step.
        limits: { ...limits, ...policy.limits?.[step] } as StepLimits,
        critical: critical ?? step === 'build',
        ...(after ? { after } : {}),
      },
    ];
  });
  return {
    steps: Object.fromEntries(planned) as Record<StepName, StepPlan>,
    compactThresholdTokens: policy.compactThresholdTokens ?? ofTheWorker?.compactThresholdTokens ?? 0,
  };
}
