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
  /** Wall-clock time since the chain took the project. */
  timeoutMs?: number;
}
