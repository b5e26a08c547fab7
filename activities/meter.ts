import type { Failure, FailureCode } from '../contracts/failures.js';
import type { ReachedLimit } from '../contracts/limits.js';
import type { StepName } from '../contracts/steps.js';
import type { AttemptMetrics } from '../storage/ledger/metrics.js';

/** How an attempt ended; as in `project_ai_session_metrics.outcome`. */
export const attemptOutcomes = ['committed', 'adopted', 'waiting', 'failed', 'interrupted'] as const;
export type AttemptOutcome = (typeof attemptOutcomes)[number];

/** What a worker counts of its work: names of steps, codes and numbers. */
export interface Meter {
  /** An attempt ended that an agent performed; `step` is null for a question. */
  attemptEnded(attempt: {
    step: StepName | null;
    outcome: AttemptOutcome;
    durationMs: number;
    spent: AttemptMetrics;
  }): void;
  /** A step had nothing to do. */
  stepSkipped(step: StepName): void;
  /** A step that is an activity of the host ended; null for success. */
  activityEnded(step: StepName, failure: Failure | null): void;
  /** An activity failed, or an attempt waits; `reached` names the limit, where one was reached. */
  failed(failure: { code: FailureCode; reached?: ReachedLimit | undefined }): void;
}
