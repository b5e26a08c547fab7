import type { ChainPolicy, StepLimits, TaskQueues } from './chain.js';
import type { StepName } from './steps.js';

const minutes = 60_000;

/** Limits of a step where the caller names none; no cost limit until one is set. */
const defaultLimits: Record<StepName, StepLimits> = {
  build: { timeoutMs: 60 * minutes, maxTurns: 200, maxAttempts: 5 },
  metadata: { timeoutMs: 15 * minutes, maxTurns: 50, maxAttempts: 5 },
  docs: { timeoutMs: 15 * minutes, maxTurns: 50, maxAttempts: 5 },
  compact: { timeoutMs: 15 * minutes, maxTurns: 50, maxAttempts: 5 },
};

export const defaultPolicy: Omit<ChainPolicy, 'taskQueues'> = {
  limits: defaultLimits,
  budget: {},
  heartbeatTimeoutMs: 30_000,
  killGraceMs: 5_000,
  compactThresholdTokens: 20_000,
  // An overload lasts minutes, and every look costs a request.
  waitMs: { initial: 15_000, max: 10 * minutes },
  versionStatus: { succeeded: 'deployed', failed: 'failed' },
};

/** The two task queues that share one configured name. */
export function taskQueuesOf(name: string): TaskQueues {
  return { chains: name, agents: `${name}-agents` };
}
