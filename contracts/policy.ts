import type { ChainPolicy } from './chain.js';

const minutes = 60_000;

/** Chains of one project that may be queued at a time; one more is refused as PROJECT_QUEUE_FULL. */
export const defaultMaxQueued = 20;

export const defaultPolicy: Omit<ChainPolicy, 'taskQueues'> = {
  heartbeatTimeoutMs: 30_000,
  killGraceMs: 5_000,
  // An overload lasts minutes, and every try costs a request.
  waitMs: { initial: 15_000, max: 10 * minutes },
  queueWaitMs: { initial: 30_000, max: 10 * minutes },
};
